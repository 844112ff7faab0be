//! Adding blobs to a store beside its writer: for who fetches what is asked for.
//!
//! # Locks
//!
//! One process at a time fills a store (an exclusive flock(2) on `inserter`). Each insertion and each eviction holds a shared
//! lock on `insertions`; who collects, and a run that relies on blobs which it did not make itself, holds it alone. The
//! file is there once somebody has filled the store: others never wait for it.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use fleet_types::{Expected, Sha256};
use rustix::fs::{AtFlags, CWD, FlockOperation, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;

use crate::error::{Doing, Result, StoreError};
use crate::fs::Disk;
use crate::layout::Layout;
use crate::shared::Shared;
use crate::{Staged, StagedFile, Staging, Store, Writer};

/// What an earlier process left of a download is taken up so long.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// How long an insertion waits for who collects.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);
const DOING: &str = "filling the store";

/// Adds blobs that snapshots list as not yet fetched, and removes them again.
pub struct Inserter {
    pub(crate) store: Store,
    pub(crate) shared: Arc<Shared>,
    staging: Staging,
}

/// A lock, or a share of one, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // Closing it is not enough: see the writer's own lock. Fails only where there are no locks.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

impl Inserter {
    /// [`StoreError::Busy`] where another process fills the store.
    pub fn open(store: &Store) -> Result<Inserter> {
        let dir = store.dir();
        let layout = Layout::of_inserter(dir);
        let disk = Disk::new(dir).doing(DOING)?;
        let lock = lock_file(&layout.inserter_lock()).doing(DOING)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                return Err(StoreError::Busy {
                    dir: dir.to_owned(),
                });
            }
            other => other.doing(DOING)?,
        }
        lock_file(&layout.insertions_lock()).doing(DOING)?;
        let shared = Arc::new(Shared::new(layout, Box::new(disk), lock, None));
        shared
            .fs
            .create_dir(&shared.layout.staging())
            .doing(DOING)?;
        let inserter = Inserter {
            store: store.clone(),
            staging: Staging::new(Arc::clone(&shared)),
            shared,
        };
        inserter.clean_up()?;
        Ok(inserter)
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// As [`Staging::begin`].
    pub fn begin(&self, expected: &Expected) -> Result<StagedFile> {
        self.staging.begin(expected)
    }

    /// As [`Staging::put`].
    pub fn put(&self, expected: &Expected, content: &[u8]) -> Result<Staged> {
        self.staging.put(expected, content)
    }

    /// Makes content a blob, in the place of one that is there. Waits while somebody collects; [`StoreError::Busy`] where
    /// that takes too long.
    pub fn insert(&self, staged: &Staged) -> Result<()> {
        let _shared = self.share()?;
        self.staging.move_to_blobs(staged)
    }

    /// Removes a blob that is not what its name says.
    pub fn remove(&self, digest: &Sha256) -> Result<()> {
        let _shared = self.share()?;
        match self.shared.fs.remove_file(&self.shared.layout.blob(digest)) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.doing(DOING),
        }
    }

    /// Notes that blobs were used just now, by their files' time of access. Those that are gone are passed over.
    pub fn used(&self, digests: &[Sha256]) {
        let times = Timestamps {
            last_access: now_or_never(UTIME_NOW),
            last_modification: now_or_never(UTIME_OMIT),
        };
        for digest in digests {
            let blob = self.shared.layout.blob(digest);
            // Of one that is gone, or not ours, nothing is to be noted.
            let _ = rustix::fs::utimensat(CWD, &blob, &times, AtFlags::SYMLINK_NOFOLLOW);
        }
    }

    /// A share of the lock, once nobody collects.
    pub(crate) fn share(&self) -> Result<Held> {
        let lock = lock_file(&self.shared.layout.insertions_lock()).doing(DOING)?;
        let begun = Instant::now();
        loop {
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared) {
                Err(Errno::WOULDBLOCK) if begun.elapsed() < PATIENCE => std::thread::sleep(LOOK),
                Err(Errno::WOULDBLOCK) => {
                    return Err(StoreError::Busy {
                        dir: self.store.dir().to_owned(),
                    });
                }
                other => return other.doing(DOING).map(|()| Held(lock)),
            }
        }
    }

    /// Downloads that nobody came back for.
    fn clean_up(&self) -> Result<()> {
        for file in std::fs::read_dir(self.shared.layout.staging()).doing(DOING)? {
            let file = file.doing(DOING)?;
            let modified = file.metadata().and_then(|about| about.modified());
            let age = modified.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
            if age.is_ok_and(|age| age > MAX_AGE) {
                self.shared.fs.remove_file(&file.path()).doing(DOING)?;
            }
        }
        Ok(())
    }
}

impl Writer {
    /// Keeps who fills the store from adding and evicting blobs for as long as this writer is there: for a run that may
    /// rely on blobs which were fetched on demand.
    pub fn keep_inserter_out(&self) -> Result<()> {
        if let Some(held) = self.exclude_inserter()? {
            // It may have made folders since this writer looked.
            self.shared.find_shards().doing(DOING)?;
            // Nobody else can have set it: that would have the lock.
            let _ = self.shared.inserter_is_out.set(held);
        }
        Ok(())
    }

    /// The same for a moment; waits for who is at it. None where there is nobody to exclude.
    pub(crate) fn exclude_inserter(&self) -> Result<Option<Held>> {
        const DOING: &str = "waiting for who fills the store";
        if self.shared.inserter_is_out.get().is_some() {
            return Ok(None);
        }
        let lock = match File::open(self.shared.layout.insertions_lock()) {
            // Nobody ever filled it.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.doing(DOING)?,
        };
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).doing(DOING)?;
        Ok(Some(Held(lock)))
    }
}

fn now_or_never(nanoseconds: i64) -> Timespec {
    Timespec {
        tv_sec: 0,
        tv_nsec: nanoseconds,
    }
}

fn lock_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path)
}
