//! How much is on the disk while something runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The most that is below a directory at any time.
pub struct Watcher {
    peak: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watcher {
    pub fn start(dir: PathBuf) -> Watcher {
        let (peak, end) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (seen, ended) = (peak.clone(), end.clone());
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                seen.fetch_max(bytes_below(&dir), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Watcher {
            peak,
            end,
            thread: Some(thread),
        }
    }

    pub fn peak(mut self) -> u64 {
        self.end.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.peak.load(Ordering::Relaxed)
    }
}

/// What files take on the disk. Some vanish meanwhile.
fn bytes_below(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let below = |path: PathBuf| match path.symlink_metadata() {
        Ok(about) if about.is_dir() => bytes_below(&path),
        Ok(about) => about.blocks() * 512,
        Err(_) => 0,
    };
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    files.map(|file| below(file.path())).sum()
}
