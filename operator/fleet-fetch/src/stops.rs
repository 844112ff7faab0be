//! Where one file is looked for, one place after the other: decided without network or clock.

use std::time::Duration;

use super::retry::RetryPolicy;
use super::{FailureKind, FetchError};

/// One place: an endpoint, and one of the names that the file has there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub endpoint: usize,
    pub source: usize,
}

/// What to do next for one file.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    Try(Place),
    /// Ask again after this time.
    Wait(Duration),
    GiveUp(FetchError),
}

/// The tour of one file over all places: each name at an endpoint, then the next endpoint. What can be different a
/// little later is tried again, after a wait, in the next round.
#[derive(Debug)]
pub(super) struct Tour {
    places: Vec<Stop>,
    /// The first place of this round that was not tried yet.
    cursor: usize,
    round: u32,
    /// A wait between two rounds is due.
    pause: Option<Duration>,
    worst: Option<FetchError>,
    missing: bool,
}

#[derive(Debug)]
struct Stop {
    place: Place,
    /// It can still bring the file.
    open: bool,
}

impl Tour {
    pub fn new(endpoints: impl Iterator<Item = usize>, sources: usize) -> Tour {
        let place = |endpoint| {
            (0..sources).map(move |source| Stop {
                place: Place { endpoint, source },
                open: true,
            })
        };
        Tour {
            places: endpoints.flat_map(place).collect(),
            cursor: 0,
            round: 0,
            pause: None,
            worst: None,
            missing: false,
        }
    }

    /// Notes why a place brought nothing.
    pub fn failed(&mut self, place: Place, error: FetchError, retry: &RetryPolicy) {
        let Some(at) = self.places.iter().position(|stop| stop.place == place) else {
            return;
        };
        self.cursor = at + 1;
        self.missing |= error.missing;
        if error.kind == FailureKind::MixedMismatch {
            // What is wrong may be what another place has sent before: here once more, from nothing.
            self.cursor = at;
        } else if error.is_transient() && !self.is_last_try_of(&error, retry) {
            // Its other names would meet the same.
            while self
                .places
                .get(self.cursor)
                .is_some_and(|stop| stop.place.endpoint == place.endpoint)
            {
                self.cursor += 1;
            }
        } else if let Some(stop) = self.places.get_mut(at) {
            stop.open = false;
        }
        if matches!(error.kind, FailureKind::Local(_)) {
            self.places.clear();
        }
        if self
            .worst
            .as_ref()
            .is_none_or(|worst| rank(&error) >= rank(worst))
        {
            self.worst = Some(error);
        }
        if !self.remaining().any(|stop| stop.open) {
            self.end_round(retry);
        }
    }

    /// Whether nothing is left but the file's other names: some servers answer for one of them with an error for ever.
    fn is_last_try_of(&self, error: &FetchError, retry: &RetryPolicy) -> bool {
        self.round >= retry.limit && !matches!(error.kind, FailureKind::Busy { .. })
    }

    fn end_round(&mut self, retry: &RetryPolicy) {
        if self.round >= retry.limit {
            self.places.clear();
            return;
        }
        self.cursor = 0;
        self.pause = Some(retry.wait(self.round));
        self.round += 1;
    }

    fn remaining(&self) -> impl Iterator<Item = &Stop> {
        self.places.iter().skip(self.cursor)
    }

    /// `rest` tells how much longer an endpoint is to be left alone.
    pub fn next(&mut self, rest: impl Fn(usize) -> Duration, retry: &RetryPolicy) -> Next {
        let pause = self.pause.take();
        let open = || {
            self.remaining()
                .filter(|stop| stop.open)
                .map(|stop| (stop.place, rest(stop.place.endpoint)))
        };
        let Some((_, shortest)) = open().min_by_key(|(_, rest)| *rest) else {
            return Next::GiveUp(self.verdict());
        };
        if !retry.allows(shortest) {
            self.worst = Some(too_long(self.worst.take(), shortest));
            return Next::GiveUp(self.verdict());
        }
        if let Some(pause) = pause {
            return Next::Wait(pause.max(shortest));
        }
        if !shortest.is_zero() {
            return Next::Wait(shortest);
        }
        match open().find(|(_, rest)| rest.is_zero()) {
            Some((place, _)) => Next::Try(place),
            None => Next::Wait(shortest),
        }
    }

    fn verdict(&mut self) -> FetchError {
        let mut verdict = self.worst.take().unwrap_or_else(|| {
            FetchError::new(FailureKind::Unreachable, "no endpoint is left to ask")
        });
        verdict.missing = self.missing;
        verdict
    }
}

/// Every endpoint that could still help asks to be left alone for longer than a run waits.
fn too_long(error: Option<FetchError>, rest: Duration) -> FetchError {
    let seconds = rest.as_secs() + u64::from(rest.subsec_nanos() > 0);
    let before = error
        .map(|error| format!("{}; ", error.message))
        .unwrap_or_default();
    let message = format!("{before}the upstream asks to come back in {seconds} s");
    FetchError::new(
        FailureKind::Busy {
            retry_after: Some(seconds),
        },
        message,
    )
}

/// Which of several failures tells most about why the file is not here.
fn rank(error: &FetchError) -> u8 {
    match error.kind {
        FailureKind::NotFound => 0,
        FailureKind::Broken => 1,
        FailureKind::Unreachable => 2,
        FailureKind::Redirect => 3,
        FailureKind::Stalled => 4,
        FailureKind::Busy { .. } => 5,
        FailureKind::Forbidden => 6,
        FailureKind::TooLarge => 7,
        FailureKind::Mismatch | FailureKind::MixedMismatch => 8,
        FailureKind::Local(_) => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: RetryPolicy = RetryPolicy {
        limit: 2,
        longest_wait: Duration::from_secs(10),
    };

    fn awake(_: usize) -> Duration {
        Duration::ZERO
    }

    fn error(kind: FailureKind) -> FetchError {
        FetchError::new(kind, "")
    }

    fn places_tried(
        tour: &mut Tour,
        failure: impl Fn(Place) -> FailureKind,
    ) -> (Vec<(usize, usize)>, FetchError) {
        let mut tried = Vec::new();
        loop {
            match tour.next(awake, &RETRY) {
                Next::Try(place) => {
                    tried.push((place.endpoint, place.source));
                    tour.failed(place, error(failure(place)), &RETRY);
                }
                Next::Wait(wait) => assert!(wait <= RETRY.longest_wait),
                Next::GiveUp(error) => return (tried, error),
            }
        }
    }

    #[test]
    fn a_missing_file_is_asked_for_once_under_each_name_at_each_endpoint() {
        let (tried, error) = places_tried(&mut Tour::new(0..2, 2), |_| FailureKind::NotFound);
        assert_eq!(tried, [(0, 0), (0, 1), (1, 0), (1, 1)]);
        assert_eq!(error.kind, FailureKind::NotFound);
    }

    #[test]
    fn an_endpoint_that_is_away_is_passed_over_and_asked_again_later() {
        let away_first = |place: Place| {
            if place.endpoint == 0 {
                FailureKind::Unreachable
            } else {
                FailureKind::NotFound
            }
        };
        let (tried, error) = places_tried(&mut Tour::new(0..2, 2), away_first);
        assert_eq!(tried, [(0, 0), (1, 0), (1, 1), (0, 0), (0, 0), (0, 1)]);
        assert_eq!(
            (error.kind, error.missing),
            (FailureKind::Unreachable, true)
        );
    }

    #[test]
    fn wrong_content_leads_to_the_next_endpoint_and_is_what_is_told_in_the_end() {
        let (tried, error) = places_tried(&mut Tour::new(0..2, 1), |place| {
            if place.endpoint == 0 {
                FailureKind::Mismatch
            } else {
                FailureKind::NotFound
            }
        });
        assert_eq!(tried, [(0, 0), (1, 0)]);
        assert_eq!(error.kind, FailureKind::Mismatch);
    }

    #[test]
    fn a_place_that_only_continued_a_file_is_asked_for_the_whole() {
        let (mut tour, mut tried) = (Tour::new(0..2, 1), Vec::new());
        let mut failures = [
            FailureKind::Broken,
            FailureKind::MixedMismatch,
            FailureKind::Mismatch,
            FailureKind::NotFound,
        ]
        .into_iter();
        let error = loop {
            match tour.next(awake, &RETRY) {
                Next::Try(place) => {
                    tried.push(place.endpoint);
                    let kind = failures.next().unwrap();
                    tour.failed(place, error(kind), &RETRY);
                }
                Next::Wait(_) => {}
                Next::GiveUp(error) => break error,
            }
        };
        assert_eq!(tried, [0, 1, 1, 0]);
        assert_eq!(error.kind, FailureKind::Mismatch);
    }

    #[test]
    fn a_long_retry_after_ends_the_tour_and_a_short_one_is_waited_for() {
        let mut tour = Tour::new(0..1, 1);
        assert_eq!(
            tour.next(|_| Duration::from_secs(5), &RETRY),
            Next::Wait(Duration::from_secs(5))
        );
        let Next::GiveUp(error) = tour.next(|_| Duration::from_secs(11), &RETRY) else {
            panic!("should give up")
        };
        assert_eq!(
            error.kind,
            FailureKind::Busy {
                retry_after: Some(11)
            }
        );
    }

    #[test]
    fn what_is_missing_at_one_endpoint_is_told_although_another_asks_for_too_long_a_rest() {
        let mut tour = Tour::new(0..2, 1);
        let away = |endpoint| Duration::from_secs(if endpoint == 1 { 3600 } else { 0 });
        let Next::Try(place) = tour.next(away, &RETRY) else {
            panic!("the first is awake")
        };
        tour.failed(place, error(FailureKind::NotFound), &RETRY);
        let Next::GiveUp(error) = tour.next(away, &RETRY) else {
            panic!("should give up")
        };
        assert!(error.missing && matches!(error.kind, FailureKind::Busy { .. }));
    }

    #[test]
    fn a_resting_endpoint_is_passed_over_while_another_is_awake() {
        let mut tour = Tour::new(0..2, 1);
        let first_rests = |endpoint| {
            if endpoint == 0 {
                Duration::from_secs(5)
            } else {
                Duration::ZERO
            }
        };
        assert_eq!(
            tour.next(first_rests, &RETRY),
            Next::Try(Place {
                endpoint: 1,
                source: 0
            })
        );
    }
}
