//! When a Mirror is due: cron expression, time zone, jitter. No clock: callers say what time it is.

use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

/// A cron expression in a time zone.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

impl Schedule {
    /// Errors begin with the name of the field.
    pub fn parse(cron: &str, zone: &str) -> Result<Schedule, String> {
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser.parse(cron).map_err(|error| {
            format!("schedule {cron:?} is not a cron expression with five fields (minute hour day month weekday): {error}")
        })?;
        let zone = TimeZone::get(zone)
            .map_err(|_| format!("timeZone {zone:?} is not the name of a time zone; write for example `Etc/UTC` or `Europe/Berlin`"))?;
        Ok(Schedule { cron, zone })
    }

    /// The first slot after `now`; none when the expression names a day that never comes.
    pub fn next_after(&self, now: Timestamp) -> Option<Timestamp> {
        self.cron
            .find_next_occurrence(&now.to_zoned(self.zone.clone()), false)
            .ok()
            .map(|slot| slot.timestamp())
    }
}

/// How much later than its slot a run starts: less than `most`, the same for one Mirror and slot every time, so that a
/// restart does not draw anew.
pub fn jitter(mirror: &str, slot: Timestamp, most: Duration) -> Duration {
    let mut hasher = Sha256::new();
    hasher.update(mirror.as_bytes());
    hasher.update(slot.as_second().to_be_bytes());
    share(&hasher.finalize(), most)
}

/// The wait before run number `attempt` (from 1) of those that follow a failed run: doubled each time, at most a day,
/// and up to a quarter longer so that mirrors that failed together do not come back together.
pub fn backoff(mirror: &str, first: Duration, attempt: u32) -> Duration {
    let doubled = first.saturating_mul(
        1u32.checked_shl(attempt.saturating_sub(1))
            .unwrap_or(u32::MAX),
    );
    let wait = doubled.min(Duration::from_secs(86_400));
    let mut hasher = Sha256::new();
    hasher.update(mirror.as_bytes());
    hasher.update(attempt.to_be_bytes());
    wait + share(&hasher.finalize(), wait / 4)
}

fn share(digest: &[u8], whole: Duration) -> Duration {
    let fraction = digest
        .iter()
        .take(4)
        .fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
    whole.mul_f64(f64::from(fraction) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_follow_the_time_zone_over_a_change_of_clocks() {
        let schedule = Schedule::parse("30 4 * * *", "Europe/Berlin").unwrap();
        let winter: Timestamp = "2026-03-28T12:00:00Z".parse().unwrap();
        let summer = schedule.next_after(winter).unwrap();
        assert_eq!(summer.to_string(), "2026-03-29T02:30:00Z");
        assert_eq!(
            Schedule::parse("30 4 * * *", "Etc/UTC")
                .unwrap()
                .next_after(winter)
                .unwrap()
                .to_string(),
            "2026-03-29T04:30:00Z"
        );
    }

    #[test]
    fn a_slot_is_strictly_after_now() {
        let schedule = Schedule::parse("17 */4 * * *", "Etc/UTC").unwrap();
        let slot: Timestamp = "2026-01-01T04:17:00Z".parse().unwrap();
        assert_eq!(
            schedule.next_after(slot).unwrap().to_string(),
            "2026-01-01T08:17:00Z"
        );
    }

    #[test]
    fn other_texts_are_refused() {
        for cron in ["", "* * * *", "* * * * * *", "61 * * * *", "nonsense"] {
            assert!(
                Schedule::parse(cron, "Etc/UTC")
                    .unwrap_err()
                    .starts_with("schedule"),
                "{cron:?}"
            );
        }
        assert!(
            Schedule::parse("* * * * *", "Nowhere")
                .unwrap_err()
                .starts_with("timeZone")
        );
    }

    #[test]
    fn jitter_is_bounded_stable_and_differs_between_mirrors() {
        let slot = Timestamp::UNIX_EPOCH;
        let most = Duration::from_secs(1200);
        assert!(jitter("a", slot, most) < most);
        assert_eq!(jitter("a", slot, most), jitter("a", slot, most));
        assert_ne!(jitter("a", slot, most), jitter("b", slot, most));
        assert_eq!(jitter("a", slot, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn back_off_doubles_and_has_an_end() {
        let first = Duration::from_secs(120);
        for (attempt, seconds) in [(1, 120), (2, 240), (3, 480), (40, 86_400)] {
            let wait = backoff("m", first, attempt);
            assert!(
                wait >= Duration::from_secs(seconds)
                    && wait <= Duration::from_secs(seconds).mul_f64(1.25),
                "{attempt}: {wait:?}"
            );
        }
    }
}
