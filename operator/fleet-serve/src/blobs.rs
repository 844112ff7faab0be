//! Blobs that are kept open, so that a request for one that was asked for lately does not go through the file system.
//!
//! A blob is named by its digest and never changes, so an open one stays right, whatever is published. But a disk may
//! rot, and a repaired blob is another file under the same name: therefore the name is looked at once in [`SURE_FOR`], and
//! none stays open for longer than [`OPEN_FOR`], or than the snapshots that were kept with it, since an open file keeps
//! the bytes of a collected blob on the disk.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use fleet_types::{Sha256, lock};
use http::HeaderValue;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use crate::conditional::{Validators, http_date};

/// How long a blob is kept open.
const OPEN_FOR: Duration = Duration::from_secs(10);
/// How long a name is believed to be still that of the open file: not each of many requests needs to ask.
const SURE_FOR: Duration = Duration::from_secs(1);
/// Requests of different cores seldom wait for one another.
const SHARDS: usize = 16;

/// The bytes of a file, opened.
#[derive(Debug)]
pub struct Blob {
    pub file: File,
    /// Bytes that the file had when it was opened.
    pub size: u64,
    inode: u64,
    etag: HeaderValue,
    /// Of the first path that it was asked for under; others of the same content may have another.
    modified: OnceLock<(i64, Option<HeaderValue>)>,
}

impl Blob {
    pub fn new(digest: &Sha256, file: File) -> io::Result<Blob> {
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let (size, inode) = (about.len(), about.ino());
        let etag = HeaderValue::try_from(format!("\"{digest}\"")).map_err(io::Error::other)?;
        Ok(Blob {
            file,
            size,
            inode,
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

    /// Whether the name still is that of this very file, with as many bytes.
    fn is_at(&self, path: &Path) -> bool {
        std::fs::symlink_metadata(path)
            .is_ok_and(|about| (about.ino(), about.len()) == (self.inode, self.size))
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
    looked: Instant,
}

impl OpenBlobs {
    /// Keeps about `limit` files open, beside those that are being sent.
    pub fn new(limit: usize) -> OpenBlobs {
        OpenBlobs {
            shards: std::array::from_fn(|_| Mutex::default()),
            limit: (limit / SHARDS).max(1),
        }
    }

    /// `path` is the name of the blob, which is looked at every now and then.
    pub fn get(&self, digest: &Sha256, path: impl FnOnce() -> PathBuf) -> Option<Arc<Blob>> {
        let mut shard = self.shard(digest);
        let kept = shard.get_mut(digest)?;
        let now = Instant::now();
        if now.duration_since(kept.looked) < SURE_FOR {
            return Some(kept.blob.clone());
        }
        if now.duration_since(kept.since) < OPEN_FOR && kept.blob.is_at(&path()) {
            kept.looked = now;
            return Some(kept.blob.clone());
        }
        shard.remove(digest);
        None
    }

    /// For a blob that turned out to be damaged.
    pub fn close(&self, digest: &Sha256) {
        self.shard(digest).remove(digest);
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
        shard.insert(
            digest,
            Kept {
                blob,
                since,
                looked: since,
            },
        );
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
            assert!(Arc::ptr_eq(&open.get(&digest, PathBuf::new).unwrap(), blob));
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
