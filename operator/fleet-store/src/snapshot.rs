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
use std::io::{Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use fleet_types::{RepoPath, Sha256};
use fst::{IntoStreamer, Streamer};
use rustix::fs::FlockOperation;
use sha2::Digest as _;

use crate::error::{Doing, Result, StoreError};
use crate::fs::open_file;
use crate::index::{self, HEADER_LEN, Header, Parts, RECORD_LEN, SHA512_LEN, TRAILER_LEN};
use crate::rows::{Changed, Rows};
use crate::{Entry, SnapshotId, SnapshotMeta, links};

/// One immutable, verified copy of a revision: paths and what is known of each. Lookups take microseconds and allocate
/// nothing.
pub struct Snapshot {
    header: Header,
    meta: SnapshotMeta,
    contents: Contents,
    paths: fst::Map<Vec<u8>>,
    /// Holds the shared lock.
    file: File,
    damaged: AtomicBool,
}

/// What is read when it is asked for.
struct Contents {
    records: Rows<RECORD_LEN>,
    sha512s: Rows<SHA512_LEN>,
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
        let (header, parts, meta) = read_head(&file).map_err(|e| e.into_error(damaged))?;
        if header.id != *id {
            return Err(damaged("the file is the index of another snapshot"));
        }
        let (contents, paths) =
            read_verified(&file, &header, &parts).map_err(|e| e.into_error(damaged))?;
        let paths = fst::Map::new(paths).map_err(|e| damaged(&e.to_string()))?;
        if paths.len() as u64 != header.records {
            return Err(damaged("the number of paths is not the number of records"));
        }
        Ok(Snapshot {
            header,
            meta,
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

    /// All entries, in the order of the paths' bytes.
    pub fn iter(&self) -> Entries<'_> {
        self.iter_from("")
    }

    /// The entries from the first path that is not less than `from`.
    pub fn iter_from(&self, from: &str) -> Entries<'_> {
        Entries {
            snapshot: self,
            stream: self.stream_from(from),
            window: Window::default(),
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
            window: Window::default(),
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
        let record = self.believed(self.contents.records.read(&self.file, number))??;
        self.decode(&record)
    }

    fn decode(&self, record: &[u8; RECORD_LEN]) -> Option<Entry> {
        let (mut entry, sha512) = index::decode_record(record);
        if let Some(number) = sha512 {
            let row = self.contents.sha512s.read(&self.file, number.into());
            entry.sha512 = self.believed(row)?;
        }
        Some(entry)
    }

    /// None where the file has changed, which is remembered.
    fn believed<T>(&self, read: Result<T, Changed>) -> Option<T> {
        if read.is_err() && !self.damaged.swap(true, Ordering::AcqRel) {
            tracing::error!("{}", self.changed());
        }
        read.ok()
    }

    fn stream_from(&self, from: &str) -> fst::map::Stream<'_> {
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

/// The entries of a snapshot in order.
pub struct Entries<'a> {
    snapshot: &'a Snapshot,
    stream: fst::map::Stream<'a>,
    window: Window,
}

impl Iterator for Entries<'_> {
    type Item = (RepoPath, Entry);

    /// A path or record that no builder wrote, or that cannot be read any more, ends the walk.
    fn next(&mut self) -> Option<Self::Item> {
        let (path, number) = self.stream.next()?;
        let path = RepoPath::new(std::str::from_utf8(path).ok()?).ok()?;
        Some((path, self.window.entry(self.snapshot, number)?))
    }
}

/// Records that a walk has read ahead: more each time, so that a short walk reads little.
#[derive(Default)]
struct Window {
    first: u64,
    rows: Vec<u8>,
}

impl Window {
    const FIRST_ROWS: usize = 8;
    const MOST_ROWS: usize = 1024;

    fn entry(&mut self, snapshot: &Snapshot, number: u64) -> Option<Entry> {
        if self.row(number).is_none() {
            self.read_from(snapshot, number)?;
        }
        snapshot.decode(self.row(number)?)
    }

    fn row(&self, number: u64) -> Option<&[u8; RECORD_LEN]> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?.checked_mul(RECORD_LEN)?;
        self.rows.get(at..)?.first_chunk()
    }

    fn read_from(&mut self, snapshot: &Snapshot, number: u64) -> Option<()> {
        let before = self.rows.len() / RECORD_LEN;
        let rows = (before * 4).clamp(Self::FIRST_ROWS, Self::MOST_ROWS);
        self.rows.resize(rows * RECORD_LEN, 0);
        let records = &snapshot.contents.records;
        let read = snapshot.believed(records.read_many(&snapshot.file, number, &mut self.rows))?;
        self.first = number;
        self.rows.truncate(read * RECORD_LEN);
        Some(())
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
    window: Window,
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
                entry: self.window.entry(self.snapshot, number)?,
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
    let (header, _, meta) = read_head(&file).map_err(|e| e.into_error(damaged))?;
    match header.id == *id {
        true => Ok(meta),
        false => Err(damaged("the file is the index of another snapshot")),
    }
}

/// Calls `each` for digest and size of every present path, reading the file in blocks: scans over many snapshots need
/// not open them all. Does not verify the file.
pub(crate) fn scan_present(
    path: &Path,
    id: &SnapshotId,
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
            .filter_map(index::present_blob)
            .for_each(|(digest, size)| each(digest, size));
        at += count;
    }
    Ok(())
}

fn open_index(path: &Path, id: &SnapshotId) -> Result<File> {
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

/// Reads the whole file once: what was verified is what is kept.
fn read_verified(
    file: &File,
    header: &Header,
    parts: &Parts,
) -> Result<(Contents, Vec<u8>), ReadProblem> {
    let mut input = Hashing::new(file)?;
    input.each(parts.records, &mut |_| {})?;
    let mut contents = Contents {
        records: Rows::new(parts.records as u64, room(header.records)),
        sha512s: Rows::new(parts.sha512s as u64, room(header.sha512s)),
    };
    input.each(parts.sha512s - parts.records, &mut |rows| {
        contents.records.take(rows);
    })?;
    input.each(parts.fst - parts.sha512s, &mut |rows| {
        contents.sha512s.take(rows);
    })?;
    let mut paths = Vec::with_capacity(room(header.fst_len));
    input.each(parts.trailer - parts.fst, &mut |bytes| {
        paths.extend_from_slice(bytes);
    })?;
    input.expect_digest(parts.trailer)?;
    paths.shrink_to_fit();
    Ok((contents, paths))
}

/// What is reserved at once on the word of a header that is not verified yet.
fn room(promised: u64) -> usize {
    usize::try_from(promised).unwrap_or(0).min(64 << 20)
}

struct Hashing<'a> {
    file: &'a File,
    hasher: sha2::Sha256,
    block: Vec<u8>,
}

impl Hashing<'_> {
    fn new(mut file: &File) -> Result<Hashing<'_>, ReadProblem> {
        file.rewind()?;
        // Whole rows of either length.
        let block = vec![0; RECORD_LEN * SHA512_LEN * 64];
        Ok(Hashing { file, hasher: sha2::Sha256::new(), block })
    }

    /// The next `left` bytes, a block at a time.
    fn each(&mut self, mut left: usize, take: &mut dyn FnMut(&[u8])) -> Result<(), ReadProblem> {
        while left > 0 {
            let count = self.block.len().min(left);
            let block = &mut self.block[..count];
            self.file.read_exact(block)?;
            self.hasher.update(&*block);
            take(block);
            left -= count;
        }
        Ok(())
    }

    fn expect_digest(self, trailer: usize) -> Result<(), ReadProblem> {
        let mut written = [0; TRAILER_LEN];
        self.file.read_exact_at(&mut written, trailer as u64)?;
        let found: [u8; 32] = self.hasher.finalize().into();
        match found == written {
            true => Ok(()),
            false => Err(ReadProblem::Content("its digest is wrong".into())),
        }
    }
}
