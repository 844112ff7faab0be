//! skeleton
use crate::{Entry, Result, SnapshotId, SnapshotMeta, StoreError};
use fleet_types::{RepoPath, Sha256};
use std::sync::Arc;

/// An opened snapshot.
pub struct Snapshot {
    id: SnapshotId,
    meta: SnapshotMeta,
}
impl Snapshot {
    pub fn id(&self) -> SnapshotId {
        self.id
    }
    pub fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }
    pub fn len(&self) -> u64 {
        self.meta.entries
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    pub fn get(&self, _path: &str) -> Option<Entry> {
        None
    }
    /// All entries in the order of the paths' bytes.
    pub fn iter(&self) -> Entries<'_> {
        Entries { _snapshot: self }
    }
    /// The entries from the first path that is not less than `from`.
    pub fn iter_from(&self, _from: &str) -> Entries<'_> {
        Entries { _snapshot: self }
    }
    /// What lies directly in a directory ("" is the top), in byte order. Empty where there is no such directory.
    pub fn children(&self, _dir: &str) -> Children<'_> {
        Children { _snapshot: self }
    }
    pub fn is_dir(&self, _path: &str) -> bool {
        false
    }
    /// The mtime to record for a mutable path.
    pub fn mtime_after(&self, _path: &str, _digest: &Sha256, proposed: i64) -> i64 {
        proposed
    }
}
pub struct Entries<'a> {
    _snapshot: &'a Snapshot,
}
impl Iterator for Entries<'_> {
    type Item = (RepoPath, Entry);
    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}
pub struct Children<'a> {
    _snapshot: &'a Snapshot,
}
/// One line of a directory listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Child {
    Directory { name: String },
    File { name: String, entry: Entry },
}
impl Iterator for Children<'_> {
    type Item = Child;
    fn next(&mut self) -> Option<Child> {
        None
    }
}

/// Builds.
pub struct IndexBuilder {}
impl IndexBuilder {
    pub fn push(&mut self, _path: &RepoPath, _entry: &Entry) -> Result<()> {
        Ok(())
    }
    pub fn finish(self, _meta: SnapshotMeta) -> Result<Prepared> {
        Err(StoreError::Limit {
            what: String::new(),
            limit: "",
        })
    }
}
/// A snapshot that is on the volume and complete, and not necessarily served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared {
    pub id: SnapshotId,
    /** the very same snapshot was there before */
    pub existed: bool,
    pub entries: u64,
    pub bytes: u64,
}
#[allow(dead_code)]
fn _a(_: Arc<Snapshot>) {}
