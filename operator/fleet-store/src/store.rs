//! skeleton
use crate::*;
use fleet_types::Sha256;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A store, opened for reading. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    identity: Arc<Identity>,
}
impl Store {
    /// `Absent` where there is none.
    pub fn open(_dir: &Path) -> Result<Store> {
        unimplemented!()
    }
    pub fn dir(&self) -> &Path {
        unimplemented!()
    }
    /// As it was when the store was opened.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
    /// Which snapshot is served.
    pub fn current(&self) -> Result<Option<SnapshotId>> {
        unimplemented!()
    }
    pub fn current_snapshot(&self) -> Result<Option<Arc<Snapshot>>> {
        unimplemented!()
    }
    /// All snapshots, oldest first.
    pub fn snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        unimplemented!()
    }
    /// The one snapshot whose id begins with `prefix` (8 hexadecimal digits or more).
    pub fn resolve(&self, _prefix: &str) -> Result<SnapshotId> {
        unimplemented!()
    }
    pub fn snapshot(&self, _id: &SnapshotId) -> Result<Arc<Snapshot>> {
        unimplemented!()
    }
    /// Not found is `Ok(None)`.
    pub fn open_blob(&self, _digest: &Sha256) -> Result<Option<File>> {
        unimplemented!()
    }
    pub fn blob_path(&self, _digest: &Sha256) -> PathBuf {
        unimplemented!()
    }
    pub fn has_blob(&self, _digest: &Sha256, _size: u64) -> bool {
        unimplemented!()
    }
    pub fn pinned(&self) -> Result<Option<SnapshotId>> {
        unimplemented!()
    }
    pub fn rolled_back_from(&self) -> Result<Option<SnapshotId>> {
        unimplemented!()
    }
    pub fn state<T: DeserializeOwned>(&self, _name: &str) -> Result<Option<T>> {
        unimplemented!()
    }
    pub fn free_space(&self) -> Result<Space> {
        unimplemented!()
    }
    pub fn scrub(&self, _progress: &mut dyn FnMut(&ScrubProgress)) -> Result<ScrubReport> {
        unimplemented!()
    }
    pub fn export(&self, _dest: &Path, _options: &ExportOptions) -> Result<ExportReport> {
        unimplemented!()
    }
}
/// What is known of one snapshot without reading its paths.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotInfo {
    pub id: SnapshotId,
    pub meta: SnapshotMeta,
    /// When it was first served; seconds since 1970-01-01T00:00:00Z.
    pub published_at: Option<i64>,
    /// When something else was served in its place; none while it is served or was never served.
    pub superseded_at: Option<i64>,
    pub pinned: bool,
    pub current: bool,
    /// Never served so far.
    pub prepared_only: bool,
}
