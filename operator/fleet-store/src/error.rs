//! What can go wrong in a store, as a reason and a sentence that says what to do.

use std::io;
use std::path::{Path, PathBuf};

use fleet_types::{Digest, HashAlgorithm, Problem, Reason, Sha256, counted};
use rustix::io::Errno;

use crate::SnapshotId;

/// Why a store did not do what it was asked. [`StoreError::reason`] is the word for conditions and exit codes; the
/// text is the sentence for people.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the volume is full ({doing}): free space or grow the volume (`spec.storage.size`)")]
    Full {
        doing: &'static str,
        source: io::Error,
    },
    #[error(
        "the volume is read-only ({doing}): mount it read-write, and check it if it was remounted after a disk error"
    )]
    ReadOnly {
        doing: &'static str,
        source: io::Error,
    },
    #[error(
        "the disk failed ({doing}): {source}; check the volume and the kernel log of the machine it is on"
    )]
    DiskFailed {
        doing: &'static str,
        source: io::Error,
    },
    #[error(
        "this user may not do that ({doing}): {source}; the store and everything in it must belong to the user that syncs (`chown -R`, in a cluster `fsGroup`)"
    )]
    NotPermitted {
        doing: &'static str,
        source: io::Error,
    },
    #[error("the file system refused something ({doing}): {source}")]
    Failed {
        doing: &'static str,
        source: io::Error,
    },
    #[error("there is no store in {}: run a sync of this mirror first", .dir.display())]
    Absent { dir: PathBuf },
    #[error("another process is writing to the store in {}: wait for it to end", .dir.display())]
    Busy { dir: PathBuf },
    #[error("the directory {} belongs to something else: {claim}; take another directory (`--data`) or volume, or move away what is there", .dir.display())]
    Mismatch { dir: PathBuf, claim: String },
    #[error("{what} is damaged: {problem}; the next sync mends it")]
    Corrupt { what: String, problem: String },
    #[error(
        "the pinned snapshot {id} is lost, and the upstream no longer has what it held: take the pin away (`mirrorfleet snapshots MIRROR unpin`, or `spec.snapshots.pinned` where the manifest has it), then sync again; the newest snapshot is prepared"
    )]
    PinLost { id: SnapshotId },
    #[error("no snapshot {wanted} in this store: list them with `mirrorfleet snapshots`")]
    SnapshotNotFound { wanted: String },
    #[error("the snapshot prefix {prefix} fits several snapshots: give more digits")]
    AmbiguousPrefix { prefix: String },
    #[error("the index that was copied for snapshot {id} is not taken: {problem}")]
    NotAdopted {
        id: SnapshotId,
        reason: Reason,
        problem: String,
    },
    #[error("path {path:?} {problem}")]
    Conflict { path: String, problem: ConflictKind },
    #[error("content is longer than its index promises, {}", counted(*.expected, "byte"))]
    TooLong { expected: u64 },
    #[error("content ended after {found} of {}", counted(*.expected, "byte"))]
    TooShort { expected: u64, found: u64 },
    #[error("content has another digest than its index promises ({expected}, this is {found})")]
    WrongDigest {
        expected: Box<Digest>,
        found: Box<Digest>,
    },
    #[error(
        "{algorithm} alone is too weak to believe content: the index must list SHA256 or SHA512"
    )]
    WeakDigest { algorithm: HashAlgorithm },
    #[error("{what} is outside what the store can hold: {limit}")]
    Limit { what: String, limit: &'static str },
    #[error("cannot export to {}: {problem}", .dest.display())]
    Export { dest: PathBuf, problem: String },
}

/// In which way two entries of one snapshot exclude each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConflictKind {
    #[error("is listed with two different contents")]
    TwoContents,
    #[error("is listed as a file, and another entry needs a directory of that name")]
    FileAndDirectory,
}

pub type Result<T, E = StoreError> = std::result::Result<T, E>;

impl StoreError {
    /// The fixed word for conditions, events, metrics and the exit code.
    pub fn reason(&self) -> Reason {
        match self {
            StoreError::Full { .. } => Reason::StorageFull,
            StoreError::ReadOnly { .. } => Reason::StorageReadOnly,
            StoreError::Failed { .. }
            | StoreError::DiskFailed { .. }
            | StoreError::NotPermitted { .. }
            | StoreError::Absent { .. }
            | StoreError::Export { .. } => Reason::StorageFailed,
            StoreError::Busy { .. } => Reason::StoreBusy,
            StoreError::Mismatch { .. } => Reason::StoreMismatch,
            StoreError::Corrupt { .. } => Reason::StoreCorrupt,
            StoreError::SnapshotNotFound { .. }
            | StoreError::AmbiguousPrefix { .. }
            | StoreError::PinLost { .. } => Reason::SnapshotNotFound,
            StoreError::NotAdopted { reason, .. } => *reason,
            StoreError::Conflict { .. } => Reason::PathConflict,
            StoreError::TooLong { .. }
            | StoreError::TooShort { .. }
            | StoreError::WrongDigest { .. } => Reason::DigestMismatch,
            StoreError::WeakDigest { .. } => Reason::WeakHash,
            StoreError::Limit { .. } => Reason::TooLarge,
        }
    }

    /// Whether there is simply no store (yet) where one was looked for.
    pub fn is_absent(&self) -> bool {
        matches!(self, StoreError::Absent { .. })
    }

    /// Whether a file of the store is not what was written: to be set aside, rather than to be tried again.
    pub fn is_damage(&self) -> bool {
        match self {
            StoreError::Corrupt { .. } | StoreError::DiskFailed { .. } => true,
            StoreError::NotPermitted { .. } => true,
            StoreError::Failed { source, .. } => {
                let errno = source.raw_os_error().map(Errno::from_raw_os_error);
                matches!(
                    errno,
                    Some(Errno::ISDIR | Errno::NOTDIR | Errno::LOOP | Errno::NXIO)
                )
            }
            _ => false,
        }
    }

    /// What is wrong with a file, in the words of the system.
    pub(crate) fn cause(&self) -> Option<String> {
        match self {
            StoreError::Corrupt { problem, .. } => Some(problem.clone()),
            StoreError::DiskFailed { source, .. }
            | StoreError::NotPermitted { source, .. }
            | StoreError::Failed { source, .. } => Some(source.to_string()),
            _ => None,
        }
    }

    /// An I/O error, told apart by what it means for a store.
    pub fn io(doing: &'static str, source: io::Error) -> StoreError {
        match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::MLINK) => {
                StoreError::Full { doing, source }
            }
            Some(Errno::ROFS) => StoreError::ReadOnly { doing, source },
            Some(Errno::ACCESS | Errno::PERM) => StoreError::NotPermitted { doing, source },
            Some(Errno::IO | Errno::UCLEAN | Errno::NODEV) => {
                StoreError::DiskFailed { doing, source }
            }
            _ => StoreError::Failed { doing, source },
        }
    }

    pub(crate) fn corrupt(what: impl Into<String>, problem: impl Into<String>) -> StoreError {
        StoreError::Corrupt {
            what: what.into(),
            problem: problem.into(),
        }
    }

    pub(crate) fn missing(id: &SnapshotId) -> StoreError {
        StoreError::SnapshotNotFound {
            wanted: id.to_string(),
        }
    }

    pub(crate) fn mismatch(dir: &Path, claim: impl Into<String>) -> StoreError {
        StoreError::Mismatch {
            dir: dir.to_owned(),
            claim: claim.into(),
        }
    }

    pub(crate) fn blob(digest: &Sha256, problem: impl Into<String>) -> StoreError {
        StoreError::corrupt(format!("blob {digest}"), problem)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        Problem::new(error.reason(), error.to_string())
    }
}

/// Says what was being done when an I/O error happened.
pub(crate) trait Doing<T> {
    fn doing(self, what: &'static str) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: &'static str) -> Result<T> {
        self.map_err(|source| StoreError::io(what, source))
    }
}

impl<T> Doing<T> for rustix::io::Result<T> {
    fn doing(self, what: &'static str) -> Result<T> {
        self.map_err(|errno| StoreError::io(what, errno.into()))
    }
}
