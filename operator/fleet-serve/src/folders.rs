//! What the folders of a store's blobs tell about the names in them, at the price of one look a second for each folder that
//! is asked about, however many blobs of it are.
//!
//! A name gets another file by rename, and loses it by unlink: both leave their instant on the folder. What changes a file
//! in place (a disk) leaves nothing there; whoever reads the file meets its end too early.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fleet_types::{Sha256, lock};

/// How long a folder is believed to be what it was.
const SURE_FOR: Duration = Duration::from_secs(1);
/// The instant on a folder is no finer than the kernel's clock, and a network's server has a clock of its own: what
/// changed so lately may change again and show the same instant.
const FRESH: i64 = 2;

/// A folder as it was at one moment; one with another version is perhaps different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(u64);

/// The folders of one store, one for each first byte of a digest.
pub struct Folders {
    start: Instant,
    folders: [Folder; 256],
}

#[derive(Default)]
struct Folder {
    /// When it is to be looked at again, in milliseconds since `start`.
    due: AtomicU64,
    version: AtomicU64,
    /// Inode, and the seconds and nanoseconds of its last change.
    stamp: Mutex<Option<(u64, i64, i64)>>,
}

impl Default for Folders {
    fn default() -> Folders {
        Folders {
            start: Instant::now(),
            folders: std::array::from_fn(|_| Folder::default()),
        }
    }
}

impl Folders {
    /// What the folder of this blob is `now`, give or take [`SURE_FOR`]; `path` is the blob's name.
    pub fn version(
        &self,
        digest: &Sha256,
        now: Instant,
        path: impl FnOnce() -> PathBuf,
    ) -> Version {
        let folder = &self.folders[usize::from(digest.0[0])];
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let since_start = now.saturating_duration_since(self.start);
        if millis(since_start) >= folder.due.load(Ordering::Acquire) {
            let mut stamp = lock(&folder.stamp);
            let seen = path().parent().and_then(|path| {
                let about = std::fs::symlink_metadata(path).ok()?;
                Some((about.ino(), about.mtime(), about.mtime_nsec()))
            });
            if seen.is_none()
                || seen != *stamp
                || seen.is_some_and(|(_, at, _)| is_fresh(at, unix_now()))
            {
                folder.version.fetch_add(1, Ordering::AcqRel);
            }
            *stamp = seen;
            let due = millis(since_start + SURE_FOR);
            folder.due.store(due, Ordering::Release);
        }
        Version(folder.version.load(Ordering::Acquire))
    }
}

fn is_fresh(at: i64, now: i64) -> bool {
    at.saturating_add(FRESH) > now
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_changed_lately_may_change_unseen() {
        assert!(is_fresh(100, 100) && is_fresh(100, 101) && is_fresh(100, 50));
        assert!(!is_fresh(100, 102));
    }

    #[test]
    fn a_folder_is_another_once_a_name_in_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("blob");
        fs::write(&name, "a").unwrap();
        let long_ago = UNIX_EPOCH + Duration::from_secs(1000);
        let age = || fs::File::open(dir.path()).unwrap().set_modified(long_ago);
        age().unwrap();
        let folders = Folders::default();
        let mut now = Instant::now();
        let mut look = |later: Duration| {
            now += later;
            folders.version(&Sha256([7; 32]), now, || name.clone())
        };
        let first = look(Duration::ZERO);
        assert_eq!(look(SURE_FOR), first);
        assert_eq!(look(SURE_FOR), first, "nothing has changed");

        fs::write(dir.path().join("new"), "b").unwrap();
        fs::rename(dir.path().join("new"), &name).unwrap();
        assert_eq!(look(SURE_FOR / 2), first, "not looked at yet");
        let second = look(SURE_FOR / 2);
        assert_ne!(second, first);
        age().unwrap();
        let third = look(SURE_FOR);
        assert_eq!(look(SURE_FOR), third);

        fs::remove_dir_all(dir.path()).unwrap();
        let gone = look(SURE_FOR);
        assert_ne!(gone, third);
        assert_ne!(look(SURE_FOR), gone, "nobody knows");
    }
}
