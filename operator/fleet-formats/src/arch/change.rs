//! Whether a new state of a database can come after the one that is served, by what both say of their packages.
//!
//! Databases have no dates, and packages go back now and then: one is withdrawn, a testing repository is emptied, versions
//! that are made from a revision have no order. So a lower version is told, and refused on request; and a way back of the
//! whole is what makes every package older that is another one, where no clock of the upstream says better.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use fleet_api::mirror::ArchDowngrades;
use fleet_types::{Reason, counted};

use super::database;
use super::roots::{compression_of, unreadable};
use super::versions;
use crate::decompress::{self, Whole};
use crate::seam::{Rejected, RootContent};

/// Packages that a message names.
const MOST_NAMED: usize = 5;

/// Packages that are handed on together, and how often before somebody takes them: all that repositories have.
const BATCH: usize = 256;
const BATCHES: usize = 128;

/// What is known of one package.
struct Build {
    version: Box<str>,
    /// Seconds since 1970-01-01T00:00:00Z.
    built: Option<i64>,
}

#[derive(Default)]
struct Found {
    /// Packages that are others, and were built earlier.
    older: u64,
    /// And those that were not, or are new here and were built later than anything before.
    newer: u64,
    lower: u64,
    /// Of these the first.
    named: Vec<String>,
}

/// What people should know of it. `is_clocked` where the upstream's clock says that the state is not an older one. Errors:
/// `RollbackDetected`.
pub(super) fn judge(
    unit: &str,
    old: &RootContent,
    new: &RootContent,
    is_clocked: bool,
    downgrades: ArchDowngrades,
) -> Result<Vec<String>, Rejected> {
    let found = compare(old, new)?;
    let back = |text: String| Err(Rejected::new(Reason::RollbackDetected, text));
    if !is_clocked && found.older > 0 && found.newer == 0 {
        return back(format!(
            "{unit}: of what is another package than before, {} built earlier, and none later, as in an older state; wait, or name \
             another endpoint",
            match found.older {
                1 => "1 package was".to_owned(),
                count => format!("all {count} packages were"),
            }
        ));
    }
    if found.lower == 0 {
        return Ok(Vec::new());
    }
    let more = match found.lower - found.named.len() as u64 {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let text = format!(
        "{} a lower version than before: {}{more}",
        match found.lower {
            1 => "1 package has".to_owned(),
            count => format!("{} have", counted(count, "package")),
        },
        found.named.join(", ")
    );
    match downgrades {
        ArchDowngrades::Note => Ok(vec![text]),
        ArchDowngrades::Refuse => back(format!("{unit}: {text} (arch.downgrades: Refuse)")),
    }
}

/// Reads the two at once.
fn compare(old: &RootContent, new: &RootContent) -> Result<Found, Rejected> {
    let (sender, batches) = sync_channel(BATCHES);
    thread::scope(|scope| {
        let reading = thread::Builder::new().name("database".to_owned());
        let reading = reading.spawn_scoped(scope, move || send(new, &sender));
        // Where that fails nobody takes batches any more, and who reads the new one ends.
        let mut comparison = Comparison::with(old)?;
        match reading {
            Ok(reading) => {
                for (name, build) in batches.into_iter().flatten() {
                    comparison.add(&name, &build);
                }
                let read = reading.join();
                read.unwrap_or_else(|panic| resume_unwind(panic))?;
            }
            // No thread can be had.
            Err(_) => each(new, &mut |name, build| {
                comparison.add(name, &build);
                ControlFlow::Continue(())
            })?,
        }
        Ok(comparison.found)
    })
}

/// Hands on the packages of a database, until the end or until nobody wants more.
fn send(root: &RootContent, batches: &SyncSender<Vec<(String, Build)>>) -> Result<(), Rejected> {
    let mut batch = Vec::with_capacity(BATCH);
    let mut is_wanted = true;
    each(root, &mut |name, build| {
        batch.push((name.to_owned(), build));
        if batch.len() == BATCH {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            is_wanted = batches.send(full).is_ok();
        }
        match is_wanted {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    })?;
    // Nobody may want it.
    let _ = batches.send(batch);
    Ok(())
}

/// What was there before, and what was found of what is there now.
struct Comparison {
    /// By their names' hashes: names would take too much room where somebody lists as many as there may be.
    before: HashMap<u64, Build>,
    hashes: RandomState,
    newest: Option<i64>,
    found: Found,
}

impl Comparison {
    fn with(old: &RootContent) -> Result<Comparison, Rejected> {
        let hashes = RandomState::new();
        let mut before = HashMap::new();
        let mut newest = None;
        each(old, &mut |name, build| {
            newest = newest.max(build.built);
            before.insert(hashes.hash_one(name), build);
            ControlFlow::Continue(())
        })?;
        Ok(Comparison {
            before,
            hashes,
            newest,
            found: Found::default(),
        })
    }

    fn add(&mut self, name: &str, now: &Build) {
        let found = &mut self.found;
        let Some(then) = self.before.get(&self.hashes.hash_one(name)) else {
            found.newer += u64::from(now.built > self.newest);
            return;
        };
        if then.version == now.version && then.built == now.built {
            return;
        }
        match now.built < then.built && now.built.is_some() {
            true => found.older += 1,
            false => found.newer += 1,
        }
        if versions::compare(&now.version, &then.version) == Ordering::Less {
            found.lower += 1;
            if found.named.len() < MOST_NAMED {
                let change = format!("{name:.80} {:.80} after {:.80}", now.version, then.version);
                found.named.push(change);
            }
        }
    }
}

/// The packages that say who they are, until `found` ends it.
fn each(
    root: &RootContent,
    found: &mut dyn FnMut(&str, Build) -> ControlFlow<()>,
) -> Result<(), Rejected> {
    let content = root.open().map_err(|error| unreadable(root, &error))?;
    let limit = decompress::output_limit(root.size, None);
    let mut content = decompress::reader(compression_of(root)?, content, limit, Whole::ByItself);
    let read = database::read(&mut content, &mut |package| {
        let said = &package.description;
        if let (Some(name), Some(version), None) = (&said.name, &said.version, &said.fault) {
            let version = version.as_str().into();
            let built = said.built;
            return Ok(found(name, Build { version, built }));
        }
        Ok(ControlFlow::Continue(()))
    });
    read.map(drop).map_err(|rejected| rejected.at(&root.path))
}
