//! What the parts of one writer share: the layout, the file system behind its seam, and who is doing what.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use fleet_types::{Sha256, lock, lock_read, lock_write};
use rustix::fs::FlockOperation;
use serde::Serialize;

use crate::error::{Doing, Result, StoreError};
use crate::fs::FileSystem;
use crate::inserter::Held;
use crate::layout::{Layout, unfinished};
use crate::shards::Shards;
use crate::{SnapshotId, document};

pub(crate) struct Shared {
    pub layout: Layout,
    pub fs: Box<dyn FileSystem>,
    pub shards: Shards,
    number: AtomicU64,
    reserved: Mutex<HashSet<OsString>>,
    /// Where content is that is whole and no blob yet.
    pub complete: Mutex<HashMap<Sha256, PathBuf>>,
    committed: Mutex<()>,
    collection: RwLock<()>,
    decisions: Mutex<()>,
    /// What was set aside, in words.
    set_aside: Mutex<Vec<String>>,
    /// Whoever fills the store on demand has to wait for as long as this writer is there.
    pub inserter_is_out: OnceLock<Held>,
    /// Holds the writer's lock.
    lock: File,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Closing it is not enough: a program that is being started at this moment (rsync, say) shares all that is open
        // until it runs. Fails only where there are no locks.
        let _ = rustix::fs::flock(&self.lock, FlockOperation::Unlock);
    }
}

impl Shared {
    /// `freed` is what had to be set aside before the store could be locked, in words.
    pub fn new(
        layout: Layout,
        fs: Box<dyn FileSystem>,
        lock: File,
        freed: Option<String>,
    ) -> Shared {
        Shared {
            layout,
            fs,
            shards: Shards::none(),
            number: AtomicU64::new(0),
            reserved: Mutex::default(),
            complete: Mutex::default(),
            committed: Mutex::default(),
            collection: RwLock::default(),
            decisions: Mutex::default(),
            set_aside: Mutex::new(freed.into_iter().collect()),
            inserter_is_out: OnceLock::new(),
            lock,
        }
    }

    /// A number that this writer has not used yet.
    pub fn next_number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    /// The file for this download, and whether a later run would look for it there: when another download of the same
    /// content has the name, this one gets a private file.
    pub fn reserve(&self, path: PathBuf) -> (PathBuf, bool) {
        let mut reserved = lock(&self.reserved);
        if reserved.insert(path.clone().into_os_string()) {
            return (path, true);
        }
        let mut private = path.into_os_string();
        private.push(format!(".{}", self.next_number()));
        reserved.insert(private.clone());
        (PathBuf::from(private), false)
    }

    pub fn release(&self, path: &Path) {
        lock(&self.reserved).remove(path.as_os_str());
    }

    pub fn reserved(&self) -> HashSet<OsString> {
        lock(&self.reserved).clone()
    }

    /// Looks which folders of blobs there are now.
    pub fn find_shards(&self) -> std::io::Result<()> {
        for folder in std::fs::read_dir(self.layout.blobs())? {
            self.shards.found(&folder?.file_name());
        }
        Ok(())
    }

    /// As [`Layout::has_blob`], for who is the writer.
    pub fn has_blob(&self, digest: &Sha256, size: u64) -> bool {
        self.shards.may_hold(digest) && self.layout.has_blob(digest, size)
    }

    /// While this is held no blob is collected.
    pub fn committing(&self) -> RwLockReadGuard<'_, ()> {
        lock_read(&self.collection)
    }

    /// While this is held no blob is committed.
    pub fn collecting(&self) -> RwLockWriteGuard<'_, ()> {
        lock_write(&self.collection)
    }

    /// While this is held nobody else decides what is served or kept.
    pub fn deciding(&self) -> MutexGuard<'_, ()> {
        lock(&self.decisions)
    }

    /// Appends to `state/committed`; durable with the next `sync_all`.
    pub fn note_committed(&self, digests: &[Sha256]) -> Result<()> {
        const DOING: &str = "noting a batch of downloads";
        let _guard = lock(&self.committed);
        let mut file = self.fs.open(&self.layout.committed(), false).doing(DOING)?;
        let len = file.metadata().doing(DOING)?.len();
        // A crash can leave part of a digest at the end.
        file.seek(SeekFrom::Start(len - len % 32)).doing(DOING)?;
        let bytes: Vec<u8> = digests.iter().flat_map(|digest| digest.0).collect();
        file.write_all(&bytes).doing(DOING)
    }

    /// An earlier process may have been killed between making a snapshot and syncing it.
    pub fn make_snapshot_durable(&self, id: &SnapshotId) -> Result<()> {
        const DOING: &str = "making a snapshot durable";
        let file = match File::open(self.layout.snapshot(id)) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreError::missing(id));
            }
            other => other.doing(DOING)?,
        };
        self.fs.sync_file(&file).doing(DOING)?;
        self.fs.sync_dir(&self.layout.snapshots()).doing(DOING)
    }

    /// Moves what cannot be read out of the way. Everything else in the store then goes on as if it had never been
    /// written; `problem` is what people are told.
    pub fn set_aside(&self, path: &Path, problem: &str) -> Result<()> {
        const DOING: &str = "setting aside a damaged file";
        let shown = self.layout.shown(path);
        let at = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        // A name has at most 255 bytes, and this one says the rest in its own words.
        let before = shown.chars().take(50).collect::<String>();
        let name = format!(
            "{}.{}.{}",
            before.replace('/', "-"),
            at.as_millis(),
            self.next_number()
        );
        self.fs.create_dir(&self.layout.set_aside()).doing(DOING)?;
        match self.fs.rename(path, &self.layout.set_aside().join(name)) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.doing(DOING)?,
        }
        tracing::warn!(problem, "{shown} cannot be read and was set aside");
        lock(&self.set_aside).push(format!("{shown} ({problem})"));
        Ok(())
    }

    /// What was set aside so far, in words.
    pub fn what_was_set_aside(&self) -> Vec<String> {
        lock(&self.set_aside).clone()
    }

    /// Replaces a small file in one durable step.
    pub fn replace(&self, path: &Path, content: &[u8], doing: &'static str) -> Result<()> {
        let new = unfinished(path);
        let mut file = self.fs.open(&new, true).doing(doing)?;
        file.write_all(content).doing(doing)?;
        self.fs.sync_file(&file).doing(doing)?;
        self.fs.rename(&new, path).doing(doing)?;
        self.fs
            .sync_dir(path.parent().unwrap_or(self.layout.root()))
            .doing(doing)
    }

    pub fn write_document<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        self.write_sealed(&self.layout.state_document(name), value)
    }

    /// Replaces a document, and then its copy where it has one.
    pub fn write_sealed<T: Serialize>(&self, path: &Path, value: &T) -> Result<()> {
        const DOING: &str = "writing a document of the store";
        let text = document::seal(value).doing(DOING)?;
        self.replace(path, &text, DOING)?;
        match document::copy_of(&self.layout, path) {
            Some(copy) => self.replace(&copy, &text, DOING),
            None => Ok(()),
        }
    }
}
