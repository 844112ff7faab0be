//! skeleton
use crate::SnapshotId;
use fleet_types::Sha256;
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubProgress {
    pub blobs: u64,
    pub bytes: u64,
    /** 0 to 256 */
    pub shards_done: u32,
    pub snapshots_done: u64,
}
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubReport {
    pub blobs: u64,
    pub bytes: u64,
    pub snapshots: u64,
    /** at most 1,000 are listed */
    pub findings: Vec<Finding>,
    pub findings_total: u64,
}
impl ScrubReport {
    pub fn is_clean(&self) -> bool {
        self.findings_total == 0
    }
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    BlobDamaged {
        digest: Sha256,
        problem: String,
    },
    StrangeFile {
        name: String,
    },
    BlobMissing {
        digest: Sha256,
        snapshot: SnapshotId,
        path: String,
    },
    BlobWrongSize {
        digest: Sha256,
        snapshot: SnapshotId,
        path: String,
        expected: u64,
        found: u64,
    },
    SnapshotDamaged {
        snapshot: SnapshotId,
        problem: String,
    },
    CurrentDamaged {
        problem: String,
    },
}
