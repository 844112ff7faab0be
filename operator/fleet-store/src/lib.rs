//! Blobs by digest, immutable snapshots, one `current`.

mod collect;
mod entry;
mod error;
mod export;
mod fs;
mod identity;
mod layout;
mod scrub;
mod snapshot;
mod sort;
mod space;
mod staging;
mod store;
mod writer;

pub use collect::CollectReport;
pub use entry::{Entry, EntryState, NO_DIGEST, SnapshotId, SnapshotMeta};
pub use error::{ConflictKind, Result, StoreError};
pub use export::{ExportMode, ExportOptions, ExportReport};
pub use identity::{Identity, Retention};
pub use scrub::{Finding, ScrubProgress, ScrubReport};
pub use snapshot::{Child, Children, Entries, IndexBuilder, Prepared, Snapshot};
pub use sort::{Record, RunSorter, Sorted, SortedIter};
pub use space::Space;
pub use staging::{Staged, StagedFile, Staging};
pub use store::{SnapshotInfo, Store};
pub use writer::{Publication, WantedDigests, Writer};
