//! Files that say something about the upstream as a whole, or about the copy itself: in no unit, and in no snapshot, since
//! they change without a new state of any unit. None of them is signed.

use fleet_types::documents::OwnFile;
use fleet_types::{ClockReading, RunFacts};

use super::RootFile;

/// What a format knows of such files: nothing, where it does not say otherwise.
pub trait StateFiles: Send + Sync {
    /// By what an upstream tells how new it is as a whole. While that is as it was, no unit is asked for.
    fn clock(&self) -> Option<Clock> {
        None
    }

    /// Where an upstream tells which of its states it has, and what of that file we repeat.
    fn word(&self) -> Option<UpstreamWord> {
        None
    }

    /// The file that the upstream on `host` has at its top while it is being changed.
    fn update_mark(&self, host: &str) -> Option<RootFile> {
        let _ = host;
        None
    }

    /// What it repeats of the upstream's heartbeat, in seconds since 1970-01-01T00:00:00Z; none where there is none. Checkers
    /// take it for the state that a mirror has.
    fn heartbeat(&self, told: &Told<'_>) -> Option<u64> {
        let _ = told;
        None
    }

    /// What a mirror publishes about itself.
    fn render(&self, told: &Told<'_>) -> Vec<OwnFile> {
        let _ = told;
        Vec::new()
    }
}

/// Of a format without such files.
pub(super) struct Nothing;

impl StateFiles for Nothing {}

/// Files of a few bytes at the top of an upstream.
#[derive(Debug, Clone)]
pub struct Clock {
    /// Is another one whenever anything is new.
    pub state: RootFile,
    /// Is another one every few minutes, new or not.
    pub beat: Option<RootFile>,
    /// What one of the two says; none where it is not as it should be: a server's page for what it lacks stands still too,
    /// and would pass for an upstream where nothing is new.
    pub read: fn(&str) -> Option<u64>,
}

/// See [`StateFiles::word`].
pub struct UpstreamWord {
    pub file: RootFile,
    /// The field that is repeated, with its value; none where the file does not have it, or not as it should be.
    pub read: fn(&[u8]) -> Option<(String, String)>,
}

/// All that [`StateFiles::render`] and [`StateFiles::heartbeat`] may say.
pub struct Told<'a> {
    /// The last run after which what is served was known to be what the upstream has.
    pub run: &'a RunFacts,
    /// What the mirror calls itself.
    pub name: &'a str,
    pub contact: Option<&'a str>,
    /// Of each unit, how the upstream's clock stood before the state was read that is served; empty where it is not known
    /// of all.
    pub clocks: Vec<ClockReading>,
}
