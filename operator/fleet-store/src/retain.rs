//! Which names stay fetchable after the snapshots that had them are given up.
//!
//! A client may ask for what an index names until `minAge` after its snapshot was superseded. Snapshots are kept for as
//! long, but no more than [`crate::Retention::MAX_KEPT`]; of those that go before their time the names stay, where their
//! content never changes and the served snapshot does not have them: what is served has its own time still before it.
//! A name that is served again, with whatever content, needs nobody else to keep it.
//!
//! # Order, and what a crash leaves
//!
//! The digests of names whose time is over are noted first, among those of blobs that nobody may need; then the list is
//! replaced; only then does the collector drop the snapshots. So a name is at every moment in a kept snapshot or in the
//! list, and a blob that both have given up is in the notes.

use std::sync::Arc;

use fleet_types::Sha256;

use crate::error::{Doing, Result};
use crate::layout::unfinished;
use crate::merge::Changes;
use crate::retained::{self, Gone, GoneName, Retained};
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::sort::{RunSorter, SortedIter};
use crate::{Entry, SnapshotId, Store, StoreError};

/// Digests that are noted at once.
const NOTED_AT_ONCE: usize = 4096;
const DOING: &str = "keeping the names that went";

/// The list of names; one that is damaged is set aside and counts as never made. What it named goes when the disk is
/// full.
pub(crate) fn take(store: &Store, shared: &Shared) -> Result<Option<Arc<Retained>>> {
    match store.retained() {
        Err(error) if error.is_damage() => {
            let problem = error.cause().unwrap_or_default();
            shared.set_aside(&shared.layout.retained(), &problem)?;
            Ok(None)
        }
        other => other,
    }
}

/// Brings the list in line before `leaving` are dropped: snapshots whose time is not over, each with when it was
/// superseded.
pub(crate) fn settle(
    store: &Store,
    shared: &Shared,
    leaving: &[(SnapshotId, i64)],
    now: i64,
) -> Result<()> {
    let before = take(store, shared)?;
    if before.is_none() && leaving.is_empty() {
        return Ok(());
    }
    let served = undamaged(store.current().and_then(|id| {
        let opened = id.map(|id| store.snapshot(&id));
        opened.transpose()
    }))?
    .flatten();
    let mut list = List {
        names: RunSorter::new(&shared.layout.staging()),
        served: served.as_deref(),
        notes: Notes::new(shared),
        changed: false,
    };
    for (id, at) in leaving {
        // Of a damaged one nobody knows what it named.
        if let Some(old) = undamaged(store.snapshot(id))? {
            list.add_snapshot(&old, *at)?;
        }
    }
    if let Some(before) = &before {
        let retention = store.identity().retention;
        list.carry(before, |at| retention.is_recent(at, now))?;
    }
    match list.changed {
        true => list.replace(shared),
        false => Ok(()),
    }
}

fn undamaged<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Err(error) if error.is_damage() || matches!(error, StoreError::SnapshotNotFound { .. }) => {
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// The next list.
struct List<'a> {
    names: RunSorter<GoneName>,
    served: Option<&'a Snapshot>,
    notes: Notes<'a>,
    changed: bool,
}

impl List<'_> {
    fn add_snapshot(&mut self, old: &Snapshot, at: i64) -> Result<()> {
        match self.served {
            // What has not changed, which is nearly all, is not looked up.
            Some(served) => {
                for change in Changes::new(Some(old), served) {
                    let is_there = change.after.is_some_and(|entry| is_offered(&entry));
                    if let Some(entry) = change.before.filter(|_| !is_there) {
                        self.add(change.path.as_str(), entry, at)?;
                    }
                }
            }
            None => {
                for (path, entry) in old.iter() {
                    self.add(path.as_str(), entry, at)?;
                }
            }
        }
        self.add_links(old, at)?;
        old.expect_whole()
    }

    /// A directory that stood for another one then: the names that led through it.
    fn add_links(&mut self, old: &Snapshot, at: i64) -> Result<()> {
        let now = self.served.map(|served| &served.meta().links);
        for (link, target) in &old.meta().links {
            if now.and_then(|now| now.get(link)) == Some(target) {
                continue;
            }
            let below = format!("{target}/");
            for (path, entry) in old.iter_from(&below) {
                let Some(rest) = path.as_str().strip_prefix(&below) else {
                    break;
                };
                let alias = format!("{link}/{rest}");
                if !self.is_served(&alias) {
                    self.add(&alias, entry, at)?;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &str, entry: Entry, at: i64) -> Result<()> {
        if !is_offered(&entry) || entry.mutable {
            return Ok(());
        }
        self.changed = true;
        self.push(path, Gone { entry, at })
    }

    fn push(&mut self, path: &str, gone: Gone) -> Result<()> {
        self.names.push(&GoneName {
            path: path.to_owned(),
            gone,
        })
    }

    /// What still counts of the list so far.
    fn carry(&mut self, before: &Retained, is_recent: impl Fn(i64) -> bool) -> Result<()> {
        for (path, gone) in before.iter() {
            match is_recent(gone.at) && !self.is_served(path.as_str()) {
                true => self.push(path.as_str(), gone)?,
                false => {
                    self.changed = true;
                    self.notes.add(gone.entry.digest)?;
                }
            }
        }
        before.expect_whole()
    }

    fn is_served(&self, path: &str) -> bool {
        let served = self.served.and_then(|s| s.get(&s.behind_links(path)));
        served.is_some_and(|entry| is_offered(&entry))
    }

    fn replace(self, shared: &Shared) -> Result<()> {
        let sorted = self.names.finish()?;
        let mut newest = Newest {
            names: sorted.iter().peekable(),
            notes: self.notes,
        };
        let count = retained::write(shared, &mut newest)?;
        newest.notes.flush()?;
        // Notes and names, before the list that lacks some of them.
        shared.fs.sync_all().doing(DOING)?;
        let (new, list) = (
            unfinished(&shared.layout.retained()),
            shared.layout.retained(),
        );
        match count {
            0 => {
                shared.fs.remove_file(&new).doing(DOING)?;
                match shared.fs.remove_file(&list) {
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                    other => other.doing(DOING)?,
                }
            }
            _ => shared.fs.rename(&new, &list).doing(DOING)?,
        }
        shared.fs.sync_dir(shared.layout.root()).doing(DOING)
    }
}

fn is_offered(entry: &Entry) -> bool {
    entry.state.is_offered()
}

/// Of several times at which a name went the last one counts, with what it stood for then.
struct Newest<'a, 'b> {
    names: std::iter::Peekable<SortedIter<'a, GoneName>>,
    notes: Notes<'b>,
}

impl Newest<'_, '_> {
    fn read_next(&mut self) -> Result<Option<GoneName>> {
        let Some(mut name) = self.names.next().transpose()? else {
            return Ok(None);
        };
        while let Some(same) = self
            .names
            .next_if(|next| next.as_ref().map_or(true, |next| next.path == name.path))
        {
            let mut other = same?;
            if other.gone.at > name.gone.at {
                std::mem::swap(&mut name, &mut other);
            }
            if other.gone.entry.digest != name.gone.entry.digest {
                self.notes.add(other.gone.entry.digest)?;
            }
        }
        Ok(Some(name))
    }
}

impl Iterator for Newest<'_, '_> {
    type Item = Result<GoneName>;
    fn next(&mut self) -> Option<Self::Item> {
        self.read_next().transpose()
    }
}

/// Digests of blobs that may no longer be needed, among those that a collection looks at.
struct Notes<'a> {
    shared: &'a Shared,
    digests: Vec<Sha256>,
}

impl<'a> Notes<'a> {
    fn new(shared: &'a Shared) -> Notes<'a> {
        Notes {
            shared,
            digests: Vec::new(),
        }
    }

    fn add(&mut self, digest: Sha256) -> Result<()> {
        self.digests.push(digest);
        match self.digests.len() < NOTED_AT_ONCE {
            true => Ok(()),
            false => self.flush(),
        }
    }

    fn flush(&mut self) -> Result<()> {
        let digests = std::mem::take(&mut self.digests);
        match digests.is_empty() {
            true => Ok(()),
            false => self.shared.note_committed(&digests),
        }
    }
}
