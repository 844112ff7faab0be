//! Building the index of a new snapshot from entries in any order, in bounded memory.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::PathBuf;
use std::sync::Arc;

use fleet_types::{RepoPath, Sha256, both};
use sha2::Digest as _;

use crate::check::{Checked, check};
use crate::distinct::PathEntry;
use crate::draft::{Draft, DraftParts, Drafting};
use crate::error::{Doing, Result, StoreError};
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::sort::RunSorter;
use crate::{Entry, SnapshotId, SnapshotMeta, index, links};

/// Collects the entries of a new snapshot and prepares it.
pub struct IndexBuilder {
    shared: Arc<Shared>,
    parent: Option<Arc<Snapshot>>,
    sorter: RunSorter<PathEntry>,
    /// Of what was pushed so far, for as long as that came in the order of paths.
    drafting: Option<Drafting>,
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

pub(crate) const DOING: &str = "writing a snapshot's index";

impl IndexBuilder {
    pub(crate) fn new(shared: Arc<Shared>, parent: Option<Arc<Snapshot>>) -> IndexBuilder {
        let folder = shared.layout.staging();
        IndexBuilder {
            sorter: RunSorter::new(&folder),
            // Without a parent, what takes the time is to fetch all, and the memory that this takes is needed then.
            drafting: parent.as_ref().and_then(|_| Drafting::start(&folder)),
            shared,
            parent,
        }
    }

    /// Adds a path, in any order. Adding a path twice is fine as long as both say the same content; then a present
    /// entry wins over an absent one, the later mtime over the earlier, and set flags over unset ones. What
    /// contradicts is reported by [`IndexBuilder::finish`].
    pub fn push(&mut self, path: &RepoPath, entry: &Entry) -> Result<()> {
        index::check_limits(path.as_str(), entry)?;
        let item = PathEntry {
            path: path.as_str().to_owned(),
            entry: *entry,
        };
        self.sorter.push(&item)?;
        if let Some(drafting) = &mut self.drafting
            && !drafting.push(item)
        {
            self.drafting = None;
        }
        Ok(())
    }

    /// Checks that no two entries exclude each other and that every blob that the parent does not vouch for is in the
    /// store, then makes the snapshot durable. `changes`, `entries` and `bytes` of `meta` are filled in.
    pub fn finish(self, mut meta: SnapshotMeta) -> Result<Prepared> {
        let IndexBuilder {
            shared,
            parent,
            sorter,
            drafting,
        } = self;
        let _no_collection = shared.committing();
        let sorted = sorter.finish()?;
        // The one waits for the disk, and the other computes.
        let (checked, draft) = both(
            "blob-check",
            || check(&shared, parent.as_deref(), &sorted, &meta),
            || match drafting {
                Some(drafting) => drafting.finish(),
                None => Draft::of(&shared.layout.staging(), &sorted),
            },
        );
        let (checked, draft) = (checked?, draft?);
        drop(sorted);
        if let Some(parent) = &parent {
            // What it vouched for, or what was carried forward from it, may not be all of it.
            parent.expect_whole()?;
        }
        let Checked {
            changes,
            links,
            entries,
            bytes,
            id,
        } = checked;
        (meta.links, meta.entries, meta.bytes) = (links, entries, bytes);
        meta.changes = parent.is_some().then_some(changes);
        let id = finish_id(id, entries, &meta);
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
