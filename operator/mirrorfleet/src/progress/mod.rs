//! What a person sees while a run lasts: a bar on a terminal, plain lines elsewhere. Always on standard error.

mod bar;
mod lines;

use std::io::IsTerminal;
use std::sync::Arc;

use fleet_sync::{Phase, Progress};

/// Where the progress of several Mirrors is shown.
#[derive(Clone)]
pub enum Display {
    Bars(indicatif::MultiProgress),
    Lines,
    /// For daemons, whose log and metrics tell it.
    Silent,
}

impl Display {
    /// A bar where standard error is a terminal, lines elsewhere.
    pub fn detect() -> Display {
        if std::io::stderr().is_terminal() {
            Display::Bars(indicatif::MultiProgress::new())
        } else {
            Display::Lines
        }
    }

    /// Begins to show one Mirror's run.
    pub fn begin(&self, mirror: &str) -> Arc<dyn Progress> {
        match self {
            Display::Bars(bars) => Arc::new(bar::Bar::new(bars, mirror)),
            Display::Lines => Arc::new(lines::Lines::new(mirror)),
            Display::Silent => Arc::new(fleet_sync::Unwatched),
        }
    }

    /// Where log lines go so that they do not tear the bars; none where standard error itself is right.
    pub fn log_writer(&self) -> Option<bar::AboveBars> {
        match self {
            Display::Bars(bars) => Some(bar::AboveBars::new(bars.clone())),
            Display::Lines | Display::Silent => None,
        }
    }
}

/// Tells one run to two watchers.
pub struct Both(pub Arc<dyn Progress>, pub Arc<dyn Progress>);

impl Progress for Both {
    fn phase(&self, phase: Phase) {
        self.0.phase(phase);
        self.1.phase(phase);
    }
    fn planned(&self, files: u64, bytes: u64) {
        self.0.planned(files, bytes);
        self.1.planned(files, bytes);
    }
    fn received(&self, bytes: u64) {
        self.0.received(bytes);
        self.1.received(bytes);
    }
    fn file_done(&self) {
        self.0.file_done();
        self.1.file_done();
    }
    fn note(&self, text: &str) {
        self.0.note(text);
        self.1.note(text);
    }
    fn left_out(&self, entries: u64) {
        self.0.left_out(entries);
        self.1.left_out(entries);
    }
}

/// Feeds the worker's metrics.
pub struct Metered(pub Arc<fleet_telemetry::RunProgress>);

impl Progress for Metered {
    fn phase(&self, phase: Phase) {
        self.0.set_phase(phase.as_str());
    }
    fn planned(&self, files: u64, bytes: u64) {
        self.0.set_planned(files, bytes);
    }
    fn received(&self, bytes: u64) {
        self.0.add_received_bytes(bytes);
    }
    fn file_done(&self) {
        self.0.add_received_file();
    }
    fn note(&self, _: &str) {}
    fn left_out(&self, entries: u64) {
        self.0.set_left_out(entries);
    }
}

/// What a phase does, for people.
fn doing(phase: Phase) -> &'static str {
    match phase {
        Phase::List => "listing what the upstream has",
        Phase::Verify => "verifying signatures and indices",
        Phase::Plan => "planning",
        Phase::Fetch => "fetching",
        Phase::Check => "checking that nothing is missing",
        Phase::Prepare => "preparing the snapshot",
        Phase::Publish => "publishing",
        Phase::Collect => "collecting what is no longer needed",
    }
}
