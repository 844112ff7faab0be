//! How much room a file system has, and of what kind it is.

use std::fs::File;
use std::path::Path;

use crate::error::{Doing, Result};

/// Room on the store's file system, as an unprivileged process sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub free_bytes: u64,
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
            total_bytes: stat.f_blocks.saturating_mul(block_size),
            free_inodes: (stat.f_files > 0).then_some(stat.f_favail),
            block_size,
        })
    }

    /// What a file of this size takes.
    pub fn on_disk(&self, size: u64) -> u64 {
        size.div_ceil(self.block_size)
            .saturating_mul(self.block_size)
    }
}

/// Whether a mapped file can vanish under the reader: file systems whose files another machine can remove.
/// The numbers are those of statfs(2) and `linux/magic.h`.
pub(crate) fn is_network(file: &File) -> bool {
    const NETWORK: [u32; 12] = [
        0x6969,      // NFS
        0xFF53_4D42, // CIFS
        0xFE53_4D42, // SMB2
        0x517B,      // SMB
        0x6573_5546, // FUSE
        0x0102_1997, // 9p
        0x00C3_6400, // Ceph
        0x5346_414F, // AFS
        0x0BD0_0BD0, // Lustre
        0x4750_4653, // GPFS
        0x7461_636F, // OCFS2
        0x0116_1970, // GFS2
    ];
    // An unknown file system is treated as a network one: reading to the heap is always right.
    rustix::fs::fstatfs(file).map_or(true, |stat| NETWORK.contains(&(stat.f_type as u32)))
}
