//! A snapshot as its readers see it: an index whose own digest was verified when it was opened.
//!
//! The paths (an FST, some 20 bytes each) are in memory from then on, as they were verified; records are read from the
//! open file ([`Rows`]). So nothing that happens to the file ends the process or is believed: what can no longer be read
//! is not found, and [`Snapshot::is_damaged`] says so.
//!
//! An open snapshot holds a shared lock on its file; see the crate's notes on collecting.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use fleet_types::documents::IndexPin;
use fleet_types::{RepoPath, Sha256};
use fst::IntoStreamer;
use rustix::fs::FlockOperation;

use crate::error::{Doing, Result, StoreError};
use crate::fs::open_file;
use crate::index::{self, Header, RECORD_LEN};
use crate::rows::Changed;
use crate::verified::{Contents, DOING, read_head, read_verified};
use crate::{Entry, EntryState, SnapshotId, SnapshotMeta, links};

/// One immutable, verified copy of a revision: paths and what is known of each. Lookups take microseconds and allocate
/// nothing.
pub struct Snapshot {
    header: Header,
    meta: SnapshotMeta,
    pin: IndexPin,
    pub(crate) contents: Contents,
    paths: fst::Map<Vec<u8>>,
    /// Holds the shared lock.
    pub(crate) file: File,
    damaged: AtomicBool,
}

impl Snapshot {
    /// Verifies the digest of the file and that it is the snapshot `id`.
    pub(crate) fn open(path: &Path, id: &SnapshotId) -> Result<Snapshot> {
        let damaged = |problem: &str| StoreError::corrupt(format!("snapshot {id}"), problem);
        let file = open_index(path, id)?;
        if !lock_shared(&file) {
            return Err(StoreError::missing(id));
        }
        let (header, parts, meta) = read_head(&file).map_err(|e| e.into_error(damaged))?;
        if header.id != *id {
            return Err(damaged("the file is the index of another snapshot"));
        }
        let (contents, paths, pin) =
            read_verified(&file, &header, &parts).map_err(|e| e.into_error(damaged))?;
        let paths = fst::Map::new(paths).map_err(|e| damaged(&e.to_string()))?;
        if paths.len() as u64 != header.records {
            return Err(damaged("the number of paths is not the number of records"));
        }
        Ok(Snapshot {
            header,
            meta,
            pin,
            contents,
            paths,
            file,
            damaged: AtomicBool::new(false),
        })
    }

    /// Opens an index whose file name does not say which snapshot it is.
    pub(crate) fn open_unnamed(path: &Path) -> Result<Snapshot> {
        let damaged =
            |problem: &str| StoreError::corrupt(format!("the index {}", path.display()), problem);
        let file = File::open(path).doing(DOING)?;
        let (header, ..) = read_head(&file).map_err(|e| e.into_error(damaged))?;
        Snapshot::open(path, &header.id)
    }

    pub fn id(&self) -> SnapshotId {
        self.header.id
    }

    pub fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// The content of its file, by which others can copy it.
    pub fn pin(&self) -> IndexPin {
        self.pin
    }

    /// Number of paths.
    pub fn len(&self) -> u64 {
        self.header.records
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the file was found changed since it was opened. What could not be read was not found or ended a walk, so
    /// whoever relies on everything being there asks this afterwards.
    pub fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    /// [`StoreError::Corrupt`] where [`Snapshot::is_damaged`].
    pub fn expect_whole(&self) -> Result<()> {
        match self.is_damaged() {
            true => Err(self.changed()),
            false => Ok(()),
        }
    }

    pub(crate) fn changed(&self) -> StoreError {
        let what = format!("snapshot {}", self.id());
        StoreError::corrupt(what, "its index has changed since it was opened")
    }

    /// What is known of one path, in the form of [`RepoPath`].
    pub fn get(&self, path: &str) -> Option<Entry> {
        self.entry(self.paths.get(path)?)
    }

    /// The links, as names that can be names in a tree.
    pub fn links(&self) -> impl Iterator<Item = (RepoPath, RepoPath)> {
        let checked = |text: &String| RepoPath::new(text).ok();
        self.meta
            .links
            .iter()
            .filter_map(move |(link, target)| checked(link).zip(checked(target)))
    }

    /// The path that content has which is asked for by this one: another where it leads through a link.
    pub fn behind_links<'a>(&self, path: &'a str) -> Cow<'a, str> {
        links::follow(&self.meta.links, path)
    }

    /// The mtime to record for this path in the next snapshot: unchanged content keeps its mtime, new content under a
    /// known name is later than before whatever the upstream says, so that clients that ask by date see the change.
    pub fn mtime_after(&self, path: &str, digest: &Sha256, proposed: i64) -> i64 {
        match self.get(path) {
            Some(before) if before.digest == *digest => before.mtime,
            Some(before) => proposed.max(before.mtime.saturating_add(1)),
            None => proposed,
        }
    }

    pub(crate) fn entry(&self, number: u64) -> Option<Entry> {
        let record = self.believed(self.contents.records.read(&self.file, number))??;
        self.decode(&record)
    }

    pub(crate) fn decode(&self, record: &[u8; RECORD_LEN]) -> Option<Entry> {
        let (mut entry, sha512) = index::decode_record(record);
        if let Some(number) = sha512 {
            let row = self.contents.sha512s.read(&self.file, number.into());
            entry.sha512 = self.believed(row)?;
        }
        Some(entry)
    }

    /// None where the file has changed, which is remembered.
    pub(crate) fn believed<T>(&self, read: Result<T, Changed>) -> Option<T> {
        if read.is_err() && !self.damaged.swap(true, Ordering::AcqRel) {
            tracing::error!("{}", self.changed());
        }
        read.ok()
    }

    pub(crate) fn stream_from(&self, from: &str) -> fst::map::Stream<'_> {
        self.paths.range().ge(from).into_stream()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("id", &self.header.id)
            .field("len", &self.header.records)
            .finish()
    }
}

/// Reads only what a snapshot says about itself, without verifying the whole file.
pub(crate) fn read_meta(path: &Path, id: &SnapshotId) -> Result<SnapshotMeta> {
    let damaged = |problem: &str| StoreError::corrupt(format!("snapshot {id}"), problem);
    let file = open_index(path, id)?;
    let (header, _, meta) = read_head(&file).map_err(|e| e.into_error(damaged))?;
    match header.id == *id {
        true => Ok(meta),
        false => Err(damaged("the file is the index of another snapshot")),
    }
}

/// Calls `each` for digest and size of every present path, reading the file in blocks: scans over many snapshots need
/// not open them all. Does not verify the file.
pub(crate) fn scan_blobs(
    path: &Path,
    id: &SnapshotId,
    which: fn(EntryState) -> bool,
    each: &mut dyn FnMut(&[u8; 32], u64),
) -> Result<()> {
    const BLOCK: usize = RECORD_LEN * 2048;
    let damaged = |problem: &str| StoreError::corrupt(format!("snapshot {id}"), problem);
    let file = open_index(path, id)?;
    let (_, parts, _) = read_head(&file).map_err(|e| e.into_error(damaged))?;
    let mut block = vec![0; BLOCK];
    let mut at = parts.records;
    while at < parts.sha512s {
        let count = BLOCK.min(parts.sha512s - at);
        file.read_exact_at(&mut block[..count], at as u64)
            .doing(DOING)?;
        block[..count]
            .chunks_exact(RECORD_LEN)
            .filter_map(|record| index::blob_of(record, which))
            .for_each(|(digest, size)| each(digest, size));
        at += count;
    }
    Ok(())
}

pub(crate) fn open_index(path: &Path, id: &SnapshotId) -> Result<File> {
    match open_file(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(StoreError::missing(id)),
        other => other.doing(DOING),
    }
}

/// False when the collector is removing this snapshot. A file system without locks does without.
fn lock_shared(file: &File) -> bool {
    !matches!(
        rustix::fs::flock(file, FlockOperation::NonBlockingLockShared),
        Err(rustix::io::Errno::WOULDBLOCK)
    )
}
