//! A snapshot as its readers see it: an index that is mapped (or, on a network file system, read) after its own digest
//! was verified.
//!
//! An open snapshot holds a shared lock on its file; see the crate's notes on collecting.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use fleet_types::{RepoPath, Sha256};
use fst::{IntoStreamer, Streamer};
use rustix::fs::FlockOperation;
use sha2::Digest as _;

use crate::bytes::{Bytes, Region};
use crate::error::{Doing, Result, StoreError};
use crate::index::{self, HEADER_LEN, Header, Parts, RECORD_LEN, SHA512_LEN, TRAILER_LEN};
use crate::{Entry, SnapshotId, SnapshotMeta, links};

/// One immutable, verified copy of a revision: paths and what is known of each. Lookups take microseconds and do not
/// load the index as a whole.
pub struct Snapshot {
    header: Header,
    parts: Parts,
    meta: SnapshotMeta,
    bytes: Bytes,
    paths: fst::Map<Region>,
    /// Holds the shared lock.
    _file: File,
}

const DOING: &str = "reading a snapshot's index";

impl Snapshot {
    /// Verifies the digest of the file and that it is the snapshot `id`.
    pub(crate) fn open(path: &Path, id: &SnapshotId) -> Result<Snapshot> {
        let damaged = |problem: &str| StoreError::corrupt(format!("snapshot {id}"), problem);
        let file = open_index(path, id)?;
        if !lock_shared(&file) {
            return Err(StoreError::missing(id));
        }
        verify_digest(&file).map_err(|e| e.into_error(damaged))?;
        let (header, parts, meta) = read_head(&file).map_err(|e| e.into_error(damaged))?;
        if header.id != *id {
            return Err(damaged("the file is the index of another snapshot"));
        }
        let bytes = Bytes::of(&file).doing(DOING)?;
        let region = bytes
            .region(parts.fst..parts.trailer)
            .ok_or_else(|| damaged("the file is shorter than it was"))?;
        let paths = fst::Map::new(region).map_err(|e| damaged(&e.to_string()))?;
        if paths.len() as u64 != header.records {
            return Err(damaged("the number of paths is not the number of records"));
        }
        Ok(Snapshot {
            header,
            parts,
            meta,
            bytes,
            paths,
            _file: file,
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

    /// Number of paths.
    pub fn len(&self) -> u64 {
        self.header.records
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
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

    /// All entries, in the order of the paths' bytes.
    pub fn iter(&self) -> Entries<'_> {
        self.iter_from("")
    }

    /// The entries from the first path that is not less than `from`.
    pub fn iter_from(&self, from: &str) -> Entries<'_> {
        Entries {
            snapshot: self,
            stream: self.stream_from(from),
            taken: 0,
        }
    }

    /// What lies directly in a directory (`""` is the top), in byte order; nothing where there is no such directory.
    /// Costs one search for each directory inside it, however much lies below.
    pub fn children(&self, dir: &str) -> Children<'_> {
        let prefix = if dir.is_empty() {
            String::new()
        } else {
            format!("{dir}/")
        };
        Children {
            snapshot: self,
            stream: self.stream_from(&prefix),
            prefix,
        }
    }

    /// Whether some path lies below this one.
    pub fn is_dir(&self, path: &str) -> bool {
        path.is_empty() || self.children(path).next().is_some()
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

    fn entry(&self, number: u64) -> Option<Entry> {
        let at = self.parts.records + usize::try_from(number).ok()?.checked_mul(RECORD_LEN)?;
        let record = self
            .bytes
            .get(at..at + RECORD_LEN)
            .filter(|_| number < self.header.records)?;
        let (mut entry, sha512) = index::decode_record(record.first_chunk()?);
        entry.sha512 = sha512.and_then(|number| self.sha512(number));
        Some(entry)
    }

    fn sha512(&self, number: u32) -> Option<[u8; 64]> {
        let at = self.parts.sha512s + number as usize * SHA512_LEN;
        self.bytes
            .get(at..at + SHA512_LEN)
            .filter(|_| at < self.parts.fst)?
            .first_chunk()
            .copied()
    }

    fn stream_from(&self, from: &str) -> fst::map::Stream<'_> {
        self.paths.range().ge(from).into_stream()
    }

    /// Lets go of the pages of records that a walk has passed, so that walking a large index does not hold it all.
    fn release_before(&self, number: u64) {
        let end = self.parts.records + (number.min(self.header.records) as usize) * RECORD_LEN;
        self.bytes.release(self.parts.records..end);
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

/// The entries of a snapshot in order.
pub struct Entries<'a> {
    snapshot: &'a Snapshot,
    stream: fst::map::Stream<'a>,
    taken: u64,
}

/// Entries between two releases of passed pages: 3 MiB of records.
const RELEASE_EVERY: u64 = 1 << 16;

impl Iterator for Entries<'_> {
    type Item = (RepoPath, Entry);

    /// A path or record that no builder wrote ends the walk; scrubbing reports such an index.
    fn next(&mut self) -> Option<Self::Item> {
        let (path, number) = self.stream.next()?;
        let path = RepoPath::new(std::str::from_utf8(path).ok()?).ok()?;
        self.taken += 1;
        if self.taken.is_multiple_of(RELEASE_EVERY) {
            self.snapshot.release_before(number);
        }
        Some((path, self.snapshot.entry(number)?))
    }
}

/// One line of a directory listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Child {
    Directory { name: String },
    File { name: String, entry: Entry },
}

impl Child {
    pub fn name(&self) -> &str {
        match self {
            Child::Directory { name } | Child::File { name, .. } => name,
        }
    }
}

/// What lies directly in one directory.
pub struct Children<'a> {
    snapshot: &'a Snapshot,
    stream: fst::map::Stream<'a>,
    /// Empty, or ends with `/`.
    prefix: String,
}

impl Iterator for Children<'_> {
    type Item = Child;

    fn next(&mut self) -> Option<Child> {
        let (path, number) = self.stream.next()?;
        let below = std::str::from_utf8(path).ok()?.strip_prefix(&self.prefix)?;
        let Some((directory, _)) = below.split_once('/') else {
            return Some(Child::File {
                name: below.to_owned(),
                entry: self.snapshot.entry(number)?,
            });
        };
        let name = directory.to_owned();
        // `0` follows `/`: the first path after everything in that directory.
        self.stream = self
            .snapshot
            .stream_from(&format!("{}{name}0", self.prefix));
        Some(Child::Directory { name })
    }
}

/// Reads only what a snapshot says about itself, without verifying the whole file.
pub(crate) fn read_meta(path: &Path, id: &SnapshotId) -> Result<SnapshotMeta> {
    let damaged = |problem: &str| StoreError::corrupt(format!("snapshot {id}"), problem);
    let file = open_index(path, id)?;
    read_head(&file)
        .map(|(_, _, meta)| meta)
        .map_err(|e| e.into_error(damaged))
}

/// Calls `each` for the digest of every present path, reading the file in blocks: scans over many snapshots would
/// otherwise map them all into this process's memory. Does not verify the file.
pub(crate) fn scan_present(
    path: &Path,
    id: &SnapshotId,
    each: &mut dyn FnMut(&[u8; 32]),
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
            .filter_map(index::present_digest)
            .for_each(&mut *each);
        at += count;
    }
    Ok(())
}

fn open_index(path: &Path, id: &SnapshotId) -> Result<File> {
    match File::open(path) {
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

/// Either the disk failed or the content is wrong.
enum ReadProblem {
    Io(std::io::Error),
    Content(String),
}

impl ReadProblem {
    fn into_error(self, damaged: impl FnOnce(&str) -> StoreError) -> StoreError {
        match self {
            ReadProblem::Io(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                damaged("the file is cut short")
            }
            ReadProblem::Io(e) => StoreError::io(DOING, e),
            ReadProblem::Content(problem) => damaged(&problem),
        }
    }
}

impl From<std::io::Error> for ReadProblem {
    fn from(e: std::io::Error) -> Self {
        ReadProblem::Io(e)
    }
}

fn read_head(file: &File) -> Result<(Header, Parts, SnapshotMeta), ReadProblem> {
    let mut header = [0; HEADER_LEN];
    file.read_exact_at(&mut header, 0)?;
    let header = Header::decode(&header).map_err(ReadProblem::Content)?;
    let parts = header
        .parts(file.metadata()?.len())
        .ok_or_else(|| ReadProblem::Content("its length is not what its header says".into()))?;
    let mut meta = vec![0; parts.records - HEADER_LEN];
    file.read_exact_at(&mut meta, HEADER_LEN as u64)?;
    let meta = serde_json::from_slice(&meta)
        .map_err(|e| ReadProblem::Content(format!("its description: {e}")))?;
    Ok((header, parts, meta))
}

/// Reads the file rather than the mapping, so that the pages do not stay in this process.
fn verify_digest(mut file: &File) -> Result<(), ReadProblem> {
    let content = file.metadata()?.len().checked_sub(TRAILER_LEN as u64);
    let content = content.ok_or_else(|| ReadProblem::Content("the file is cut short".into()))?;
    let mut hasher = sha2::Sha256::new();
    let mut block = vec![0; 128 << 10];
    let mut left = content;
    while left > 0 {
        let want = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        match file.read(&mut block[..want])? {
            0 => return Err(ReadProblem::Content("the file is cut short".into())),
            count => {
                hasher.update(&block[..count]);
                left -= count as u64;
            }
        }
    }
    let mut written = [0; TRAILER_LEN];
    file.read_exact_at(&mut written, content)?;
    let found: [u8; 32] = hasher.finalize().into();
    if found == written {
        Ok(())
    } else {
        Err(ReadProblem::Content("its digest is wrong".into()))
    }
}
