//! How a run is watched while it lasts.

use std::sync::Arc;

use fleet_fetch::Watcher;

/// Where a run is. In this order, though listing to planning may happen more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    List,
    Verify,
    Plan,
    Fetch,
    Check,
    Prepare,
    Publish,
    Collect,
}

impl Phase {
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::List => "list",
            Phase::Verify => "verify",
            Phase::Plan => "plan",
            Phase::Fetch => "fetch",
            Phase::Check => "check",
            Phase::Prepare => "prepare",
            Phase::Publish => "publish",
            Phase::Collect => "collect",
        }
    }
}

/// Told what happens, from several threads; must not block.
pub trait Progress: Send + Sync {
    fn phase(&self, phase: Phase);
    /// How much is left to fetch, known once planning is done; a later call replaces an earlier one.
    fn planned(&self, files: u64, bytes: u64);
    /// Bytes of bodies as they arrive, whether they are believed later or not.
    fn received(&self, bytes: u64);
    /// One planned file is verified.
    fn file_done(&self);
    /// A sentence for people.
    fn note(&self, text: &str);
    /// How many entries of the indices cannot be used; a later call replaces an earlier one.
    fn left_out(&self, entries: u64) {
        let _ = entries;
    }
}

/// Tells of bytes as a transfer counts them.
pub(crate) fn watcher(progress: &Arc<dyn Progress>) -> Watcher {
    let progress = progress.clone();
    Arc::new(move |bytes| progress.received(bytes))
}

/// Nobody watches.
pub struct Unwatched;

impl Progress for Unwatched {
    fn phase(&self, _: Phase) {}
    fn planned(&self, _: u64, _: u64) {}
    fn received(&self, _: u64) {}
    fn file_done(&self) {}
    fn note(&self, _: &str) {}
}
