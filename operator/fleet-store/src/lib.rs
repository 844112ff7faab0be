//! Blobs by digest, immutable snapshots, one `current`.
//!
//! ```text
//! store.json                identity: what this is a copy of, how it is kept and served
//! blobs/ab/cdef…            one file per distinct content, named by SHA-256, mode 0444, never changed
//! snapshots/<id>            one immutable index: path -> (state, digest, size, mtime, …)
//! retained                  names that went with snapshots that were given up before their time, and when
//! current                   names the snapshot that is served; replaced by rename(2)
//! state/                    facts of runs, and what a person decided
//! staging/                  downloads and sort files; always safe to delete
//! lock                      held by the one writer
//! filling/                  downloads of who fills the store on demand; always safe to delete
//! inserter, insertions      locks of who fills it, see [`Inserter`]
//! suspects/                 blobs that a server could not serve: an empty file named by the digest, for the next writer
//! set-aside/                what could not be read, for people; removed after a fortnight
//! ```
//!
//! Owned here: the layout, durability, retention, and that a snapshot never names as present a blob that is missing or
//! wrong. Left to others: what to fetch and believe (the sync engine), names and formats of repositories, HTTP. No
//! name that came from an upstream becomes a file name in a store; only [`Store::export`] writes such names, below a
//! directory of its own.
//!
//! # Durability
//!
//! A power cut at any moment leaves the old or the new snapshot served, complete. The order that gives this: staged
//! content, `syncfs`, rename into `blobs/`, `syncfs`; then the index with fsync, rename, fsync of the directory; then
//! `current` in the same way. A process that was killed may have renamed without syncing, so whoever relies on
//! something that it found syncs it first. The crash tests run against a model of a disk that forgets what was not
//! synced.
//!
//! # Damage
//!
//! No file that cannot be read keeps another from being used. Readers leave it out and tell of it; where a second copy
//! or the rest of the store says the same, they go by that. The next writer moves it to `set-aside/` and goes on as if it
//! had never been written, so that the next sync makes it anew. Blobs are mended by a sync that was told of them: by a
//! scrub, by `mirrorfleet verify`, or by the server that met them.
//!
//! # Locks, and a reader against the collector
//!
//! Writers exclude each other by an exclusive flock(2) on `lock`, which readers never touch. An open [`Snapshot`]
//! holds a shared flock on its own index file, which a read-only mount allows. The collector first renames the indices
//! that it drops, so that no reader opens them anew, and then removes the blobs of those on which it gets an exclusive
//! lock; the others wait for a later collection. A server that stays up for months is therefore in nobody's way as
//! long as it lets go of snapshots that are no longer listed; one that does not is waited for for an hour. A request
//! that is under way then keeps the files that it has open, and where [`Store::open_blob`] finds nothing it resolves
//! its path once more.
//!
//! # Filled on demand
//!
//! What a snapshot lists as [`EntryState::NotYetFetched`] need not be here: whether it is says the blob alone. Beside the
//! writer there may be one [`Inserter`], which adds such blobs and evicts those that were used longest ago. Whoever
//! collects or mends excludes it meanwhile. Blobs that it adds are not synced: one that a power cut spoiled is found out
//! by who reads it first, and fetched again.

mod adopt;
mod build;
mod cache;
mod check;
mod claim;
mod collect;
mod distinct;
mod document;
mod draft;
mod dropping;
mod entry;
mod error;
mod export;
mod facts;
mod fs;
mod identity;
mod index;
mod inserter;
mod inspect;
mod layout;
mod leftovers;
mod links;
mod mend;
mod merge;
mod pins;
mod recover;
mod retain;
mod retained;
mod retention;
mod rows;
mod runs;
mod scrub;
mod shards;
mod share;
mod shared;
mod snapshot;
mod sort;
mod space;
mod staging;
mod stamp;
mod store;
mod tree;
mod verified;
mod walk;
mod writer;

pub use adopt::{Adoptable, INDEX_VERSION};
pub use build::{IndexBuilder, Prepared};
pub use cache::{Cached, Evicted};
pub use collect::{CollectReport, WantedDigests};
pub use entry::{Entry, EntryState, NO_DIGEST, SnapshotId, SnapshotMeta};
pub use error::{ConflictKind, Result, StoreError};
pub use export::{Afterwards, ExportOptions, ExportReport, StandIns};
pub use identity::{Clients, Identity, Retention, Transactions};
pub use inserter::Inserter;
pub use layout::IDENTITY_FILE;
pub use leftovers::Leftovers;
pub use retained::{Gone, Retained};
pub use runs::Record;
pub use scrub::{Finding, ScrubProgress, ScrubReport};
pub use share::{GoOn, Share};
pub use snapshot::Snapshot;
pub use sort::{RunSorter, Sorted, SortedIter};
pub use space::Space;
pub use staging::{Staged, StagedFile, Staging};
pub use stamp::ListStamp;
pub use store::{Returned, SnapshotInfo, Store};
pub use tree::ExportMode;
pub use walk::{Child, Children, Entries};
pub use writer::{Publication, Writer};

#[cfg(test)]
mod crash_retained;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod model;
#[cfg(test)]
mod numbered;
