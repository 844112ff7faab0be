//! Blobs that are kept open, by the path that they were asked for under: a request for one that was asked for lately goes
//! neither through the index nor through the file system.
//!
//! A blob never changes, and a name whose content never changes stands for the same one for as long as its snapshot is
//! served. But a disk may rot, and a repaired blob is another file under the same name. A folder tells when a name in it
//! becomes another file's ([`Folders`]): then the blob is looked at, and once in [`LOOK_AFTER`] however still the folder
//! is. One that nobody asks for is closed after [`OPEN_FOR`], and all are with the snapshots that were kept with them, since
//! an open file keeps the bytes of a collected blob on the disk.

mod fetched;
mod seen;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use fleet_store::{Entry, EntryState, SnapshotId, Store};
use fleet_types::{Sha256, lock};
use http::HeaderValue;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, openat2};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::seen::Seen;
use crate::conditional::{Validators, http_date};
use crate::folders::{Folders, Version};

/// How long a blob that nobody asks for is kept open.
const OPEN_FOR: Duration = Duration::from_secs(10);
/// How long a name is believed to be still that of the open file while its folder says so too.
const LOOK_AFTER: Duration = Duration::from_secs(60);
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
    /// Whether reading it failed.
    doubtful: AtomicBool,
}

impl Blob {
    pub fn new(digest: &Sha256, file: File) -> io::Result<Blob> {
        let about = rustix::fs::fstat(&file)?;
        if !FileType::from_raw_mode(about.st_mode).is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let size = u64::try_from(about.st_size).map_err(io::Error::other)?;
        let etag = HeaderValue::try_from(format!("\"{digest}\"")).map_err(io::Error::other)?;
        Ok(Blob {
            file,
            size,
            inode: about.st_ino,
            etag,
            modified: OnceLock::new(),
            doubtful: AtomicBool::new(false),
        })
    }

    /// Opens a file whose place on the disk the kernel has in memory; none where it would have to look.
    pub fn open_at_hand(digest: &Sha256, path: &Path) -> Option<Blob> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let opened = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED);
        Blob::new(digest, File::from(opened.ok()?)).ok()
    }

    /// Reading it failed: whoever asks for it next has a look at the file first.
    pub fn doubt(&self) {
        self.doubtful.store(true, Ordering::Relaxed);
    }

    fn is_doubtful(&self) -> bool {
        self.doubtful.load(Ordering::Relaxed)
    }

    /// Whether the name still is that of this very file, with as many bytes.
    fn is_at(&self, path: &Path) -> bool {
        std::fs::symlink_metadata(path)
            .is_ok_and(|about| (about.ino(), about.len()) == (self.inode, self.size))
    }

    /// What identifies these bytes where they are asked for by their digest, and no date matters.
    pub fn by_digest(&self) -> Validators {
        Validators {
            etag: self.etag.clone(),
            modified: i64::MIN,
            last_modified: None,
            size: self.size,
        }
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

/// The open blobs of one mirror.
pub struct OpenBlobs {
    store: Store,
    folders: Folders,
    shards: [Mutex<HashMap<Box<str>, Kept>>; SHARDS],
    /// Files that all mirrors together may keep open.
    free: Arc<Semaphore>,
    /// What was found right of what is fetched on demand.
    seen: Seen,
    /// What clients were given of it.
    used: Mutex<HashSet<Sha256>>,
}

struct Kept {
    blob: Arc<Blob>,
    entry: Entry,
    /// The snapshot in which the path stands for this entry, if it names it for good.
    of: Option<SnapshotId>,
    asked: Instant,
    looked: Instant,
    /// What its folder was when it was looked at.
    version: Version,
    _place: OwnedSemaphorePermit,
}

impl OpenBlobs {
    pub fn new(store: Store, free: Arc<Semaphore>) -> OpenBlobs {
        OpenBlobs {
            store,
            folders: Folders::default(),
            shards: std::array::from_fn(|_| Mutex::default()),
            free,
            seen: Seen::default(),
            used: Mutex::default(),
        }
    }

    /// What a path stands for in a snapshot, where that is open.
    pub fn known(&self, path: &str, of: &SnapshotId, now: Instant) -> Option<(Entry, Arc<Blob>)> {
        self.asked(path, now, |kept| kept.of.as_ref() == Some(of))
    }

    /// The blob of an entry if it is open, or can be opened without waiting for the disk. With the snapshot whose index
    /// says that the path stands for it.
    pub fn at_hand(&self, path: &str, entry: &Entry, of: Option<SnapshotId>) -> Option<Arc<Blob>> {
        let is_same = |kept: &mut Kept| {
            let is_same = kept.entry == *entry;
            if is_same {
                kept.of = of.filter(|_| !entry.mutable);
            }
            is_same
        };
        let now = Instant::now();
        if let Some((_, blob)) = self.asked(path, now, is_same) {
            return Some(blob);
        }
        if entry.state == EntryState::NotYetFetched {
            // It is looked at before it is served: see [`fetched`].
            return None;
        }
        let version = self.version(&entry.digest, now);
        let opened = Blob::open_at_hand(&entry.digest, &self.store.blob_path(&entry.digest))?;
        let blob = self.keep(path, entry, of, opened, version);
        (blob.size == entry.size).then_some(blob)
    }

    /// Opens the blob of an entry, perhaps anew; none where there is none. Blocks on the disk.
    pub fn open(
        &self,
        path: &str,
        entry: &Entry,
        of: Option<SnapshotId>,
    ) -> Result<Option<Arc<Blob>>, String> {
        let version = self.version(&entry.digest, Instant::now());
        let opened = self.store.open_blob(&entry.digest);
        let Some(file) = opened.map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let blob = Blob::new(&entry.digest, file).map_err(|error| error.to_string())?;
        Ok(Some(self.keep(path, entry, of, blob, version)))
    }

    /// For a blob that turned out to be damaged.
    pub fn close(&self, path: &str) {
        self.shard(path).remove(path);
    }

    /// Closes those that nobody asked for lately. To be called every now and then.
    pub fn close_old(&self) {
        self.retain(|kept| kept.asked.elapsed() < OPEN_FOR);
    }

    /// For when blobs may have been removed from the disk.
    pub fn close_all(&self) {
        self.retain(|_| false);
    }

    fn asked(
        &self,
        path: &str,
        now: Instant,
        is_it: impl FnOnce(&mut Kept) -> bool,
    ) -> Option<(Entry, Arc<Blob>)> {
        let mut shard = self.shard(path);
        let kept = shard.get_mut(path)?;
        if !is_it(kept) {
            return None;
        }
        let version = self.version(&kept.entry.digest, now);
        let is_sure = kept.version == version
            && now.saturating_duration_since(kept.looked) < LOOK_AFTER
            && !kept.blob.is_doubtful();
        if !is_sure {
            if !kept.blob.is_at(&self.store.blob_path(&kept.entry.digest)) {
                shard.remove(path);
                return None;
            }
            (kept.version, kept.looked) = (version, now);
            if kept.entry.state == EntryState::NotYetFetched {
                self.note_use(&kept.entry.digest);
            }
        }
        kept.asked = now;
        Some((kept.entry, kept.blob.clone()))
    }

    /// Keeps a blob open if it is whole and there is room. `version` is what its folder was before it was opened.
    fn keep(
        &self,
        path: &str,
        entry: &Entry,
        of: Option<SnapshotId>,
        blob: Blob,
        version: Version,
    ) -> Arc<Blob> {
        let blob = Arc::new(blob);
        if blob.size != entry.size {
            return blob;
        }
        let mut shard = self.shard(path);
        let free = || self.free.clone().try_acquire_owned().ok();
        let place = free().or_else(|| {
            // Any will do: the ones that are asked for often come back at once.
            let arbitrary = shard.keys().next().cloned()?;
            shard.remove(&arbitrary);
            free()
        });
        if let Some(_place) = place {
            let now = Instant::now();
            let kept = Kept {
                blob: blob.clone(),
                entry: *entry,
                of: of.filter(|_| !entry.mutable),
                asked: now,
                looked: now,
                version,
                _place,
            };
            shard.insert(path.into(), kept);
        }
        blob
    }

    fn version(&self, digest: &Sha256, now: Instant) -> Version {
        let path = || self.store.blob_path(digest);
        self.folders.version(digest, now, path)
    }

    fn retain(&self, stays: impl Fn(&Kept) -> bool) {
        for shard in &self.shards {
            lock(shard).retain(|_, kept| stays(kept));
        }
    }

    fn shard(&self, path: &str) -> MutexGuard<'_, HashMap<Box<str>, Kept>> {
        let number = path.bytes().map(usize::from).sum::<usize>() % SHARDS;
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
        let dir = tempfile::tempdir().unwrap();
        let identity = fleet_store::Identity {
            format_version: fleet_store::Identity::FORMAT_VERSION,
            upstream_type: "Debian".into(),
            authority: "https://upstream.example.org/".into(),
            mirror: "a".into(),
            serving_path: "a".into(),
            directory_listing: true,
            retention: fleet_store::Retention {
                keep: 1,
                min_age: Duration::ZERO,
            },
            clients: Default::default(),
        };
        let writer = fleet_store::Writer::open(&dir.path().join("a"), &identity).unwrap();
        let mut entries = Vec::new();
        for n in 0..100u8 {
            let staged = writer.staging().put_bytes(&[n; 10]).unwrap();
            entries.push(Entry {
                state: fleet_store::EntryState::Present,
                digest: staged.digest(),
                size: 10,
                mtime: 0,
                mutable: n % 2 == 0,
                guarded: false,
                sha512: None,
            });
            writer.staging().commit_batch(vec![staged]).unwrap();
        }
        const LIMIT: usize = 2 * SHARDS;
        let store = Store::open(&dir.path().join("a")).unwrap();
        let open = OpenBlobs::new(store, Arc::new(Semaphore::new(LIMIT)));
        let snapshot = SnapshotId(Sha256([1; 32]));
        let of = Some(snapshot);
        let mut blobs = Vec::new();
        for (n, entry) in entries.iter().enumerate() {
            let path = n.to_string();
            let blob = open.open(&path, entry, of).unwrap().unwrap();
            if let Some(again) = open.at_hand(&path, entry, of) {
                assert_eq!(again.size, 10);
            }
            let known = open.known(&path, &snapshot, Instant::now());
            assert!(
                !entry.mutable || known.is_none(),
                "the index is asked for names that change"
            );
            let other = SnapshotId(Sha256([2; 32]));
            assert!(open.known(&path, &other, Instant::now()).is_none());
            blobs.push(blob);
        }
        let still_open = || {
            open.shards
                .iter()
                .map(|shard| lock(shard).len())
                .sum::<usize>()
        };
        assert_eq!(still_open(), LIMIT);
        assert_eq!(open.free.available_permits(), 0);
        open.close_old();
        assert_eq!(still_open(), LIMIT, "none is old");
        open.close_all();
        assert_eq!((still_open(), open.free.available_permits()), (0, LIMIT));
    }
}
