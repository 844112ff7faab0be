//! How far the check of all blobs is: kept in the store, so that every run goes on where the one before ended.

use std::time::Duration;

use fleet_types::Sha256;
use fleet_types::documents::{ScrubState, UnixSeconds};

/// Within this time everything is read once, where runs are frequent enough.
pub(crate) const PASS: Duration = Duration::from_secs(7 * 24 * 3600);
/// A run is late by so much of a pass before it reads anything: most runs need not.
const STEP: f64 = 1.0 / 256.0;

/// The pass as it is to go on at `now`; none where nothing is due. Before the first run of all a pass begins and
/// nothing is late.
pub(crate) fn due(state: ScrubState, now: i64) -> Option<ScrubState> {
    let begin = |finished_at| ScrubState {
        started_at: UnixSeconds(now),
        finished_at,
        ..ScrubState::default()
    };
    if state.started_at.0 <= 0 || state.started_at.0 > now {
        return Some(begin(state.finished_at));
    }
    let share = share_at(&state, now);
    if state.complete {
        return (share >= 1.0).then(|| begin(state.finished_at));
    }
    let done = state.next.map_or(0.0, |next| share_before(&next));
    (share >= 1.0 || share - done >= STEP).then_some(state)
}

/// How much of the pass has passed by `now`; 1 is all.
pub(crate) fn share_at(state: &ScrubState, now: i64) -> f64 {
    let passed = now.saturating_sub(state.started_at.0).max(0);
    passed as f64 / PASS.as_secs() as f64
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
        let begun = due(ScrubState::default(), 1000).unwrap();
        assert_eq!((begun.started_at.0, begun.next), (1000, None));
        assert_eq!(due(begun.clone(), 1000 + 600), None, "not late");
        assert!(due(begun.clone(), 1000 + 3600).is_some());
        let half = ScrubState {
            next: Some(Sha256([0x80; 32])),
            ..begun.clone()
        };
        assert_eq!(due(half.clone(), 1000 + 3 * DAY), None);
        assert_eq!(due(half.clone(), 1000 + 4 * DAY), Some(half.clone()));
        assert_eq!(
            due(half.clone(), 1000 + 400 * DAY),
            Some(half),
            "late, but not given up"
        );
        let complete = ScrubState {
            complete: true,
            finished_at: Some(UnixSeconds(2000)),
            ..begun.clone()
        };
        assert_eq!(due(complete.clone(), 1000 + 6 * DAY), None);
        let next = due(complete, 1000 + 7 * DAY).unwrap();
        assert_eq!(
            (next.started_at.0, next.finished_at),
            (1000 + 7 * DAY, Some(UnixSeconds(2000)))
        );
        assert_eq!(
            due(begun, 5).unwrap().started_at.0,
            5,
            "the clock was set back"
        );
    }
}
