//! How much room a file system has.

use std::path::Path;

use fleet_types::documents::StorageUse;

use crate::error::{Doing, Result};

/// Room on the store's file system, as an unprivileged process sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub free_bytes: u64,
    /// What is used, by whomever, and what is free: not what only root may use, as df reckons.
    pub total_bytes: u64,
    /// None where the file system has no fixed number of inodes.
    pub free_inodes: Option<u64>,
    /// What a file's size is rounded up to.
    pub block_size: u64,
}

impl Space {
    /// Room on the file system that `path` is on. Of what does not exist yet, it is the one of the folder that does.
    pub fn of(path: &Path) -> Result<Space> {
        let path = path
            .ancestors()
            .find(|path| path.exists())
            .unwrap_or(Path::new("."));
        let stat = rustix::fs::statvfs(path).doing("asking for free space")?;
        let block_size = stat.f_frsize.max(1);
        Ok(Space {
            free_bytes: stat.f_bavail.saturating_mul(block_size),
            total_bytes: stat
                .f_blocks
                .saturating_sub(stat.f_bfree)
                .saturating_add(stat.f_bavail)
                .saturating_mul(block_size),
            free_inodes: (stat.f_files > 0).then_some(stat.f_favail),
            block_size,
        })
    }

    /// As it is told.
    pub fn in_use(&self) -> StorageUse {
        StorageUse {
            used: self.total_bytes.saturating_sub(self.free_bytes),
            capacity: self.total_bytes,
        }
    }

    /// What a file of this size takes.
    pub fn on_disk(&self, size: u64) -> u64 {
        size.div_ceil(self.block_size)
            .saturating_mul(self.block_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_free_is_in_use() {
        let space = Space {
            free_bytes: 3,
            total_bytes: 10,
            free_inodes: None,
            block_size: 1,
        };
        let told = space.in_use();
        assert_eq!((told.used, told.capacity), (7, 10));
    }
}
