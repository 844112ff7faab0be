//! Check and prepare: the next snapshot is complete, or it does not come to be.

use std::iter::Peekable;
use std::sync::Arc;

use fleet_store::{Entry, EntryState, IndexBuilder, Prepared, SnapshotMeta, Sorted};
use fleet_types::{Reason, RepoPath};
use sha2::Digest as _;

use super::endorse::Endorsed;
use super::fetching::Fetched;
use super::inputs::exclude_rule;
use super::merge::{Merge, Merged, Pair, Previous};
use super::mutation::mutation;
use super::run::Ground;
use super::want::{Signed, Want, WantState, Wanted};
use crate::Problem;

/// A want-list of which every path is accounted for: present with the right content, left out by the manifest, or
/// missing upstream beside another form of the same content. Only [`close`] makes one.
pub(super) struct Closed {
    builder: IndexBuilder,
    /// Something is otherwise than in the base.
    changed: bool,
}

/// Goes through the whole want-list and gives every path its entry.
pub(super) fn close(
    ground: &Ground,
    wants: &Sorted<Want>,
    fetched: &[Sorted<Fetched>],
    endorsed: &Endorsed,
) -> Result<Closed, Problem> {
    let parent = ground
        .stock
        .base
        .as_ref()
        .map(|base| Arc::clone(&base.snapshot));
    let mut builder = ground.stock.shelves.writer.index_builder(parent);
    let mut changed = ground.stock.base.is_none();
    let mut fetched: Vec<Arrivals<'_>> = fetched.iter().map(Arrivals::new).collect();
    let mut previous = Previous::default();
    for pair in Merge::new(Merged::new(wants.iter()), ground.stock.base.as_ref()) {
        ground.watch.stop.check()?;
        match pair? {
            Pair::Gone(..) => changed = true,
            Pair::Conflict(conflict) => {
                let text = format!(
                    "{} is listed with two different contents, {} and {}; {} lets the rest through",
                    conflict.path,
                    conflict.digests.0,
                    conflict.digests.1,
                    exclude_rule(&[conflict.path.as_str()])
                );
                return Err(Problem::new(Reason::PathConflict, text));
            }
            Pair::Wanted(wanted, before) => {
                // The latest, where something was fetched more than once.
                let arrived = fetched
                    .iter_mut()
                    .rev()
                    .find_map(|arrivals| arrivals.of(&wanted.want.path));
                let same = before.filter(|entry| {
                    let want = &wanted.want;
                    entry.state == EntryState::Present
                        && ground.stock.is_same(want, entry, &previous)
                });
                let known = Known { before, same };
                let entry = entry(ground, &wanted, &known, arrived, endorsed)?;
                changed |= before != Some(entry);
                builder.push(&wanted.want.path, &entry)?;
                previous.note(wanted.want.path, before);
            }
        }
    }
    Ok(Closed { builder, changed })
}

impl Closed {
    /// Whether it holds anything else than the base does.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// Makes the snapshot durable; it is not served yet.
    pub fn prepare(self, meta: SnapshotMeta) -> Result<Prepared, Problem> {
        Ok(self.builder.finish(meta)?)
    }
}

/// What the base says of a path.
struct Known {
    before: Option<Entry>,
    /// That, where it is there and what is wanted.
    same: Option<Entry>,
}

fn entry(
    ground: &Ground,
    wanted: &Wanted,
    known: &Known,
    arrived: Option<Fetched>,
    endorsed: &Endorsed,
) -> Result<Entry, Problem> {
    let want = &wanted.want;
    let open = |what: &str| {
        Problem::new(
            Reason::StoreCorrupt,
            format!("{} is not complete: {what}; sync again", want.path),
        )
    };
    match want.state {
        WantState::Carried => known
            .before
            .ok_or_else(|| open("it was in the previous snapshot and is not any more")),
        WantState::Absent => Ok(want.entry(EntryState::AbsentUpstream, None, want.mtime)),
        WantState::Excluded => Ok(want.entry(EntryState::Excluded, None, want.mtime)),
        WantState::Unusable => Ok(Entry::unusable()),
        WantState::OnDemand => Ok(on_demand(ground, want, known.before.as_ref())),
        WantState::Stored | WantState::Payload => {
            let came = arrived.as_ref().map(|fetched| fetched.digest);
            let given = want.sha256.filter(|_| known.same.is_none());
            // Whoever fetches what is signed judges it then.
            let is_judged_now = |signed: &Signed| !ground.rules.is_on_demand(&signed.path);
            let unjudged = |signed: &Signed| match came.or(given) {
                Some(came) => !endorsed.vouches_for(came, signed),
                // As it was, and judged when it was planned with.
                None => false,
            };
            let signed = want.over.as_deref().filter(|signed| is_judged_now(signed));
            if signed.is_some_and(unjudged) {
                return Err(open("nobody vouches for it"));
            }
            present(ground, want, known, arrived)
                .ok_or_else(|| open("its content did not arrive"))?
        }
    }
}

/// The entry of what is fetched when somebody asks for it. What is listed as before keeps its date.
fn on_demand(ground: &Ground, want: &Want, before: Option<&Entry>) -> Entry {
    let same =
        before.filter(|entry| entry.state.is_offered() && want.same_content(entry) == Some(true));
    let mtime = same.map_or(want.mtime.min(ground.rules.now), |same| same.mtime);
    want.entry(EntryState::NotYetFetched, None, mtime)
}

fn present(
    ground: &Ground,
    want: &Want,
    known: &Known,
    arrived: Option<Fetched>,
) -> Option<Result<Entry, Problem>> {
    let came_anew = want.over.is_some() && arrived.is_some();
    if let Some(same) = known.same.filter(|_| !came_anew) {
        return Some(Ok(Entry {
            mutable: want.mutable,
            guarded: want.guarded,
            sha512: want.sha512,
            ..same
        }));
    }
    let digest = arrived
        .as_ref()
        .map(|fetched| fetched.digest)
        .or(want.sha256)?;
    let mut found = want.clone();
    found.sha256 = Some(digest);
    if !want.exact {
        found.size = match &arrived {
            Some(fetched) => fetched.size,
            None => ground.stock.shelves.size_of(want)?,
        };
    }
    if let Err(problem) = checks_of_arrived(
        ground,
        want,
        &found,
        known.before.as_ref(),
        arrived.as_ref(),
    ) {
        return Some(Err(problem));
    }
    let proposed = arrived
        .and_then(|fetched| fetched.modified)
        .unwrap_or(want.mtime)
        .min(ground.rules.now);
    let base = ground.stock.base.as_ref();
    let mtime = base.map_or(proposed, |base| base.modified(want, &digest, proposed));
    Some(Ok(found.entry(EntryState::Present, Some(digest), mtime)))
}

/// What could not be told before the content was there.
fn checks_of_arrived(
    ground: &Ground,
    want: &Want,
    found: &Want,
    before: Option<&Entry>,
    arrived: Option<&Fetched>,
) -> Result<(), Problem> {
    if want.sha256.is_none() {
        let (base, rules) = (ground.stock.base.as_ref(), &ground.rules.options);
        mutation(found, before, base, &rules.verification).map_or(Ok(()), Err)?;
    }
    match (arrived, want.sha256, want.sha512) {
        // Fetched by one unit's digest, promised by another's.
        (Some(fetched), Some(_), Some(promised)) => check_sha512(ground, fetched, promised),
        _ => Ok(()),
    }
}

fn check_sha512(ground: &Ground, fetched: &Fetched, promised: [u8; 64]) -> Result<(), Problem> {
    let mut hasher = sha2::Sha512::new();
    let failed = |e: std::io::Error| {
        Problem::new(
            Reason::StorageFailed,
            format!("reading blob {} failed: {e}", fetched.digest),
        )
    };
    std::io::copy(
        &mut ground.stock.shelves.open(&fetched.digest)?,
        &mut HashWriter(&mut hasher),
    )
    .map_err(failed)?;
    if hasher.finalize()[..] == promised[..] {
        return Ok(());
    }
    Err(Problem::new(
        Reason::PathConflict,
        format!(
            "{} is listed by SHA-256 and by SHA-512 with two different contents; {} lets the rest through",
            fetched.path,
            exclude_rule(&[fetched.path.as_str()])
        ),
    ))
}

struct HashWriter<'a>(&'a mut sha2::Sha512);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What one transfer brought, read along with the want-list.
struct Arrivals<'a> {
    fetched: Peekable<fleet_store::SortedIter<'a, Fetched>>,
}

impl<'a> Arrivals<'a> {
    fn new(fetched: &'a Sorted<Fetched>) -> Self {
        Arrivals {
            fetched: fetched.iter().peekable(),
        }
    }

    /// An error ends the list; what is then missing fails its check.
    fn of(&mut self, path: &RepoPath) -> Option<Fetched> {
        while self
            .fetched
            .next_if(|next| next.as_ref().is_ok_and(|next| next.path < *path))
            .is_some()
        {}
        self.fetched
            .next_if(|next| next.as_ref().is_ok_and(|next| next.path == *path))?
            .ok()
    }
}
