//! Building the index of a new snapshot from entries in any order, in bounded memory.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use fleet_types::{RepoPath, Sha256};
use sha2::Digest as _;

use crate::distinct::{Distinct, PathEntry};
use crate::error::{Doing, Result, StoreError};
use crate::index::{self, Header};
use crate::known_blobs::check_blobs;
use crate::links;
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::sort::{RunSorter, Sorted};
use crate::{Entry, EntryState, SnapshotId, SnapshotMeta};

/// Collects the entries of a new snapshot and prepares it.
pub struct IndexBuilder {
    shared: Arc<Shared>,
    parent: Option<Arc<Snapshot>>,
    sorter: RunSorter<PathEntry>,
}

/// A snapshot that is durable and complete, and not necessarily served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared {
    pub id: SnapshotId,
    /// The very same snapshot was in the store before.
    pub existed: bool,
    /// Number of paths.
    pub entries: u64,
    /// Sum of the sizes of the present paths.
    pub bytes: u64,
}

const DOING: &str = "writing a snapshot's index";

impl IndexBuilder {
    pub(crate) fn new(shared: Arc<Shared>, parent: Option<Arc<Snapshot>>) -> IndexBuilder {
        let sorter = RunSorter::new(&shared.layout.staging());
        IndexBuilder {
            shared,
            parent,
            sorter,
        }
    }

    /// Adds a path, in any order. Adding a path twice is fine as long as both say the same content; then a present
    /// entry wins over an absent one, the later mtime over the earlier, and set flags over unset ones. What
    /// contradicts is reported by [`IndexBuilder::finish`].
    pub fn push(&mut self, path: &RepoPath, entry: &Entry) -> Result<()> {
        index::check_limits(path.as_str(), entry)?;
        self.sorter.push(&PathEntry {
            path: path.as_str().to_owned(),
            entry: *entry,
        })
    }

    /// Checks that no two entries exclude each other and that every blob that the parent does not vouch for is in the
    /// store, then makes the snapshot durable. `changes`, `entries` and `bytes` of `meta` are filled in.
    pub fn finish(self, mut meta: SnapshotMeta) -> Result<Prepared> {
        let IndexBuilder {
            shared,
            parent,
            sorter,
        } = self;
        let _no_collection = shared.committing();
        let sorted = sorter.finish()?;
        let (changes, draft) = beside(
            || check_blobs(&shared, parent.as_deref(), &sorted),
            || Draft::of(&shared, &sorted, &mut meta),
        )?;
        drop(sorted);
        if let Some(parent) = &parent {
            // What it vouched for, or what was carried forward from it, may not be all of it.
            parent.expect_whole()?;
        }
        (meta.entries, meta.bytes) = (draft.records, draft.bytes);
        meta.changes = parent.is_some().then_some(changes);
        let id = draft.id(&meta);
        let existed = is_prepared(&shared, &id)?;
        if !existed {
            write_index(&shared, draft.close()?, id, &meta)?;
        }
        Ok(Prepared {
            id,
            existed,
            entries: meta.entries,
            bytes: meta.bytes,
        })
    }
}

/// Does both at once, since one waits for the disk and the other computes. The error of `check` comes first.
fn beside<C: Send, T>(
    check: impl FnOnce() -> Result<C> + Send,
    work: impl FnOnce() -> Result<T>,
) -> Result<(C, T)> {
    thread::scope(|scope| {
        let checking = thread::Builder::new().name("blob-check".to_owned());
        let checking = checking.spawn_scoped(scope, check).doing(DOING)?;
        let made = work();
        let checked = checking.join();
        let checked = checked.unwrap_or_else(|panic| resume_unwind(panic))?;
        Ok((checked, made?))
    })
}

/// A damaged index of the same id is not taken; it is written again.
fn is_prepared(shared: &Shared, id: &SnapshotId) -> Result<bool> {
    match Snapshot::open(&shared.layout.snapshot(id), id) {
        Ok(_) => shared.make_snapshot_durable(id).map(|()| true),
        Err(StoreError::SnapshotNotFound { .. } | StoreError::Corrupt { .. }) => Ok(false),
        Err(other) => Err(other),
    }
}

fn write_index(
    shared: &Shared,
    parts: DraftParts,
    id: SnapshotId,
    meta: &SnapshotMeta,
) -> Result<()> {
    let path = shared.unfinished_index();
    let file = shared.fs.open(&path, true).doing(DOING)?;
    let written = parts
        .write_to(&file, id, meta)
        .and_then(|()| shared.fs.sync_file(&file).doing(DOING));
    if let Err(e) = written {
        // Best effort: on a full disk the space is wanted back at once; the next writer removes it otherwise.
        let _ = shared.fs.remove_file(&path);
        return Err(e);
    }
    shared
        .fs
        .rename(&path, &shared.layout.snapshot(&id))
        .doing(DOING)?;
    shared.fs.sync_dir(&shared.layout.snapshots()).doing(DOING)
}

/// An index whose parts are still in separate unnamed files, since their lengths come first in the result.
struct Draft {
    id: sha2::Sha256,
    records_file: BufWriter<File>,
    sha512_file: BufWriter<File>,
    fst: fst::MapBuilder<BufWriter<File>>,
    records: u64,
    sha512s: u32,
    bytes: u64,
}

struct DraftParts {
    records_file: File,
    sha512_file: File,
    fst_file: File,
    records: u64,
    sha512s: u64,
}

impl Draft {
    fn new(dir: &Path, meta: &SnapshotMeta) -> Result<Draft> {
        let part = || tempfile::tempfile_in(dir).doing(DOING).map(BufWriter::new);
        Ok(Draft {
            id: id_of_revision(meta),
            records_file: part()?,
            sha512_file: part()?,
            fst: fst::MapBuilder::new(part()?).map_err(fst_error)?,
            records: 0,
            sha512s: 0,
            bytes: 0,
        })
    }

    /// Of all entries. Takes out of `meta` the links in whose place there is content.
    fn of(shared: &Shared, sorted: &Sorted<PathEntry>, meta: &mut SnapshotMeta) -> Result<Draft> {
        let mut draft = Draft::new(&shared.layout.staging(), meta)?;
        for item in Distinct::new(sorted) {
            let item = item?;
            draft.push(&item)?;
            links::yield_to(&mut meta.links, &item.path);
        }
        Ok(draft)
    }

    fn push(&mut self, item: &PathEntry) -> Result<()> {
        add_to_id(&mut self.id, &item.path, &item.entry);
        let sha512 = item.entry.sha512.map(|digest| (self.sha512s, digest));
        if let Some((_, digest)) = sha512 {
            self.sha512_file.write_all(&digest).doing(DOING)?;
            self.sha512s += 1;
        }
        let record = index::encode_record(&item.entry, sha512.map(|(number, _)| number));
        self.records_file.write_all(&record).doing(DOING)?;
        self.fst
            .insert(item.path.as_bytes(), self.records)
            .map_err(fst_error)?;
        self.records += 1;
        if item.entry.state == EntryState::Present {
            self.bytes = self.bytes.saturating_add(item.entry.size);
        }
        Ok(())
    }

    fn id(&self, meta: &SnapshotMeta) -> SnapshotId {
        finish_id(self.id.clone(), self.records, meta)
    }

    fn close(self) -> Result<DraftParts> {
        let fst = self.fst.into_inner().map_err(fst_error)?;
        let close =
            |part: BufWriter<File>| part.into_inner().map_err(|e| e.into_error()).doing(DOING);
        Ok(DraftParts {
            records_file: close(self.records_file)?,
            sha512_file: close(self.sha512_file)?,
            fst_file: close(fst)?,
            records: self.records,
            sha512s: u64::from(self.sha512s),
        })
    }
}

impl DraftParts {
    fn write_to(self, file: &File, id: SnapshotId, meta: &SnapshotMeta) -> Result<()> {
        let meta = serde_json::to_vec(meta)
            .map_err(std::io::Error::from)
            .doing(DOING)?;
        let fst_len = self.fst_file.metadata().doing(DOING)?.len();
        let header = Header {
            id,
            meta_len: meta.len() as u64,
            records: self.records,
            sha512s: self.sha512s,
            fst_len,
        };
        let mut out = HashingWriter::new(file);
        out.write(&header.encode())?;
        out.write(&meta)?;
        for part in [self.records_file, self.sha512_file, self.fst_file] {
            out.copy(part)?;
        }
        out.finish()
    }
}

pub(crate) fn set_read_only(file: &File) -> Result<()> {
    rustix::fs::fchmod(file, rustix::fs::Mode::from_raw_mode(0o444))
        .doing("making a file read-only")
}

/// Writes a file that ends with the digest of what it holds.
pub(crate) struct HashingWriter<'a> {
    file: &'a File,
    out: BufWriter<&'a File>,
    hasher: sha2::Sha256,
}

impl<'a> HashingWriter<'a> {
    pub fn new(file: &'a File) -> HashingWriter<'a> {
        HashingWriter {
            file,
            out: BufWriter::with_capacity(128 << 10, file),
            hasher: sha2::Sha256::new(),
        }
    }

    /// The digest; nothing is to be written after it.
    pub fn finish(mut self) -> Result<()> {
        let digest = self.hasher.clone().finalize();
        self.out.write_all(&digest).doing(DOING)?;
        self.out.flush().doing(DOING)?;
        set_read_only(self.file)
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes).doing(DOING)
    }

    pub fn copy(&mut self, mut part: File) -> Result<()> {
        part.rewind().doing(DOING)?;
        let mut part = BufReader::with_capacity(128 << 10, part);
        let mut block = vec![0; 64 << 10];
        loop {
            match part.read(&mut block).doing(DOING)? {
                0 => return Ok(()),
                count => self.write(&block[..count])?,
            }
        }
    }
}

pub(crate) fn fst_error(error: fst::Error) -> StoreError {
    match error {
        fst::Error::Io(e) => StoreError::io(DOING, e),
        fst::Error::Fst(e) => StoreError::corrupt("a temporary sort file", e.to_string()),
    }
}

/// The part of the id that does not depend on entries.
pub(crate) fn id_of_revision(meta: &SnapshotMeta) -> sha2::Sha256 {
    let mut id = sha2::Sha256::new();
    id.update(b"mirrorfleet snapshot ");
    id.update(index::VERSION.to_le_bytes());
    id.update(meta.inputs.0);
    id.update((meta.revision.len() as u64).to_le_bytes());
    for unit in &meta.revision {
        id.update((unit.unit.len() as u64).to_le_bytes());
        id.update(unit.unit.as_bytes());
        id.update(unit.digest.0);
        id.update(unit.date.to_le_bytes());
    }
    id
}

pub(crate) fn add_to_id(id: &mut sha2::Sha256, path: &str, entry: &Entry) {
    id.update((path.len() as u64).to_le_bytes());
    id.update(path.as_bytes());
    id.update([index::state_code(entry.state)]);
    id.update(entry.digest.0);
    id.update(entry.size.to_le_bytes());
}

pub(crate) fn finish_id(mut id: sha2::Sha256, entries: u64, meta: &SnapshotMeta) -> SnapshotId {
    id.update(entries.to_le_bytes());
    links::add_to_id(&mut id, &meta.links);
    SnapshotId(Sha256(id.finalize().into()))
}

impl Shared {
    /// A name for an index whose id is not known yet.
    fn unfinished_index(&self) -> PathBuf {
        let number = self.next_number();
        self.layout
            .snapshots()
            .join(format!("index-{number}{}", crate::layout::UNFINISHED))
    }
}
