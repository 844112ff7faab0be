//! Where the content is that a run already has. A dry run writes to a store of its own and reads from two.

use std::fs::File;
use std::path::PathBuf;

use fleet_store::{Staging, Store, StoreError, Writer};
use fleet_types::{Expected, Reason, Sha256};

use super::repair::Damage;
use super::want::Want;
use crate::Problem;

/// The store that a run writes to, and for a dry run the real one beside it.
pub(super) struct Shelves {
    pub writer: Writer,
    /// Only read.
    real: Option<Store>,
    /// Blobs that are there and count as missing.
    pub damage: Damage,
    /// A dry run's store is in here and goes with it.
    _temporary: Option<tempfile::TempDir>,
}

impl Shelves {
    pub fn of(writer: Writer) -> Result<Shelves, Problem> {
        Ok(Shelves {
            damage: Damage::of(&writer)?,
            writer,
            real: None,
            _temporary: None,
        })
    }

    pub fn dry(
        writer: Writer,
        real: Option<Store>,
        temporary: tempfile::TempDir,
    ) -> Result<Shelves, Problem> {
        let damage = real.as_ref().map(Damage::of).transpose()?;
        Ok(Shelves {
            writer,
            damage: damage.unwrap_or_default(),
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
        // A dry run's own store is new, so what is in it is whole.
        let whole = |store: &Store| store.has_blob(digest, size) && !self.damage.contains(digest);
        match &self.real {
            Some(real) => self.writer.has_blob(digest, size) || whole(real),
            None => whole(&self.writer),
        }
    }

    pub fn open(&self, digest: &Sha256) -> Result<File, Problem> {
        if let Some(file) = self.writer.open_blob(digest)? {
            return Ok(file);
        }
        let real = self
            .real
            .as_ref()
            .map(|real| real.open_blob(digest))
            .transpose()?
            .flatten();
        real.ok_or_else(|| {
            Problem::new(Reason::StoreCorrupt, format!("blob {digest} is missing from the store; run `mirrorfleet verify`, then sync again"))
        })
    }

    /// A small file as a whole.
    pub fn read(&self, digest: &Sha256, limit: u64) -> Result<Vec<u8>, Problem> {
        use std::io::Read;
        let mut content = Vec::new();
        let failed = |e: std::io::Error| {
            Problem::new(
                Reason::StorageFailed,
                format!("reading blob {digest} failed: {e}"),
            )
        };
        self.open(digest)?
            .take(limit)
            .read_to_end(&mut content)
            .map_err(failed)?;
        Ok(content)
    }

    /// Makes content that is in memory a blob.
    pub fn keep(&self, contents: &[&[u8]]) -> Result<(), Problem> {
        let staged = contents
            .iter()
            .map(|content| self.staging().put_bytes(content))
            .collect::<Result<Vec<_>, StoreError>>()?;
        Ok(self.staging().commit_batch(staged)?)
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
