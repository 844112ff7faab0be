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

    fn heartbeat(&self, told: &Told<'_>) -> Option<u64> {
        seconds(oldest(told, beat)?)
    }

    fn render(&self, told: &Told<'_>) -> Vec<OwnFile> {
        let file = |path: &str, content: &String| OwnFile {
            path: path.to_owned(),
            content: content.clone(),
        };
        let state = oldest(told, |clock| Some(&clock.state)).map(|text| file(LAST_UPDATE, text));
        let beat = oldest(told, beat).map(|text| file(LAST_SYNC, text));
        state.into_iter().chain(beat).collect()
    }
}

fn beat(clock: &ClockReading) -> Option<&String> {
    clock.beat.as_ref()
}

/// As old as the oldest of what is served; none where one of them is not known, or no number.
fn oldest<'a>(
    told: &'a Told<'_>,
    text: fn(&ClockReading) -> Option<&String>,
) -> Option<&'a String> {
    let texts: Option<Vec<&String>> = told.clocks.iter().map(text).collect();
    let oldest = texts?.into_iter().min_by_key(|text| seconds(text))?;
    seconds(oldest).map(|_| oldest)
}

/// Nobody has signed it, so that nothing but a number counts and is repeated.
fn seconds(text: &str) -> Option<u64> {
    let digits = text.trim();
    let is_number = (1..=19).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}
