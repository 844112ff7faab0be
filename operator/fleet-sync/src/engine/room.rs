//! Room on file systems that the runs of this process count on. Several Mirrors can share one file system, and what one
//! run is still going to write must not be planned with by another.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use fleet_store::Space;
use fleet_types::{Reason, lock};

use crate::Problem;

/// Bytes that runs have planned and not yet written, by file system.
static PROMISED: Mutex<BTreeMap<FileSystem, u64>> = Mutex::new(BTreeMap::new());

/// A file system of this machine, by its device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileSystem(u64);

impl FileSystem {
    pub fn of(dir: &Path) -> Result<FileSystem, Problem> {
        let failed = |e: std::io::Error| {
            Problem::new(
                Reason::StorageFailed,
                format!(
                    "asking which file system {} is on failed: {e}",
                    dir.display()
                ),
            )
        };
        Ok(FileSystem(std::fs::metadata(dir).map_err(failed)?.dev()))
    }

    /// What runs of this process are still going to write.
    pub fn promised(self) -> u64 {
        ledger().get(&self).copied().unwrap_or(0)
    }
}

/// Room that one run counts on: less with everything that it writes, and none when it is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    on: FileSystem,
    left: AtomicU64,
    space: Space,
}

impl Reservation {
    pub fn new(on: FileSystem, bytes: u64, space: Space) -> Reservation {
        *ledger().entry(on).or_default() += bytes;
        Reservation {
            on,
            left: AtomicU64::new(bytes),
            space,
        }
    }

    /// A file of this size is on the disk: the file system counts it from now on.
    pub fn landed(&self, size: u64) {
        let bytes = self.space.on_disk(size);
        let less = |left: u64| Some(left.saturating_sub(bytes));
        if let Ok(before) = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
        {
            give_back(self.on, before.min(bytes));
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        give_back(self.on, *self.left.get_mut());
    }
}

fn give_back(on: FileSystem, bytes: u64) {
    let mut ledger = ledger();
    if let Some(promised) = ledger.get_mut(&on) {
        *promised = promised.saturating_sub(bytes);
        if *promised == 0 {
            ledger.remove(&on);
        }
    }
}

fn ledger() -> MutexGuard<'static, BTreeMap<FileSystem, u64>> {
    lock(&PROMISED)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: Space = Space {
        free_bytes: 0,
        total_bytes: 0,
        free_inodes: None,
        block_size: 4096,
    };

    #[test]
    fn a_promise_shrinks_as_files_land_and_ends_with_its_run() {
        let (one, other) = (FileSystem(u64::MAX), FileSystem(u64::MAX - 1));
        let first = Reservation::new(one, 10_000, SPACE);
        let second = Reservation::new(one, 5_000, SPACE);
        assert_eq!((one.promised(), other.promised()), (15_000, 0));
        first.landed(1);
        assert_eq!(one.promised(), 10_904, "whole blocks count");
        first.landed(1_000_000);
        assert_eq!(one.promised(), 5_000, "never more than was promised");
        drop(first);
        assert_eq!(one.promised(), 5_000);
        drop(second);
        assert_eq!(one.promised(), 0);
    }
}
