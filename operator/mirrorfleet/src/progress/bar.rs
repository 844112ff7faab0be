//! The bar on a terminal.

use fleet_types::counted;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fleet_sync::{Phase, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::doing;

const UNPLANNED: &str = "{spinner} {prefix:.bold} {msg}  {bytes} received";
const PLANNED: &str =
    "{prefix:.bold} [{bar:24}] {bytes}/{total_bytes}  {msg}  {bytes_per_sec}  ETA {eta}";

/// One line of the screen: a spinner until the plan is known, then a bar over its bytes.
pub struct Bar {
    bar: ProgressBar,
    planned: AtomicBool,
    files: AtomicU64,
    files_done: AtomicU64,
}

impl Bar {
    pub fn new(bars: &MultiProgress, mirror: &str) -> Bar {
        let bar = bars.add(ProgressBar::new_spinner());
        bar.set_prefix(mirror.to_owned());
        bar.set_style(style(UNPLANNED));
        bar.enable_steady_tick(Duration::from_millis(120));
        Bar {
            bar,
            planned: AtomicBool::new(false),
            files: AtomicU64::new(0),
            files_done: AtomicU64::new(0),
        }
    }

    fn show_files(&self) {
        let (done, all) = (
            self.files_done.load(Ordering::Relaxed),
            self.files.load(Ordering::Relaxed),
        );
        self.bar
            .set_message(format!("{done}/{}", counted(all, "file")));
    }
}

/// The templates are constants; should one be wrong, the library's own style is shown.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

impl Progress for Bar {
    fn phase(&self, phase: Phase) {
        if self.planned.load(Ordering::Relaxed) && phase == Phase::Fetch {
            self.show_files();
        } else {
            self.bar.set_message(doing(phase));
        }
    }

    fn planned(&self, files: u64, bytes: u64) {
        self.files.store(files, Ordering::Relaxed);
        self.files_done.store(0, Ordering::Relaxed);
        self.planned.store(true, Ordering::Relaxed);
        // The rate and the remaining time speak of what was planned, not of the indices that came before.
        self.bar.reset();
        self.bar.set_length(bytes);
        self.bar.set_style(style(PLANNED));
        self.show_files();
    }

    fn received(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn file_done(&self) {
        if self.planned.load(Ordering::Relaxed) {
            self.files_done.fetch_add(1, Ordering::Relaxed);
            self.show_files();
        }
    }

    fn note(&self, text: &str) {
        self.bar.println(format!("{}: {text}", self.bar.prefix()));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        // The report says how it ended.
        self.bar.finish_and_clear();
    }
}

/// Writes above the bars.
#[derive(Clone)]
pub struct AboveBars(MultiProgress);

impl AboveBars {
    pub fn new(bars: MultiProgress) -> AboveBars {
        AboveBars(bars)
    }
}

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }
    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
