//! skeleton
use crate::SnapshotId;
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CollectReport {
    /// No longer listed.
    pub dropped: Vec<SnapshotId>,
    /// Dropped ones whose blobs wait because a reader still has them open.
    pub in_use: Vec<SnapshotId>,
    pub blobs_removed: u64,
    pub bytes_freed: u64,
}
