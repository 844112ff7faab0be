//! A small file system of its own, on a loop device.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::process::{outcome, run};

pub struct Volume {
    dir: TempDir,
}

impl Volume {
    /// An ext4 file system; none, with a printed reason, where this process may not mount one.
    pub fn ext4(mebibytes: u64) -> Option<Volume> {
        let dir = TempDir::new().unwrap();
        let image = dir.path().join("image");
        File::create(&image)
            .unwrap()
            .set_len(mebibytes << 20)
            .unwrap();
        // No blocks are kept for root, or only root would see them as free.
        run(Command::new("mkfs.ext4")
            .args(["-q", "-m", "0", "-F"])
            .arg(&image));
        let volume = Volume { dir };
        std::fs::create_dir(volume.path()).unwrap();
        let mounted = outcome(
            Command::new("mount")
                .args(["-o", "loop"])
                .arg(&image)
                .arg(volume.path()),
        );
        if !mounted.status.success() {
            println!(
                "skipped: a file system cannot be mounted here: {}",
                String::from_utf8_lossy(&mounted.stderr).trim()
            );
            return None;
        }
        Some(volume)
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mount")
    }

    pub fn remount(&self, how: &str) {
        run(Command::new("mount")
            .args(["-o", &format!("remount,{how}")])
            .arg(self.path()));
    }
}

/// Writes until nothing fits any more. What it returns is in the way until it is removed.
pub fn fill(dir: &Path) -> PathBuf {
    let path = dir.join("filler");
    let mut file = File::create(&path).unwrap();
    for size in [64 << 10, 4096, 1] {
        let block = vec![0_u8; size];
        while file.write_all(&block).is_ok() {}
    }
    path
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily: a failed test may still have a file open there.
        drop(outcome(Command::new("umount").arg("-l").arg(self.path())));
    }
}
