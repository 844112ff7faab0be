//! When a Mirror's runs are due: a cron expression in a time zone, with jitter that is always the same for one Mirror
//! and slot.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use fleet_api::mirror::SyncSpec;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::names;

/// So many of the next times between two slots are looked at: a week of days and one more.
const NEXT_TIMES: usize = 8;

/// A schedule that was read and understood.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
    jitter: u64,
    seed: String,
}

/// The zone of that name. The default one needs no database of zones, whose reading would be a good part of a short run.
fn zone(name: &str) -> Option<TimeZone> {
    match name {
        "Etc/UTC" | "UTC" => Some(TimeZone::UTC),
        name => TimeZone::get(name).ok(),
    }
}

impl Schedule {
    /// `seed` sets this Mirror's jitter apart from others'; its uid serves.
    pub fn new(spec: &SyncSpec, seed: &str) -> Result<Schedule, String> {
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let given = spec.cron(seed);
        let cron = parser.parse(&given).map_err(|error| {
            format!(
                "spec.sync.schedule: {given:?} is not a cron expression ({error}); write five fields, for example `17 */4 * * *`"
            )
        })?;
        let zone = zone(&spec.time_zone).ok_or_else(|| {
            format!(
                "spec.sync.timeZone: {:?} is no time zone; write an IANA name, for example `Etc/UTC` or `Europe/Berlin`",
                spec.time_zone
            )
        })?;
        let jitter = spec.jitter_or_default().as_secs();
        Ok(Schedule {
            cron,
            zone,
            jitter,
            seed: seed.to_owned(),
        })
    }

    /// The first slot after `after`, and the instant at which its run is due. None where the expression has no next
    /// slot (the 30th of February).
    pub fn next_after(&self, after: Timestamp) -> Option<Slot> {
        let next = self
            .cron
            .find_next_occurrence(&after.to_zoned(self.zone.clone()), false)
            .ok()?
            .timestamp();
        Some(Slot {
            at: next,
            due: next.checked_add(self.jitter_of(next)).unwrap_or(next),
        })
    }

    /// The longest of the next times between two slots, in seconds: of several, since a schedule may rest at weekends.
    pub fn interval(&self, after: Timestamp) -> Option<u64> {
        let next = |slot: &Timestamp| self.next_after(*slot).map(|slot| slot.at);
        let slots = std::iter::successors(next(&after), next).take(NEXT_TIMES + 1);
        let slots: Vec<i64> = slots.map(|slot| slot.as_second()).collect();
        let pairs = slots.iter().zip(slots.iter().skip(1));
        pairs.map(|(one, next)| next.abs_diff(*one)).max()
    }

    /// What sets this Mirror apart from others.
    pub(crate) fn seed(&self) -> &str {
        &self.seed
    }

    fn jitter_of(&self, slot: Timestamp) -> SignedDuration {
        match self.jitter {
            0 => SignedDuration::ZERO,
            jitter => seconds(spread(&[&self.seed, &slot.as_second().to_string()], jitter)),
        }
    }
}

/// One slot of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// When the expression says.
    pub at: Timestamp,
    /// With jitter.
    pub due: Timestamp,
}

/// A number from 0 to `most`, spread evenly over all parts and the same for the same parts.
pub fn spread(parts: &[&str], most: u64) -> u64 {
    let digits: String = names::hash(parts).chars().take(16).collect();
    u64::from_str_radix(&digits, 16).unwrap_or(0) % most.saturating_add(1).max(1)
}

pub fn seconds(seconds: u64) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// `start + duration`, or the end of time.
pub fn later(start: Timestamp, duration: SignedDuration) -> Timestamp {
    start.checked_add(duration).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(cron: &str, zone: &str, jitter: Option<&str>) -> Schedule {
        let spec = SyncSpec {
            schedule: Some(cron.to_owned()),
            time_zone: zone.to_owned(),
            jitter: jitter.map(|text| text.parse().unwrap()),
            ..SyncSpec::default()
        };
        Schedule::new(&spec, "uid").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn slots_follow_the_time_zone_over_the_change_to_summer_time() {
        let berlin = schedule("0 6 * * *", "Europe/Berlin", None);
        assert_eq!(
            berlin.next_after(at("2026-03-28T00:00:00Z")).unwrap().at,
            at("2026-03-28T05:00:00Z")
        );
        assert_eq!(
            berlin.next_after(at("2026-03-29T00:00:00Z")).unwrap().at,
            at("2026-03-29T04:00:00Z")
        );
    }

    #[test]
    fn a_slot_is_followed_by_the_next_and_never_by_itself() {
        let hourly = schedule("0 * * * *", "Etc/UTC", None);
        assert_eq!(
            hourly.next_after(at("2026-01-01T01:00:00Z")).unwrap().at,
            at("2026-01-01T02:00:00Z")
        );
    }

    #[test]
    fn jitter_stays_within_its_bound_and_is_the_same_every_time() {
        let jittered = schedule("0 * * * *", "Etc/UTC", Some("20m"));
        let slots: Vec<_> = (0..24)
            .map(|hour| {
                jittered
                    .next_after(at("2026-01-01T00:30:00Z") + seconds(hour * 3600))
                    .unwrap()
            })
            .collect();
        assert!(
            slots
                .iter()
                .all(|slot| slot.due >= slot.at && slot.due <= slot.at + seconds(1200))
        );
        assert!(
            slots
                .windows(2)
                .any(|pair| pair[0].due.duration_since(pair[0].at)
                    != pair[1].due.duration_since(pair[1].at))
        );
        assert_eq!(
            jittered.next_after(at("2026-01-01T00:30:00Z")),
            Some(slots[0])
        );
    }

    #[test]
    fn the_interval_is_the_longest_time_between_two_slots() {
        let interval = |cron: &str| {
            let friday = at("2026-01-02T12:00:00Z");
            schedule(cron, "Etc/UTC", Some("20m")).interval(friday)
        };
        assert_eq!(interval("17 */4 * * *"), Some(4 * 3600));
        assert_eq!(interval("0 6,18 * * *"), Some(12 * 3600));
        assert_eq!(interval("0 6,9 * * *"), Some(21 * 3600));
        assert_eq!(
            interval("0 6 * * 1-5"),
            Some(3 * 86400),
            "it rests at weekends"
        );
        assert_eq!(interval("0 0 30 2 *"), None, "a day that never comes");
    }

    #[test]
    fn what_cannot_be_read_names_the_field_and_shows_how_to_write_it() {
        let wrong = SyncSpec {
            schedule: Some("every day".to_owned()),
            ..SyncSpec::default()
        };
        assert!(
            Schedule::new(&wrong, "")
                .unwrap_err()
                .contains("spec.sync.schedule")
        );
        let six = SyncSpec {
            schedule: Some("0 0 * * * *".to_owned()),
            ..SyncSpec::default()
        };
        assert!(Schedule::new(&six, "").is_err(), "seconds are not offered");
        let nowhere = SyncSpec {
            time_zone: "Mars/Olympus".to_owned(),
            ..SyncSpec::default()
        };
        assert!(
            Schedule::new(&nowhere, "")
                .unwrap_err()
                .contains("spec.sync.timeZone")
        );
        assert_eq!(
            schedule("0 0 30 2 *", "Etc/UTC", None).next_after(at("2026-01-01T00:00:00Z")),
            None
        );
    }
}
