//! Room for what is fetched: of all that can be fetched again, what was used longest ago goes for it. What was first promised
//! cannot, and stays.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use fleet_origin::WHOLE_FIRST;
use fleet_telemetry::RegistryTraffic;
use fleet_types::{Sha256, counted, lock};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use crate::disk::{Disk, Shelf};

/// How much is kept in a registry's folder.
pub struct Room {
    disk: Arc<Disk>,
    /// None where that is not declared.
    limit_bytes: Option<u64>,
    is_counted: AtomicBool,
    evicting: Mutex<()>,
    traffic: Arc<RegistryTraffic>,
}

/// A file that could go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    /// Seconds since 1970-01-01T00:00:00Z, and nanoseconds.
    used: (i64, i64),
    bytes: u64,
    shelf: Shelf,
    key: Sha256,
}

impl Room {
    pub fn new(disk: Arc<Disk>, limit_bytes: Option<u64>, traffic: Arc<RegistryTraffic>) -> Room {
        Room {
            disk,
            limit_bytes,
            is_counted: AtomicBool::new(false),
            evicting: Mutex::default(),
            traffic,
        }
    }

    /// Makes room for so many bytes and a note beside them, as far as there is something to give up; whether there is room
    /// then. Blocks on the disk.
    pub fn make(&self, bytes: u64) -> io::Result<bool> {
        let bytes = Disk::room_of(bytes).saturating_add(Disk::room_of(1));
        self.count()?;
        let now = self.now()?;
        self.traffic.set_cached(now.cached_bytes);
        if now.to_keep(bytes).is_none() {
            return Ok(now.has(bytes));
        }
        let _one_at_a_time = lock(&self.evicting);
        // Another may have made room meanwhile.
        if let Some(keep) = self.now()?.to_keep(bytes) {
            self.evict(keep)?;
        }
        Ok(self.now()?.has(bytes))
    }

    /// Whether there is room for what nearly everything needs that is asked for.
    pub fn may_have_room(&self) -> bool {
        self.now().is_ok_and(|now| now.has(WHOLE_FIRST))
    }

    fn now(&self) -> io::Result<fleet_origin::Room> {
        let volume = rustix::fs::statvfs(self.disk.root())?;
        Ok(fleet_origin::Room {
            cached_bytes: self.disk.held_bytes(),
            free_bytes: volume.f_bavail.saturating_mul(volume.f_frsize.max(1)),
            limit_bytes: self.limit_bytes,
        })
    }

    fn evict(&self, keep_bytes: u64) -> io::Result<()> {
        let mut items = items(&self.disk)?;
        items.sort_unstable();
        let mut left: u64 = items.iter().map(|item| item.bytes).sum();
        self.disk.set_held_bytes(left);
        let (mut files, mut bytes) = (0, 0);
        for item in items {
            if left <= keep_bytes {
                break;
            }
            self.disk.remove(item.shelf, &item.key)?;
            left = left.saturating_sub(item.bytes);
            files += 1;
            bytes += item.bytes;
        }
        self.traffic.evicted(files, bytes);
        self.traffic.set_cached(left);
        tracing::info!(
            folder = %self.disk.root().display(),
            "{} of {} that were used longest ago were given up, {} are left",
            counted(files, "file"),
            counted(bytes, "byte"),
            counted(left, "byte")
        );
        Ok(())
    }

    /// What earlier processes have left is looked up once.
    fn count(&self) -> io::Result<()> {
        if self.is_counted.load(Ordering::Acquire) {
            return Ok(());
        }
        let _one_at_a_time = lock(&self.evicting);
        if !self.is_counted.load(Ordering::Acquire) {
            let held = items(&self.disk)?.iter().map(|item| item.bytes).sum();
            self.disk.set_held_bytes(held);
            self.is_counted.store(true, Ordering::Release);
        }
        Ok(())
    }
}

impl Disk {
    /// Notes that a file was used just now, by its time of access. One that is gone is passed over; true where it was there.
    pub fn use_now(&self, shelf: Shelf, key: &Sha256) -> bool {
        let times = Timestamps {
            last_access: special(UTIME_NOW),
            last_modification: special(UTIME_OMIT),
        };
        rustix::fs::utimensat(
            CWD,
            self.path(shelf, key),
            &times,
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .is_ok()
    }

    /// The same of files that were given out under these tags.
    pub fn gave(&self, tags: &[Sha256]) {
        for tag in tags {
            if !self.use_now(Shelf::Tarballs, tag) {
                self.use_now(Shelf::Shown, tag);
            }
        }
    }
}

fn special(nanoseconds: i64) -> Timespec {
    Timespec {
        tv_sec: 0,
        tv_nsec: nanoseconds,
    }
}

/// All that could go.
fn items(disk: &Disk) -> io::Result<Vec<Item>> {
    let mut items = Vec::new();
    for shelf in Shelf::CACHED {
        for folder in entries(&disk.folder(shelf))? {
            let folder = folder?;
            let name = folder.file_name();
            let shard = name.to_str().unwrap_or_default();
            for file in entries(&folder.path())? {
                let file = file?;
                let name = file.file_name();
                let rest = name.to_str().unwrap_or_default();
                let key = format!("{shard}{rest}").parse::<Sha256>();
                // One that is gone meanwhile takes no room.
                let (Ok(key), Ok(about)) = (key, file.metadata()) else {
                    continue;
                };
                items.push(Item {
                    used: (about.atime(), about.atime_nsec()),
                    bytes: Disk::room_of(about.len()),
                    shelf,
                    key,
                });
            }
        }
    }
    Ok(items)
}

fn entries(folder: &std::path::Path) -> io::Result<Vec<io::Result<fs::DirEntry>>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries.collect()),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::FileTimes;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::disk::key;

    const BLOCK: usize = 4096;

    fn aged(disk: &Disk, shelf: Shelf, name: &[u8], seconds: u64) -> Sha256 {
        let key = key(&[name]);
        disk.put_bytes(shelf, &key, &vec![7; 10 * BLOCK]).unwrap();
        let then = SystemTime::now() - Duration::from_secs(seconds);
        let file = disk.open_file(shelf, &key).unwrap().unwrap();
        file.set_times(FileTimes::new().set_accessed(then)).unwrap();
        key
    }

    fn room(dir: &std::path::Path, limit: Option<u64>) -> (Arc<Disk>, Room) {
        let disk = Arc::new(Disk::open(dir, "npm", "http://a").unwrap());
        let traffic = Arc::new(RegistryTraffic::default());
        (disk.clone(), Room::new(disk, limit, traffic))
    }

    #[test]
    fn what_was_used_longest_ago_goes_and_first_promises_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, room) = room(dir.path(), Some(41 * BLOCK as u64));
        let pins = aged(&disk, Shelf::Pins, b"pins", 90_000);
        let old = aged(&disk, Shelf::Tarballs, b"old", 9_000);
        let used = aged(&disk, Shelf::Tarballs, b"used", 8_000);
        let body = aged(&disk, Shelf::Bodies, b"body", 7_000);
        let shown = aged(&disk, Shelf::Shown, b"shown", 6_000);
        assert!(room.make(0).unwrap());
        let is_there = |shelf, key| disk.open_file(shelf, key).unwrap().is_some();
        assert!(
            is_there(Shelf::Tarballs, &old),
            "there is room for all of it"
        );
        disk.gave(&[used]);
        assert!(room.make(5 * BLOCK as u64).unwrap());
        assert!(!is_there(Shelf::Tarballs, &old));
        assert!(is_there(Shelf::Tarballs, &used) && is_there(Shelf::Bodies, &body));
        room.make(25 * BLOCK as u64).unwrap();
        assert!(!is_there(Shelf::Bodies, &body) && !is_there(Shelf::Shown, &shown));
        assert!(is_there(Shelf::Tarballs, &used) && is_there(Shelf::Pins, &pins));
        room.make(40 * BLOCK as u64).unwrap();
        assert!(!is_there(Shelf::Tarballs, &used) && is_there(Shelf::Pins, &pins));
        assert_eq!(disk.held_bytes(), 0);
    }

    #[test]
    fn what_an_earlier_process_has_left_counts_and_what_is_replaced_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, first) = room(dir.path(), None);
        let head = aged(&disk, Shelf::Heads, b"head", 0);
        drop((disk, first));
        let (disk, room) = room(dir.path(), None);
        aged(&disk, Shelf::Tarballs, b"tarball", 0);
        room.make(0).unwrap();
        assert_eq!(disk.held_bytes(), 20 * BLOCK as u64);
        disk.put_bytes(Shelf::Heads, &head, b"short").unwrap();
        assert_eq!(disk.held_bytes(), 11 * BLOCK as u64);
        disk.remove(Shelf::Heads, &head).unwrap();
        disk.remove(Shelf::Heads, &head).unwrap();
        assert_eq!(disk.held_bytes(), 10 * BLOCK as u64);
    }
}
