//! How far the check of all blobs is: kept in the store, so that every run goes on where the one before ended.

use std::time::Duration;

use fleet_types::Sha256;
use serde::{Deserialize, Serialize};

/// Within this time everything is read once, where runs are frequent enough.
pub(crate) const PASS: Duration = Duration::from_secs(7 * 24 * 3600);
/// A run is late by so much of a pass before it reads anything: most runs need not.
const STEP: f64 = 1.0 / 256.0;

/// `state/scrub.json`. Instants are seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScrubState {
    /// When the pass began that is under way.
    pub started_at: i64,
    /// The first digest that it has not come to; none before the first and after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Sha256>,
    /// What it has checked so far, and how much of that was damaged.
    pub blobs: u64,
    pub bytes: u64,
    pub damaged: u64,
    /// When the last pass that came to its end did so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<i64>,
    /// Everything was read in this pass; the next begins when it is due.
    pub complete: bool,
}

impl ScrubState {
    /// The name under which the store keeps it.
    pub const DOCUMENT: &str = "scrub";

    /// The pass as it is to go on at `now`; none where nothing is due. Before the first run of all a pass begins and
    /// nothing is late.
    pub(crate) fn due(self, now: i64) -> Option<ScrubState> {
        let begin = |finished_at| ScrubState {
            started_at: now,
            finished_at,
            ..ScrubState::default()
        };
        if self.started_at <= 0 || self.started_at > now {
            return Some(begin(self.finished_at));
        }
        let share = self.share_at(now);
        if self.complete {
            return (share >= 1.0).then(|| begin(self.finished_at));
        }
        let done = self.next.map_or(0.0, |next| share_before(&next));
        (share >= 1.0 || share - done >= STEP).then_some(self)
    }

    /// How much of the pass has passed by `now`; 1 is all.
    pub(crate) fn share_at(&self, now: i64) -> f64 {
        let passed = now.saturating_sub(self.started_at).max(0);
        passed as f64 / PASS.as_secs() as f64
    }
}

/// Which part of all digests is less than this one.
pub(crate) fn share_before(digest: &Sha256) -> f64 {
    let first = digest.0.first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(first) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    #[test]
    fn a_pass_goes_on_when_it_is_late_and_begins_anew_when_its_time_is_over() {
        let begun = ScrubState::default().due(1000).unwrap();
        assert_eq!((begun.started_at, begun.next), (1000, None));
        assert_eq!(begun.clone().due(1000 + 600), None, "not late");
        assert!(begun.clone().due(1000 + 3600).is_some());
        let half = ScrubState {
            next: Some(Sha256([0x80; 32])),
            ..begun.clone()
        };
        assert_eq!(half.clone().due(1000 + 3 * DAY), None);
        assert_eq!(half.clone().due(1000 + 4 * DAY), Some(half.clone()));
        assert_eq!(
            half.clone().due(1000 + 400 * DAY),
            Some(half),
            "late, but not given up"
        );
        let complete = ScrubState {
            complete: true,
            finished_at: Some(2000),
            ..begun.clone()
        };
        assert_eq!(complete.clone().due(1000 + 6 * DAY), None);
        let next = complete.due(1000 + 7 * DAY).unwrap();
        assert_eq!(
            (next.started_at, next.finished_at),
            (1000 + 7 * DAY, Some(2000))
        );
        assert_eq!(
            begun.due(5).unwrap().started_at,
            5,
            "the clock was set back"
        );
    }
}
