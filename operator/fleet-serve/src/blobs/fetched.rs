//! Blobs that are fetched on demand: looked at before they are served, and told of when they are used.

use std::sync::Arc;
use std::time::Instant;

use fleet_store::{Entry, SnapshotId};
use fleet_types::{Sha256, lock};

use super::{Blob, OpenBlobs};

impl OpenBlobs {
    /// Opens the blob of an entry that is fetched on demand; none where it is not there, or not what its name says. Nothing
    /// made it durable, and no run looks after it, so it is read once before it is served, unless `is_sure`. Blocks on
    /// the disk.
    pub fn open_fetched(
        &self,
        path: &str,
        entry: &Entry,
        of: Option<SnapshotId>,
        is_sure: bool,
    ) -> Option<Arc<Blob>> {
        let version = self.version(&entry.digest, Instant::now());
        let file = self.store.open_blob(&entry.digest).ok()??;
        let is_right = self
            .seen
            .is_right(&entry.digest, &file, entry.size, is_sure);
        let blob = Blob::new(&entry.digest, file).ok().filter(|_| is_right)?;
        self.note_use(&entry.digest);
        Some(self.keep(path, entry, of, blob, version))
    }

    /// What was used since the last call, of what is fetched on demand.
    pub fn take_used(&self) -> Vec<Sha256> {
        std::mem::take(&mut *lock(&self.used)).into_iter().collect()
    }

    pub(super) fn note_use(&self, digest: &Sha256) {
        lock(&self.used).insert(*digest);
    }
}
