//! A new snapshot beside the one that it is derived from: whether its blobs are there, and by how many paths it differs.

use fleet_types::counted;
use fleet_types::documents::SnapshotChanges;

use crate::EntryState;
use crate::distinct::{Distinct, PathEntry};
use crate::error::{Result, StoreError};
use crate::merge::Merged;
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::sort::Sorted;

/// Goes through all entries in order: contradictions are found on the way. By how many the parent has others.
pub(crate) fn check_blobs(
    shared: &Shared,
    parent: Option<&Snapshot>,
    sorted: &Sorted<PathEntry>,
) -> Result<SnapshotChanges> {
    let mut known = KnownBlobs {
        shared,
        merged: Merged::new(parent),
        changes: SnapshotChanges::default(),
        stay: 0,
    };
    Distinct::new(sorted).try_for_each(|item| known.check(&item?))?;
    let before = parent.map_or(0, Snapshot::len);
    Ok(SnapshotChanges {
        removed: before.saturating_sub(known.stay),
        ..known.changes
    })
}

/// Whether the blobs of a new snapshot are there, asked only for what its parent does not have.
struct KnownBlobs<'a> {
    shared: &'a Shared,
    merged: Merged<'a>,
    /// What is new and what is another, so far.
    changes: SnapshotChanges,
    /// Paths that the parent has too.
    stay: u64,
}

impl KnownBlobs<'_> {
    /// Called in the order of the paths.
    fn check(&mut self, item: &PathEntry) -> Result<()> {
        let entry = &item.entry;
        let before = self.merged.at(&item.path);
        match before {
            None => self.changes.added += 1,
            Some(before) => {
                self.stay += 1;
                let is_other = (before.digest, before.size) != (entry.digest, entry.size);
                self.changes.changed += u64::from(is_other);
            }
        }
        if entry.state != EntryState::Present {
            return Ok(());
        }
        if before.is_some_and(|b| {
            b.state == EntryState::Present && (b.digest, b.size) == (entry.digest, entry.size)
        }) {
            return Ok(());
        }
        if self.shared.has_blob(&entry.digest, entry.size) {
            return Ok(());
        }
        let problem = format!(
            "a new snapshot names it as {:?} with {}, and it is not there",
            item.path,
            counted(entry.size, "byte")
        );
        Err(StoreError::blob(&entry.digest, problem))
    }
}
