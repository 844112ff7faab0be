//! When a Mirror is due. A pure decision over what is declared and what happened; callers say what time it is.

use std::time::Duration;

use fleet_api::{Mirror, Upstream};
use jiff::Timestamp;

use crate::schedule::{Schedule, backoff, jitter};

/// What is declared.
#[derive(Debug, Clone)]
pub struct Timing {
    pub mirror: String,
    pub schedule: Schedule,
    pub jitter: Duration,
    pub retry_limit: u32,
    pub retry_backoff: Duration,
    /// Between the starts of two rounds; a round is a run with its retries.
    pub min_interval: Duration,
}

/// What happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// When the newest round began.
    pub round_start: Option<Timestamp>,
    /// When the newest run ended.
    pub finish: Option<Timestamp>,
    /// Failed runs of the newest round.
    pub failures: u32,
    /// The upstream asked to be left alone until then.
    pub not_before: Option<Timestamp>,
    /// A person changed the manifest, or started this program: the schedule is not waited for.
    pub wanted: bool,
}

impl Timing {
    /// Errors name the field.
    pub fn new(mirror: &Mirror, upstream: &Upstream) -> Result<Timing, String> {
        let sync = &mirror.spec.sync;
        let mirror = mirror.metadata.name.clone().unwrap_or_default();
        Ok(Timing {
            schedule: Schedule::parse(&sync.cron(&mirror), &sync.time_zone)?,
            mirror,
            jitter: sync.jitter_or_default().0,
            retry_limit: sync.retries.limit,
            retry_backoff: sync.retries.backoff.0,
            min_interval: upstream
                .spec
                .politeness
                .min_interval
                .map(|interval| interval.0)
                .unwrap_or_default(),
        })
    }

    /// Whether the next run continues the round rather than beginning one.
    pub fn is_retry(&self, history: &History) -> bool {
        !history.wanted && history.failures > 0 && history.failures <= self.retry_limit
    }

    /// The start of the next run; none when the schedule names a day that never comes.
    pub fn next_start(&self, history: &History, now: Timestamp) -> Option<Timestamp> {
        let due = match (self.is_retry(history), history.finish) {
            (true, Some(finish)) => later(
                finish,
                backoff(&self.mirror, self.retry_backoff, history.failures),
            ),
            _ => self.next_round(history, now)?,
        };
        Some(due.max(history.not_before.unwrap_or(due)))
    }

    fn next_round(&self, history: &History, now: Timestamp) -> Option<Timestamp> {
        let slot = match (history.wanted, history.round_start) {
            (true, _) | (_, None) => now,
            (false, Some(start)) => {
                let slot = self.schedule.next_after(start)?;
                later(slot, jitter(&self.mirror, slot, self.jitter))
            }
        };
        let earliest = history
            .round_start
            .map(|start| later(start, self.min_interval));
        Some(slot.max(earliest.unwrap_or(slot)))
    }
}

impl History {
    /// A run begins.
    pub fn begin(&mut self, retry: bool, now: Timestamp) {
        if !retry {
            self.round_start = Some(now);
            self.failures = 0;
        }
        self.wanted = false;
    }

    /// A run has ended.
    pub fn end(&mut self, good: bool, retry_after: Option<Duration>, now: Timestamp) {
        self.finish = Some(now);
        self.failures = if good {
            0
        } else {
            self.failures.saturating_add(1)
        };
        self.not_before = retry_after.map(|wait| later(now, wait));
    }
}

fn later(instant: Timestamp, wait: Duration) -> Timestamp {
    instant.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-01-01T{text}Z").parse().unwrap()
    }

    fn timing(min_interval: u64) -> Timing {
        Timing {
            mirror: "m".into(),
            schedule: Schedule::parse("0 * * * *", "Etc/UTC").unwrap(),
            jitter: Duration::ZERO,
            retry_limit: 2,
            retry_backoff: Duration::from_secs(120),
            min_interval: Duration::from_secs(min_interval),
        }
    }

    #[test]
    fn the_first_run_is_due_at_once_and_the_next_at_its_slot() {
        let (timing, mut history, now) = (timing(0), History::default(), at("10:10:00"));
        assert_eq!(timing.next_start(&history, now), Some(now));
        history.begin(false, now);
        history.end(true, None, at("10:11:00"));
        assert_eq!(
            timing.next_start(&history, at("10:12:00")),
            Some(at("11:00:00"))
        );
        assert_eq!(
            timing.next_start(&history, at("15:00:00")),
            Some(at("11:00:00")),
            "a missed slot is due at once"
        );
    }

    #[test]
    fn failed_runs_are_retried_with_back_off_until_the_limit() {
        let (timing, mut history) = (timing(3600), History::default());
        history.begin(false, at("10:10:00"));
        history.end(false, None, at("10:11:00"));
        let first = timing.next_start(&history, at("10:11:00")).unwrap();
        assert!(first >= at("10:13:00") && first < at("10:14:00"), "{first}");
        for minute in ["10:13:30", "10:20:00"] {
            assert!(timing.is_retry(&history));
            history.begin(true, at(minute));
            history.end(false, None, at(minute));
        }
        assert!(!timing.is_retry(&history));
        assert_eq!(
            timing.next_start(&history, at("10:20:00")),
            Some(at("11:10:00")),
            "the round began at 10:10, minInterval is 1h"
        );
    }

    #[test]
    fn a_person_does_not_wait_for_the_schedule_but_for_the_upstream() {
        let (timing, mut history) = (timing(0), History::default());
        history.begin(false, at("10:10:00"));
        history.end(false, Some(Duration::from_secs(1800)), at("10:11:00"));
        history.wanted = true;
        assert_eq!(
            timing.next_start(&history, at("10:12:00")),
            Some(at("10:41:00"))
        );
    }

    #[test]
    fn the_least_interval_holds_after_a_restart_too() {
        let history = History {
            round_start: Some(at("10:10:00")),
            wanted: true,
            ..History::default()
        };
        assert_eq!(
            timing(3600).next_start(&history, at("10:12:00")),
            Some(at("11:10:00"))
        );
    }
}
