//! Where the content is that a run already has. A dry run writes to a store of its own and reads from two.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use fleet_formats::seam::{RootContent, RootFile};
use fleet_store::{Retained, Snapshot, SnapshotId, Staged, Staging, Store, Writer};
use fleet_types::{Expected, Reason, Sha256, lock};
use serde::de::DeserializeOwned;
use sha2::Digest as _;

use super::damage::Damage;
use super::root::{OnDisk, Root};
use super::want::Want;
use crate::Problem;

/// A larger root stays on the disk.
const MAX_IN_MEMORY_BYTES: u64 = 1 << 20;

/// The store that a run writes to, and for a dry run the real one beside it.
pub(super) struct Shelves {
    pub writer: Writer,
    /// Only read.
    real: Option<Store>,
    /// Blobs that are there and count as missing.
    pub damage: Damage,
    /// Content that came in this run, or was hashed in it.
    whole: Mutex<HashSet<Sha256>>,
    /// Roots that became blobs in this run.
    kept: Mutex<HashSet<Sha256>>,
    /// A dry run's store is in here and goes with it.
    _temporary: Option<tempfile::TempDir>,
}

impl Shelves {
    /// `told` are blobs that others found damaged.
    pub fn of(writer: Writer, told: &[Sha256]) -> Result<Shelves, Problem> {
        Ok(Shelves {
            damage: Damage::take(&writer, told)?,
            writer,
            whole: Mutex::default(),
            kept: Mutex::default(),
            real: None,
            _temporary: None,
        })
    }

    pub fn dry(
        writer: Writer,
        real: Option<Store>,
        temporary: tempfile::TempDir,
    ) -> Result<Shelves, Problem> {
        let damage = real.as_ref().map(Damage::of);
        Ok(Shelves {
            writer,
            damage: damage.unwrap_or_default(),
            whole: Mutex::default(),
            kept: Mutex::default(),
            real,
            _temporary: Some(temporary),
        })
    }

    /// The store whose snapshots and memory count. None in a dry run before the first sync.
    pub fn known(&self) -> Option<&Store> {
        if self._temporary.is_some() {
            self.real.as_ref()
        } else {
            Some(&self.writer)
        }
    }

    /// A document that a run goes by. One that is damaged counts as never written.
    pub fn remembered<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Problem> {
        match &self._temporary {
            None => Ok(self.writer.take_state(name)?),
            Some(_) => Ok(self
                .real
                .as_ref()
                .and_then(|real| real.state(name).ok())
                .flatten()),
        }
    }

    /// A kept snapshot; none where it is damaged.
    pub fn snapshot(&self, id: &SnapshotId) -> Result<Option<Arc<Snapshot>>, Problem> {
        match (&self._temporary, &self.real) {
            (None, _) => Ok(self.writer.take_snapshot(id)?),
            (Some(_), Some(real)) => Ok(real.snapshot(id).ok()),
            (Some(_), None) => Ok(None),
        }
    }

    /// The names that went; none where their list is damaged.
    pub fn retained(&self) -> Result<Option<Arc<Retained>>, Problem> {
        match self.known() {
            None => Ok(None),
            Some(_) if self._temporary.is_none() => Ok(self.writer.take_retained()?),
            Some(real) => Ok(real.retained().ok().flatten()),
        }
    }

    /// Brings the store's list of damage in line with what is known.
    pub fn settle_damage(&self) -> Result<(), Problem> {
        self.damage.settle(&self.writer)
    }

    /// Where the content will be needed.
    pub fn target(&self) -> &Store {
        self.real.as_ref().unwrap_or(&self.writer)
    }

    pub fn staging(&self) -> &Staging {
        self.writer.staging()
    }

    pub fn spill_dir(&self) -> PathBuf {
        self.writer.spill_dir()
    }

    pub fn has(&self, digest: &Sha256, size: u64) -> bool {
        let whole = |is_there: bool| is_there && !self.damage.contains(digest);
        let is_there = self.writer.has_blob(digest, size);
        match &self.real {
            // A dry run's own store is new, so what is in it is whole.
            Some(real) => is_there || whole(real.has_blob(digest, size)),
            None => whole(is_there),
        }
    }

    /// Also of what came and is not durable yet, which wins over a blob that may be damaged.
    pub fn open(&self, digest: &Sha256) -> Result<File, Problem> {
        if let Some(file) = self.staging().open_complete(digest) {
            return Ok(file);
        }
        if let Some(file) = self.writer.open_blob(digest)? {
            return Ok(file);
        }
        let real = self
            .real
            .as_ref()
            .map(|real| real.open_blob(digest))
            .transpose()?
            .flatten();
        real.ok_or_else(|| self.found_damaged(digest, "it is missing from the store"))
    }

    /// As [`Shelves::open`], of content that is as it was when it was stored: an index may have been for weeks. It is hashed
    /// once in a run.
    pub fn open_whole(&self, digest: &Sha256) -> Result<File, Problem> {
        let file = self.open(digest)?;
        if lock(&self.whole).contains(digest) {
            return Ok(file);
        }
        match hash(&file) {
            Ok(found) if found == *digest => {
                lock(&self.whole).insert(found);
                Ok(file)
            }
            Ok(_) => Err(self.found_damaged(digest, "its content is another")),
            Err(e) => Err(self.found_damaged(digest, &e.to_string())),
        }
    }

    /// A small file as a whole, and as it was when it was stored.
    pub fn read(&self, digest: &Sha256, limit: u64) -> Result<Vec<u8>, Problem> {
        let mut content = Vec::new();
        self.open(digest)?
            .take(limit)
            .read_to_end(&mut content)
            .map_err(|e| self.found_damaged(digest, &e.to_string()))?;
        match Sha256(sha2::Sha256::digest(&content).into()) == *digest {
            true => Ok(content),
            false => Err(self.found_damaged(digest, "its content is another")),
        }
    }

    /// Notes it, so that the next run fetches it again.
    pub fn found_damaged(&self, digest: &Sha256, problem: &str) -> Problem {
        lock(&self.whole).remove(digest);
        lock(&self.kept).remove(digest);
        self.damage.found(*digest);
        Problem::new(
            Reason::StoreCorrupt,
            format!("blob {digest} is damaged: {problem}; the next sync fetches it again"),
        )
    }

    /// Makes content blobs that is staged.
    pub fn keep(&self, staged: Vec<Staged>) -> Result<(), Problem> {
        let digests: Vec<Sha256> = staged.iter().map(Staged::digest).collect();
        self.staging().commit_batch(staged)?;
        digests
            .iter()
            .for_each(|digest| self.damage.arrived(digest));
        self.damage.arrivals_are_durable();
        Ok(())
    }

    /// Makes roots blobs, each once in a run.
    pub fn keep_roots<'a>(&self, roots: impl Iterator<Item = &'a Root>) -> Result<(), Problem> {
        let is_new = |root: &&Root| !lock(&self.kept).contains(&root.content.sha256);
        let staged = roots.filter(is_new).map(|root| self.stage(&root.content));
        let staged: Vec<Staged> = staged.collect::<Result<_, _>>()?;
        let digests: Vec<Sha256> = staged.iter().map(Staged::digest).collect();
        self.keep(staged)?;
        lock(&self.whole).extend(&digests);
        lock(&self.kept).extend(digests);
        Ok(())
    }

    fn stage(&self, content: &RootContent) -> Result<Staged, Problem> {
        if content.size <= MAX_IN_MEMORY_BYTES {
            return Ok(self.staging().put_bytes(&content.bytes()?)?);
        }
        let failed = |e: io::Error| {
            let text = format!("{} cannot be read again: {e}", content.path);
            Problem::new(Reason::StorageFailed, text)
        };
        let mut staged = self.staging().begin(&Expected {
            size: content.size,
            digest: fleet_types::Digest::Sha256(content.sha256),
        })?;
        let mut from = content.open().map_err(failed)?;
        let mut block = vec![0; 128 << 10];
        if staged.written() > 0 {
            staged.restart()?;
        }
        loop {
            match from.read(&mut block).map_err(failed)? {
                0 => return Ok(staged.finish()?),
                count => staged.write(&block[..count])?,
            }
        }
    }

    /// What is stored of a root, as it was when it was stored. A large one stays where it is.
    pub fn root(&self, file: &RootFile, digest: &Sha256) -> Result<RootContent, Problem> {
        let blob = self.open(digest)?;
        let size = blob
            .metadata()
            .map_err(|e| self.found_damaged(digest, &e.to_string()))?
            .len();
        let path = file.path.clone();
        if size.min(file.max_bytes) <= MAX_IN_MEMORY_BYTES {
            return Ok(RootContent::new(path, self.read(digest, file.max_bytes)?));
        }
        let blob = OnDisk(Arc::new(self.open_whole(digest)?));
        Ok(RootContent::elsewhere(path, *digest, size, Arc::new(blob)))
    }

    /// How large wanted content is, where it is there already under the name that its index promises.
    pub fn size_of(&self, want: &Want) -> Option<u64> {
        if want.exact {
            return self.has_expected(&want.expected()?).map(|_| want.size);
        }
        let digest = want.sha256?;
        let about = std::fs::metadata(self.target().blob_path(&digest)).ok()?;
        (!self.damage.contains(&digest)).then_some(about.len())
    }

    /// Whether content that an index promises is there under the name that it promises.
    pub fn has_expected(&self, expected: &Expected) -> Option<Sha256> {
        match expected.digest {
            fleet_types::Digest::Sha256(digest) if self.has(&digest, expected.size) => Some(digest),
            _ => None,
        }
    }
}

/// Of all of it; it is then at its beginning again.
fn hash(mut file: &File) -> std::io::Result<Sha256> {
    use std::io::{Read, Seek};
    let mut hasher = sha2::Sha256::new();
    let mut block = vec![0; 128 << 10];
    loop {
        match file.read(&mut block)? {
            0 => break,
            count => hasher.update(&block[..count]),
        }
    }
    file.rewind()?;
    Ok(Sha256(hasher.finalize().into()))
}
