//! A run in a process of its own, so that neither the archive's making nor a test's server counts in its memory.

use std::path::{Path, PathBuf};
use std::process::Command;

use fleet_sync::{Report, SyncOptions};
use tempfile::TempDir;

use super::{Archive, nginx, options, process, sync};

const URL: &str = "ALONE_URL";
const DIR: &str = "ALONE_DIR";

/// The ignored test `name` in a process of its own, with this archive behind a real nginx. Its output says why it fails.
pub fn run(name: &str, archive: &Archive) {
    let dir = TempDir::new().unwrap();
    std::fs::write(keyring(dir.path()), archive.keyring()).unwrap();
    let (_server, url) = nginx::serve(&archive.root(), dir.path());
    let mut alone = Command::new(std::env::current_exe().unwrap());
    alone
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env(URL, url.as_str())
        .env(DIR, dir.path());
    process::run(&mut alone);
}

fn keyring(dir: &Path) -> PathBuf {
    dir.join("keyring")
}

/// In that process: what its runs need.
pub struct Alone {
    options: SyncOptions,
    runtime: tokio::runtime::Runtime,
}

impl Alone {
    pub fn new() -> Alone {
        let dir = PathBuf::from(std::env::var_os(DIR).unwrap());
        let url = std::env::var(URL).unwrap().parse().unwrap();
        let keyring = std::fs::read(keyring(&dir)).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        Alone {
            options: options(&keyring, &url, &dir.join("store"), &["stable"]),
            runtime,
        }
    }

    pub fn sync(&self) -> Report {
        self.runtime.block_on(sync(&self.options))
    }

    /// The most memory that this process ever had, in KiB.
    pub fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}
