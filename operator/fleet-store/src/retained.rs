//! `retained`: names that went, and that clients may still ask for.
//!
//! A client that has read an index asks for what it names, which it may do until `minAge` after the snapshot was
//! superseded. Where the collector gives a snapshot up before that, because so many were published since, its names whose
//! content never changes are kept here ([`crate::retain`]): one file of the store, beside the snapshots and no part of
//! any. So it is in no snapshot's id, count or damage.
//!
//! All numbers are little-endian.
//!
//! ```text
//! header      40 bytes  magic "MFRETAIN", version u32, row length u32, number of rows u64, length of the FST u64,
//!                       earliest instant i64
//! rows        64 each   record as in an index, without SHA-512; when the name went i64; 8 bytes zero
//! FST                   path -> row number (the `fst` crate's map format); row numbers follow the paths' order
//! digest      32 bytes  SHA-256 of everything before it
//! ```

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use fleet_types::RepoPath;
use fst::Streamer;

use crate::Entry;
use crate::build::{HashingWriter, fst_error};
use crate::error::{Doing, Result, StoreError};
use crate::fs::open_file;
use crate::index::{self, RECORD_LEN, TRAILER_LEN};
use crate::layout::unfinished;
use crate::rows::Rows;
use crate::runs::Record;
use crate::shared::Shared;
use crate::verified::{Hashing, ReadProblem, room};

const MAGIC: &[u8; 8] = b"MFRETAIN";
const VERSION: u32 = 1;
const HEADER_LEN: usize = 40;
const ROW_LEN: usize = 64;
/// Rows that a walk reads at once.
const WALK: usize = 256;
const DOING: &str = "keeping the names that went";

/// What a name stood for, and when it went: in seconds since 1970-01-01T00:00:00Z, when the last snapshot that had it
/// was superseded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone {
    /// Offered ([`crate::EntryState::is_offered`]), and of fixed content.
    pub entry: Entry,
    pub at: i64,
}

/// The names that went, verified when they were opened. How long each still counts is
/// [`Retention::is_recent`](crate::Retention::is_recent).
pub struct Retained {
    paths: fst::Map<Vec<u8>>,
    rows: Rows<ROW_LEN>,
    file: File,
    stamp: Stamp,
    damaged: AtomicBool,
}

/// Tells one version of the file from the next: it is replaced by rename.
type Stamp = (u64, u64, i64, i64, u64);

impl Retained {
    /// None where nothing is retained.
    pub(crate) fn open(path: &Path) -> Result<Option<Retained>> {
        let file = match open_file(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.doing(DOING)?,
        };
        Retained::read(file).map(Some).map_err(damaged)
    }

    fn read(file: File) -> Result<Retained, ReadProblem> {
        let header = Header::read(&file)?;
        let mut input = Hashing::new(&file)?;
        let mut rows = Rows::new(HEADER_LEN as u64, room(header.rows));
        let mut paths = Vec::with_capacity(room(header.fst_len));
        input.each(HEADER_LEN, &mut |_| {})?;
        input.each(header.fst_at() - HEADER_LEN, &mut |some| rows.take(some))?;
        input.each(header.trailer_at() - header.fst_at(), &mut |bytes| {
            paths.extend_from_slice(bytes);
        })?;
        input.expect_digest(header.trailer_at())?;
        let paths = fst::Map::new(paths).map_err(|e| ReadProblem::Content(e.to_string()))?;
        if paths.len() as u64 != header.rows {
            let problem = "the number of paths is not the number of rows";
            return Err(ReadProblem::Content(problem.to_owned()));
        }
        Ok(Retained {
            stamp: stamp(&file.metadata()?),
            paths,
            rows,
            file,
            damaged: AtomicBool::new(false),
        })
    }

    /// When the first of its names went, by the head of the file alone; none where nothing is retained.
    pub(crate) fn earliest(path: &Path) -> Result<Option<i64>> {
        let file = match open_file(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.doing(DOING)?,
        };
        let header = Header::read(&file).map_err(damaged)?;
        Ok(Some(header.earliest))
    }

    /// Whether the file is still this one.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|about| stamp(&about) == self.stamp)
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    pub fn get(&self, path: &str) -> Option<Gone> {
        let row = self.rows.read(&self.file, self.paths.get(path)?);
        decode(&self.believed(row)??)
    }

    /// All of them, in the order of the paths' bytes. What can no longer be read ends the walk, and
    /// [`Retained::expect_whole`] says so.
    pub fn iter(&self) -> impl Iterator<Item = (RepoPath, Gone)> + '_ {
        let mut stream = self.paths.stream();
        let (mut first, mut rows) = (0, Vec::new());
        std::iter::from_fn(move || {
            let (path, number) = stream.next()?;
            let path = RepoPath::new(std::str::from_utf8(path).ok()?).ok()?;
            if rows.is_empty() || number >= first + (rows.len() / ROW_LEN) as u64 {
                rows.resize(WALK * ROW_LEN, 0);
                let read = self.rows.read_many(&self.file, number, &mut rows);
                rows.truncate(self.believed(read)? * ROW_LEN);
                first = number;
            }
            let at = usize::try_from(number.checked_sub(first)?).ok()? * ROW_LEN;
            Some((path, decode(rows.get(at..)?.first_chunk()?)?))
        })
    }

    /// Whether the file was found changed since it was opened.
    pub fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    /// [`StoreError::Corrupt`] where [`Retained::is_damaged`].
    pub fn expect_whole(&self) -> Result<()> {
        match self.is_damaged() {
            true => {
                let problem = "it has changed since it was opened".to_owned();
                Err(damaged(ReadProblem::Content(problem)))
            }
            false => Ok(()),
        }
    }

    /// None where the file has changed, which is remembered.
    fn believed<T, E>(&self, read: Result<T, E>) -> Option<T> {
        if read.is_err() {
            self.damaged.store(true, Ordering::Release);
        }
        read.ok()
    }
}

impl fmt::Debug for Retained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retained")
            .field("len", &self.len())
            .finish()
    }
}

fn damaged(problem: ReadProblem) -> StoreError {
    problem.into_error(|problem| StoreError::corrupt("retained", problem))
}

fn stamp(about: &std::fs::Metadata) -> Stamp {
    let (dev, ino) = (about.dev(), about.ino());
    (dev, ino, about.mtime(), about.mtime_nsec(), about.len())
}

/// The first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    rows: u64,
    fst_len: u64,
    earliest: i64,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&(ROW_LEN as u32).to_le_bytes());
        out[16..24].copy_from_slice(&self.rows.to_le_bytes());
        out[24..32].copy_from_slice(&self.fst_len.to_le_bytes());
        out[32..40].copy_from_slice(&self.earliest.to_le_bytes());
        out
    }

    /// Believed as far as the length of the file goes.
    fn read(file: &File) -> Result<Header, ReadProblem> {
        let mut bytes = [0; HEADER_LEN];
        file.read_exact_at(&mut bytes, 0)?;
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let kind = u64::from(VERSION) | (ROW_LEN as u64) << 32;
        if &bytes[..8] != MAGIC || word(8) != kind {
            let problem = "it is not a list of names that this program reads";
            return Err(ReadProblem::Content(problem.to_owned()));
        }
        let header = Header {
            rows: word(16),
            fst_len: word(24),
            earliest: word(32) as i64,
        };
        match header.length() == Some(file.metadata()?.len()) {
            true => Ok(header),
            false => {
                let problem = "its length is not what its header says";
                Err(ReadProblem::Content(problem.to_owned()))
            }
        }
    }

    fn length(&self) -> Option<u64> {
        let rows = self.rows.checked_mul(ROW_LEN as u64)?;
        let both = rows.checked_add(self.fst_len)?;
        let length = both.checked_add((HEADER_LEN + TRAILER_LEN) as u64)?;
        usize::try_from(length).ok().map(|_| length)
    }

    // Both lie within the file, whose length fits.
    fn fst_at(&self) -> usize {
        HEADER_LEN + self.rows as usize * ROW_LEN
    }

    fn trailer_at(&self) -> usize {
        self.fst_at() + self.fst_len as usize
    }
}

/// One name while the list is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GoneName {
    pub path: String,
    pub gone: Gone,
}

impl Record for GoneName {
    fn write_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.path.as_bytes());
    }
    fn write_value(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&encode(&self.gone));
    }
    fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        Some(GoneName {
            path: String::from_utf8(key.to_vec()).ok()?,
            gone: decode(value.try_into().ok()?)?,
        })
    }
}

fn encode(gone: &Gone) -> [u8; ROW_LEN] {
    let mut row = [0; ROW_LEN];
    row[..RECORD_LEN].copy_from_slice(&index::encode_record(&gone.entry, None));
    row[RECORD_LEN..RECORD_LEN + 8].copy_from_slice(&gone.at.to_le_bytes());
    row
}

fn decode(row: &[u8; ROW_LEN]) -> Option<Gone> {
    let (record, rest) = row.split_first_chunk()?;
    Some(Gone {
        entry: index::decode_record(record).0,
        at: i64::from_le_bytes(*rest.first_chunk()?),
    })
}

/// Writes a new list beside the one that counts, which it is to replace; `names` are sorted and distinct. Returns how
/// many they are.
pub(crate) fn write(shared: &Shared, names: impl Iterator<Item = Result<GoneName>>) -> Result<u64> {
    let path = unfinished(&shared.layout.retained());
    let written = write_to(shared, &path, names);
    if written.is_err() {
        // Best effort: on a full disk the space is wanted back at once; the next writer removes it otherwise.
        let _ = shared.fs.remove_file(&path);
    }
    written
}

fn write_to(
    shared: &Shared,
    path: &Path,
    names: impl Iterator<Item = Result<GoneName>>,
) -> Result<u64> {
    let part = || {
        let file = tempfile::tempfile_in(shared.layout.staging()).doing(DOING);
        file.map(BufWriter::new)
    };
    let (mut rows, mut paths) = (part()?, fst::MapBuilder::new(part()?).map_err(fst_error)?);
    let (mut count, mut earliest) = (0, i64::MAX);
    for name in names {
        let name = name?;
        rows.write_all(&encode(&name.gone)).doing(DOING)?;
        paths.insert(&name.path, count).map_err(fst_error)?;
        earliest = earliest.min(name.gone.at);
        count += 1;
    }
    let close = |part: BufWriter<File>| part.into_inner().map_err(|e| e.into_error()).doing(DOING);
    let (rows, paths) = (close(rows)?, close(paths.into_inner().map_err(fst_error)?)?);
    let header = Header {
        rows: count,
        fst_len: paths.metadata().doing(DOING)?.len(),
        earliest,
    };
    let file = shared.fs.open(path, true).doing(DOING)?;
    let mut out = HashingWriter::new(&file);
    out.write(&header.encode())?;
    out.copy(rows)?;
    out.copy(paths)?;
    out.finish()?;
    shared.fs.sync_file(&file).doing(DOING)?;
    Ok(count)
}
