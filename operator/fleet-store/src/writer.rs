//! skeleton
use crate::*;
use fleet_types::Sha256;
use serde::Serialize;
use std::path::Path;

/// The one writer of a store. Holds the store's lock until it is dropped.
pub struct Writer {
    store: Store,
    staging: Staging,
}
impl std::ops::Deref for Writer {
    type Target = Store;
    fn deref(&self) -> &Store {
        &self.store
    }
}
impl Writer {
    /// Creates the store or takes up an existing one. `Busy` while another writer has it, `Mismatch` when it holds something else.
    pub fn open(_dir: &Path, _identity: &Identity) -> Result<Writer> {
        unimplemented!()
    }
    /// Takes up an existing store as what it says it is (for `snapshots pin`, which has no manifest).
    pub fn open_existing(_dir: &Path) -> Result<Writer> {
        unimplemented!()
    }
    pub fn staging(&self) -> &Staging {
        &self.staging
    }
    /// Where sorters of this run may spill.
    pub fn spill_dir(&self) -> &Path {
        unimplemented!()
    }
    pub fn index_builder(&self) -> IndexBuilder {
        unimplemented!()
    }
    /// Serves a prepared snapshot from now on, unless a person decided otherwise.
    pub fn publish(&self, _id: &SnapshotId, _now: i64) -> Result<Publication> {
        unimplemented!()
    }
    /// Serves this snapshot and keeps it served, whatever is published, until `unpin`.
    pub fn pin(&self, _id: &SnapshotId, _now: i64) -> Result<()> {
        unimplemented!()
    }
    /// Ends a pin. What is served stays until the next `publish`.
    pub fn unpin(&self) -> Result<()> {
        unimplemented!()
    }
    /// Serves this snapshot until something newer than what was served is published.
    pub fn rollback(&self, _id: &SnapshotId, _now: i64) -> Result<()> {
        unimplemented!()
    }
    /// Gives up snapshots beyond retention and the blobs that only they named, and blobs of runs that came to nothing.
    pub fn collect(&self, _now: i64, _protect: &[SnapshotId]) -> Result<CollectReport> {
        unimplemented!()
    }
    /// For a full disk: removes every blob that neither a snapshot nor the plan names.
    pub fn collect_for_space(
        &self,
        _now: i64,
        _wanted: &WantedDigests<'_>,
    ) -> Result<CollectReport> {
        unimplemented!()
    }
    /// Replaces a document of `state/` in one durable step.
    pub fn state_write<T: Serialize>(&self, _name: &str, _value: &T) -> Result<()> {
        unimplemented!()
    }
}
/// Calls its argument for every digest that the plan names; it may be called several times.
pub type WantedDigests<'a> = dyn Fn(&mut dyn FnMut(&Sha256)) -> Result<()> + 'a;
/// What a publication came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publication {
    /// It is served from now on.
    Switched { from: Option<SnapshotId> },
    /// It was served already.
    Unchanged,
    /// Prepared; the pinned snapshot stays served.
    HeldByPin { pinned: SnapshotId },
    /// It is the one that a person rolled back from.
    HeldByRollback { serving: SnapshotId },
}
