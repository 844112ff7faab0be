//! `lastupdate` and `lastsync` at the top of an upstream: when anything was last changed there, and when the master was
//! last known to be alive, both in seconds since 1970-01-01T00:00:00Z. Mirrors hand on the second as they got it: checkers
//! take it for the state that a mirror has.
//! <https://wiki.archlinux.org/title/DeveloperWiki:NewMirrors>

use fleet_api::mirror::ArchClock;
use fleet_types::documents::OwnFile;
use fleet_types::{ClockReading, RepoPath};

use super::Arch;
use crate::seam::{Clock, RootFile, StateFiles, Told};

const LAST_UPDATE: &str = "lastupdate";
const LAST_SYNC: &str = "lastsync";
/// A number and an end of line; what answers with a page of its own for a file that it lacks is no reason to fail.
const MAX_BYTES: u64 = 256 << 10;

impl StateFiles for Arch {
    fn clock(&self) -> Option<Clock> {
        let file = |name| {
            let path = RepoPath::new(name).ok()?;
            Some(RootFile {
                path,
                max_bytes: MAX_BYTES,
            })
        };
        match self.clock {
            ArchClock::LastUpdate => Some(Clock {
                state: file(LAST_UPDATE)?,
                beat: file(LAST_SYNC),
                read: seconds,
            }),
            ArchClock::None => None,
        }
    }

    /// As old as the oldest of what is served.
    fn render(&self, told: &Told<'_>) -> Vec<OwnFile> {
        let oldest = |path: &str, text: fn(&ClockReading) -> Option<&String>| {
            let texts: Option<Vec<&String>> = told.clocks.iter().map(text).collect();
            let content = texts?.into_iter().min_by_key(|text| seconds(text))?;
            seconds(content).map(|_| OwnFile {
                path: path.to_owned(),
                content: content.clone(),
            })
        };
        let state = oldest(LAST_UPDATE, |clock| Some(&clock.state));
        let beat = oldest(LAST_SYNC, |clock| clock.beat.as_ref());
        state.into_iter().chain(beat).collect()
    }
}

/// Nobody has signed it, so that nothing but a number counts and is repeated.
fn seconds(text: &str) -> Option<u64> {
    let digits = text.trim();
    let is_number = (1..=19).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}
