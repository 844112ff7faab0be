//! Taking over a snapshot that another mirror of ours made: its index file as it is, by a pin that somebody vouches for.
//!
//! The pin says which bytes are meant, and so who is believed: whoever gave it. Everything else that an index says of
//! itself is computed anew: the id from the records, the counts from the entries; and each path must be one that a
//! builder could have written. So an index that some program made wrong ends here and not in a server.
//!
//! # Order, and what a crash leaves
//!
//! The index is fetched like any content and is a blob at first, durable and noted among those that no snapshot names.
//! When all blobs that it names are there, it moves to its place by one rename, which is made durable. A crash before that
//! leaves a blob that the next run finds, or that a collection removes; one after it leaves the snapshot.

use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use fleet_types::documents::IndexPin;
use fleet_types::{Reason, RepoPath, counted};
use fst::Streamer;

use crate::build::{add_to_id, finish_id, id_of_revision, set_read_only};
use crate::distinct::Ancestors;
use crate::error::{Doing, Result, StoreError};
use crate::index::{self, HEADER_LEN};
use crate::links;
use crate::merge::Changes;
use crate::snapshot::open_index;
use crate::verified::pin_of;
use crate::walk::Window;
use crate::{Entry, EntryState, Prepared, Snapshot, SnapshotId, Writer};

/// The newest version of an index that this program reads.
pub const INDEX_VERSION: u32 = index::VERSION;

/// An index that can become a snapshot of this store, once all that it names is there.
pub struct Adoptable {
    snapshot: Arc<Snapshot>,
}

/// Why an index is not taken, though it is the one that was meant.
type Flaw = (Reason, String);

impl Adoptable {
    /// Its paths and what they say.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Calls `each` for every present path with its content, and whether `parent` has that very content under that path.
    ///
    /// # Errors
    /// That of `each`, and [`StoreError::Corrupt`] where one of the two changed while it was read.
    pub fn each_present<E: From<StoreError>>(
        &self,
        parent: Option<&Snapshot>,
        mut each: impl FnMut(&RepoPath, &Entry, bool) -> Result<(), E>,
    ) -> Result<(), E> {
        for change in Changes::new(parent, &self.snapshot) {
            if let Some(entry) = change.after.filter(is_present) {
                let is_vouched_for = change.before.is_some_and(|before| {
                    is_present(&before)
                        && (before.digest, before.size) == (entry.digest, entry.size)
                });
                each(&change.path, &entry, is_vouched_for)?;
            }
        }
        self.snapshot.expect_whole()?;
        Ok(parent.map_or(Ok(()), Snapshot::expect_whole)?)
    }
}

fn is_present(entry: &Entry) -> bool {
    entry.state == EntryState::Present
}

impl Writer {
    /// Reads the index that is stored as the blob `pin.sha256`, and judges whether it is the one of the snapshot `id`.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where the blob is not what its name says: it is to be fetched again.
    /// [`StoreError::NotAdopted`] where it is, and cannot be taken.
    pub fn examine(&self, id: &SnapshotId, pin: &IndexPin) -> Result<Adoptable> {
        let path = self.blob_path(&pin.sha256);
        let damaged = |problem: &str| StoreError::blob(&pin.sha256, problem);
        let file = match open_index(&path, id) {
            Err(StoreError::SnapshotNotFound { .. }) => return Err(damaged("it is missing")),
            other => other?,
        };
        if pin_of(&file).map_err(|e| e.into_error(damaged))? != *pin {
            return Err(damaged("its content is another"));
        }
        let refused = |(reason, problem): Flaw| StoreError::NotAdopted {
            id: *id,
            reason,
            problem,
        };
        let mut head = [0; HEADER_LEN];
        let is_long_enough = file.read_exact_at(&mut head, 0).is_ok();
        if let Some(version) = index::newer_version(&head).filter(|_| is_long_enough) {
            let problem = format!(
                "it has version {version}, and this program reads up to version {INDEX_VERSION}: upgrade this side first"
            );
            return Err(refused((Reason::IndexVersionTooNew, problem)));
        }
        let snapshot = match Snapshot::open(&path, id) {
            Err(StoreError::Corrupt { problem, .. }) => {
                return Err(refused((Reason::IndexMalformed, problem)));
            }
            other => other?,
        };
        // A table of paths that no builder wrote can lead the crate that reads it out of its bounds.
        let judged = catch_unwind(AssertUnwindSafe(|| judge(&snapshot)));
        let judged = judged.unwrap_or_else(|_| Err(malformed("its paths cannot be read")));
        snapshot.expect_whole()?;
        judged.map_err(refused)?;
        Ok(Adoptable {
            snapshot: Arc::new(snapshot),
        })
    }

    /// Makes it a snapshot of this store, durably, when every blob that it names is there with its size. Those that
    /// `parent` names under the same path are taken to be. An index that has the same id and other bytes gives way: a fleet has
    /// one index of each snapshot, so that times are the same everywhere.
    pub fn adopt(&self, adoptable: Adoptable, parent: Option<&Snapshot>) -> Result<Prepared> {
        const DOING: &str = "taking over a snapshot's index";
        let shared = &self.shared;
        let _no_collection = shared.committing();
        adoptable.each_present(parent, |path, entry, is_vouched_for| {
            match is_vouched_for || shared.has_blob(&entry.digest, entry.size) {
                true => Ok(()),
                false => Err(lacking(path, entry)),
            }
        })?;
        let snapshot = adoptable.snapshot();
        let (id, pin) = (snapshot.id(), snapshot.pin());
        let existed = self.index_pin(&id).is_ok_and(|known| known == pin);
        if existed {
            shared.make_snapshot_durable(&id)?;
        } else {
            set_read_only(&snapshot.file)?;
            shared.fs.sync_file(&snapshot.file).doing(DOING)?;
            let (from, to) = (self.blob_path(&pin.sha256), shared.layout.snapshot(&id));
            shared.fs.rename(&from, &to).doing(DOING)?;
            let folder = shared.layout.snapshots();
            shared.fs.sync_dir(&folder).doing(DOING)?;
        }
        Ok(Prepared {
            id,
            existed,
            entries: snapshot.meta().entries,
            bytes: snapshot.meta().bytes,
        })
    }
}

fn lacking(path: &RepoPath, entry: &Entry) -> StoreError {
    let problem = format!(
        "a snapshot that is to be taken over names it as {:?} with {}, and it is not there",
        path.as_str(),
        counted(entry.size, "byte")
    );
    StoreError::blob(&entry.digest, problem)
}

fn malformed(problem: impl Into<String>) -> Flaw {
    (Reason::IndexMalformed, problem.into())
}

/// Goes through all of it once.
fn judge(snapshot: &Snapshot) -> Result<(), Flaw> {
    let meta = snapshot.meta();
    let mut id = id_of_revision(meta);
    let mut walk = Walk::default();
    let mut links = meta.links.clone();
    let mut stream = snapshot.stream_from("");
    while let Some((key, number)) = stream.next() {
        let (path, entry) = walk.step(snapshot, key, number)?;
        add_to_id(&mut id, path.as_str(), &entry);
        links::yield_to(&mut links, path.as_str());
    }
    if walk.count != snapshot.len() {
        return Err(malformed("it has fewer paths than records"));
    }
    if (meta.entries, meta.bytes) != (walk.count, walk.bytes) {
        return Err(malformed(
            "its description counts other files than there are",
        ));
    }
    let names = meta.links.iter().flat_map(|(link, target)| [link, target]);
    for name in names {
        path_of(name.as_bytes())?;
    }
    if links.len() != meta.links.len() {
        return Err(malformed("it has a link in the place of a file"));
    }
    let computed = finish_id(id, walk.count, meta);
    if computed != snapshot.id() {
        let problem = format!("what it holds is snapshot {computed}");
        return Err((Reason::DigestMismatch, problem));
    }
    Ok(())
}

fn unsafe_path(name: &str, problem: &str) -> Flaw {
    let shown: String = name.chars().take(200).collect();
    (Reason::UnsafePath, format!("it names {shown:?}: {problem}"))
}

/// A name in the one form that it has everywhere.
fn path_of(key: &[u8]) -> Result<RepoPath, Flaw> {
    let text = match std::str::from_utf8(key) {
        Ok(text) => text,
        Err(e) => return Err(unsafe_path(&String::from_utf8_lossy(key), &e.to_string())),
    };
    let path = RepoPath::new(text).map_err(|e| unsafe_path(text, &e.to_string()))?;
    match path.as_str() == text {
        true => Ok(path),
        false => Err(unsafe_path(text, "it is another way to write a path")),
    }
}

/// How far the paths were gone through.
#[derive(Default)]
struct Walk {
    window: Window,
    ancestors: Ancestors,
    before: Option<RepoPath>,
    count: u64,
    bytes: u64,
}

impl Walk {
    fn step(
        &mut self,
        snapshot: &Snapshot,
        key: &[u8],
        number: u64,
    ) -> Result<(RepoPath, Entry), Flaw> {
        // Also what ends a table that goes on without end.
        if number != self.count || number >= snapshot.len() {
            return Err(malformed("its records are not in the order of its paths"));
        }
        let path = path_of(key)?;
        if self.before.as_ref().is_some_and(|before| *before >= path) {
            return Err(malformed("its paths are not in order"));
        }
        let entry = self.window.entry(snapshot, number);
        let entry = entry.ok_or_else(|| malformed(format!("record {number} cannot be read")))?;
        if entry.state != EntryState::Excluded {
            let pushed = self.ancestors.push(path.as_str());
            pushed.map_err(|e| (Reason::PathConflict, e.to_string()))?;
        }
        if is_present(&entry) {
            self.bytes = self.bytes.saturating_add(entry.size);
        }
        self.count += 1;
        self.before = Some(path.clone());
        Ok((path, entry))
    }
}
