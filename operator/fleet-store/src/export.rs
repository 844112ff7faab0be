//! skeleton
use crate::SnapshotId;
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExportMode {
    /** Reflink where the file system has it, else hard link, else copy. */
    #[default]
    Auto,
    Link,
    Reflink,
    Copy,
}
#[derive(Debug, Clone, Default)]
pub struct ExportOptions {
    pub mode: ExportMode,
    /** File names of roots, in the order in which they are written after everything else. */
    pub roots_last: Vec<String>,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportReport {
    pub snapshot: SnapshotId,
    pub mode_used: ExportMode,
    pub written: u64,
    pub unchanged: u64,
    pub removed: u64,
    pub bytes: u64,
}
pub(crate) fn export(
    _store: &crate::Store,
    dest: &std::path::Path,
    _options: &ExportOptions,
) -> crate::Result<ExportReport> {
    Err(crate::StoreError::Export {
        dest: dest.to_owned(),
        problem: String::new(),
    })
}
