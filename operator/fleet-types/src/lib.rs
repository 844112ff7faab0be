//! Values that every crate shares: digests, repository paths, revisions, reasons.
//!
//! This crate does no I/O and depends on nothing that does, so the pure crates can use it.

pub mod address;
mod both;
mod condition;
mod counted;
mod digest;
pub mod documents;
pub mod gauges;
mod lock;
mod order;
mod path;
mod problem;
mod reason;
mod revision;
mod run_facts;
mod shown;
mod size;

pub use both::both;
pub use condition::ConditionStatus;
pub use counted::{are, counted};
pub use digest::{Digest, DigestError, Expected, HashAlgorithm, Hashes, Sha256};
pub use lock::{lock, lock_read, lock_write};
pub use order::{Order, OrderError};
pub use path::{PathError, RepoPath};
pub use problem::Problem;
pub use reason::{Outcome, Reason};
pub use revision::{Accepted, Relation, UnitRevision};
pub use run_facts::{ClockReading, RunFacts};
pub use shown::{shown_file, shown_url};
pub use size::human_size;
