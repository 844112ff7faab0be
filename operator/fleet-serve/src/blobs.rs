//! Blobs that are kept open, so that a request for one that was asked for lately does not go through the file system.
//!
//! A blob is named by its digest and never changes, so an open one stays right, whatever is published. What could go
//! wrong with it on the disk is noticed when it is opened again, and an open file keeps the bytes of a collected blob
//! on the disk: therefore none stays open for longer than [`OPEN_FOR`], or than the snapshots that were kept with it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use fleet_types::Sha256;
use http::HeaderValue;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use crate::conditional::{Validators, http_date};

/// How long a blob is kept open.
const OPEN_FOR: Duration = Duration::from_secs(30);
/// Requests of different cores seldom wait for one another.
const SHARDS: usize = 16;

/// The bytes of a file, opened.
#[derive(Debug)]
pub struct Blob {
    pub file: File,
    /// Bytes that the file had when it was opened.
    pub size: u64,
    etag: HeaderValue,
    /// Of the first path that it was asked for under; others of the same content may have another.
    modified: OnceLock<(i64, Option<HeaderValue>)>,
}

impl Blob {
    pub fn new(digest: &Sha256, file: File) -> io::Result<Blob> {
        let size = file.metadata()?.len();
        let etag = HeaderValue::try_from(format!("\"{digest}\"")).map_err(io::Error::other)?;
        Ok(Blob {
            file,
            size,
            etag,
            modified: OnceLock::new(),
        })
    }

    /// Opens a file whose place on the disk the kernel has in memory; none where it would have to look.
    pub fn open_at_hand(digest: &Sha256, path: &Path) -> Option<Blob> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let opened = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED);
        Blob::new(digest, File::from(opened.ok()?)).ok()
    }

    /// What identifies these bytes under a path with this mtime (Unix seconds).
    pub fn validators(&self, modified: i64) -> Validators {
        let date = || (modified, http_date(modified));
        let (first, date_of_first) = self.modified.get_or_init(date);
        Validators {
            etag: self.etag.clone(),
            modified,
            last_modified: match *first == modified {
                true => date_of_first.clone(),
                false => http_date(modified),
            },
            size: self.size,
        }
    }
}

/// The open blobs of all mirrors.
pub struct OpenBlobs {
    shards: [Mutex<HashMap<Sha256, Kept>>; SHARDS],
    /// Blobs in each shard.
    limit: usize,
}

struct Kept {
    blob: Arc<Blob>,
    since: Instant,
}

impl OpenBlobs {
    /// Keeps about `limit` files open, beside those that are being sent.
    pub fn new(limit: usize) -> OpenBlobs {
        OpenBlobs {
            shards: std::array::from_fn(|_| Mutex::default()),
            limit: (limit / SHARDS).max(1),
        }
    }

    pub fn get(&self, digest: &Sha256) -> Option<Arc<Blob>> {
        self.shard(digest).get(digest).map(|kept| kept.blob.clone())
    }

    /// Keeps a blob that is whole.
    pub fn keep(&self, digest: Sha256, blob: Arc<Blob>) {
        let since = Instant::now();
        let mut shard = self.shard(&digest);
        if shard.len() >= self.limit {
            // Any will do: the ones that are asked for often come back at once.
            let arbitrary = shard.keys().next().copied();
            arbitrary.and_then(|digest| shard.remove(&digest));
        }
        shard.insert(digest, Kept { blob, since });
    }

    /// Closes those that have been open for long. To be called every now and then.
    pub fn close_old(&self) {
        self.retain(|kept| kept.since.elapsed() < OPEN_FOR);
    }

    /// For when blobs may have been removed from the disk.
    pub fn close_all(&self) {
        self.retain(|_| false);
    }

    fn retain(&self, stays: impl Fn(&Kept) -> bool) {
        for shard in &self.shards {
            lock(shard).retain(|_, kept| stays(kept));
        }
    }

    fn shard(&self, digest: &Sha256) -> MutexGuard<'_, HashMap<Sha256, Kept>> {
        let number = usize::from(digest.0[0]) % SHARDS;
        lock(self.shards.get(number).unwrap_or(&self.shards[0]))
    }
}

fn lock(shard: &Mutex<HashMap<Sha256, Kept>>) -> MutexGuard<'_, HashMap<Sha256, Kept>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob() -> Arc<Blob> {
        let file = tempfile::tempfile().unwrap();
        Arc::new(Blob::new(&Sha256([7; 32]), file).unwrap())
    }

    #[test]
    fn paths_of_one_content_keep_their_own_dates() {
        let blob = blob();
        for modified in [784_111_777, 784_111_778, -1, 784_111_777] {
            let validators = blob.validators(modified);
            assert_eq!(validators.modified, modified);
            assert_eq!(validators.last_modified, http_date(modified));
        }
    }

    #[test]
    fn no_more_than_the_limit_stay_open() {
        let open = OpenBlobs::new(2 * SHARDS);
        let kept: Vec<Arc<Blob>> = (0..100).map(|_| blob()).collect();
        for (n, blob) in (0..).zip(&kept) {
            let digest = Sha256([n; 32]);
            open.keep(digest, blob.clone());
            assert!(Arc::ptr_eq(&open.get(&digest).unwrap(), blob));
        }
        let still_open = || {
            kept.iter()
                .filter(|blob| Arc::strong_count(blob) > 1)
                .count()
        };
        assert_eq!(still_open(), 2 * SHARDS);
        open.close_old();
        assert_eq!(still_open(), 2 * SHARDS, "none is old");
        open.close_all();
        assert_eq!(still_open(), 0);
    }
}
