//! A new snapshot beside the one that it is derived from: whether its blobs are there, by how many paths it differs, and what
//! all its entries come to.

use fleet_types::counted;
use fleet_types::documents::SnapshotChanges;

use crate::build::{add_to_id, id_of_revision};
use crate::distinct::{Distinct, PathEntry};
use crate::error::{Result, StoreError};
use crate::links::{self, Links};
use crate::merge::Merged;
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::sort::Sorted;
use crate::{Entry, EntryState, SnapshotMeta};

/// What all entries come to.
pub(crate) struct Checked {
    /// By how many the parent has others.
    pub changes: SnapshotChanges,
    /// Those in whose place there is no content.
    pub links: Links,
    pub entries: u64,
    /// Of what is present.
    pub bytes: u64,
    /// The part of the id that entries are.
    pub id: sha2::Sha256,
}

/// Goes through all entries in order: contradictions are found on the way.
pub(crate) fn check(
    shared: &Shared,
    parent: Option<&Snapshot>,
    sorted: &Sorted<PathEntry>,
    meta: &SnapshotMeta,
) -> Result<Checked> {
    let mut known = KnownBlobs {
        shared,
        merged: Merged::new(parent),
        changes: SnapshotChanges::default(),
        stay: 0,
    };
    let (mut links, mut id) = (meta.links.clone(), id_of_revision(meta));
    let (mut entries, mut bytes) = (0, 0_u64);
    for item in Distinct::new(sorted) {
        let PathEntry { path, entry } = &item?;
        known.check(path, entry)?;
        add_to_id(&mut id, path, entry);
        links::yield_to(&mut links, path);
        entries += 1;
        if entry.state == EntryState::Present {
            bytes = bytes.saturating_add(entry.size);
        }
    }
    let before = parent.map_or(0, Snapshot::len);
    Ok(Checked {
        changes: SnapshotChanges {
            removed: before.saturating_sub(known.stay),
            ..known.changes
        },
        links,
        entries,
        bytes,
        id,
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
    fn check(&mut self, path: &str, entry: &Entry) -> Result<()> {
        let before = self.merged.at(path);
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
            path,
            counted(entry.size, "byte")
        );
        Err(StoreError::blob(&entry.digest, problem))
    }
}
