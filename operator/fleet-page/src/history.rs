//! The last 48 hours of each region, from what was seen: nobody who was not looking knows what was.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// So many hours are remembered, the one that has begun included.
pub const HOURS: usize = 48;
const HOUR: i64 = 3600;
/// Two looks that are further apart leave what was between them unknown.
const LONGEST_GAP: i64 = 120;
/// So much of an hour may be unknown, and it still counts as seen: a restart, a change of leaders.
const FORGIVEN: u16 = 180;

/// How a region stands when it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It serves, and its lag is within the objective.
    Good,
    /// It serves, and is behind for longer than the objective allows.
    Late,
    /// It serves nothing.
    Down,
    /// It serves, and nobody can tell how fresh that is.
    Untold,
}

/// What is drawn of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hour {
    /// Nobody looked or could tell, or not long enough to call it good.
    Unknown,
    Good,
    Late,
    Down,
}

/// Seconds of one hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    seen: u16,
    late: u16,
    down: u16,
}

/// One region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    /// Unix seconds of the last look.
    looked: i64,
    /// The hour that has begun, in hours since 1970; the last of `hours`.
    hour: i64,
    hours: Vec<Seen>,
}

/// What is remembered of all regions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    lines: BTreeMap<String, Line>,
}

/// 48 hours as they are drawn, the oldest first; the last has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strip {
    pub hours: [Hour; HOURS],
    /// When the last hour began.
    pub last: Timestamp,
}

impl History {
    /// The name of its document in the `state/` of a store.
    pub const DOCUMENT: &'static str = "hours";

    /// How a region stands at `now`: since the last look, if that is not long ago, it stood so too.
    pub fn note(&mut self, region: &str, standing: Standing, now: Timestamp) {
        let now = now.as_second();
        if !self.lines.contains_key(region) {
            let line = Line {
                looked: now,
                hour: now.div_euclid(HOUR),
                hours: vec![Seen::default()],
            };
            self.lines.insert(region.to_owned(), line);
        }
        if let Some(line) = self.lines.get_mut(region) {
            line.note(standing, now);
        }
    }

    /// Forgets regions that are no longer there.
    pub fn keep_only(&mut self, is_there: impl Fn(&str) -> bool) {
        self.lines.retain(|region, _| is_there(region));
    }

    /// What one store remembers of its own regions.
    pub fn part(&self, is_of: impl Fn(&str) -> bool) -> History {
        let lines = self.lines.iter().filter(|(region, _)| is_of(region));
        History {
            lines: lines
                .map(|(region, line)| (region.clone(), line.clone()))
                .collect(),
        }
    }

    /// Takes over what a store remembers; what is known already counts.
    pub fn take_up(&mut self, part: History) {
        for (region, mut line) in part.lines {
            // A document may have been written by anybody.
            line.hours.truncate(HOURS);
            if !line.hours.is_empty() {
                self.lines.entry(region).or_insert(line);
            }
        }
    }

    pub fn strip(&self, region: &str, now: Timestamp) -> Strip {
        let this = now.as_second().div_euclid(HOUR);
        let line = self.lines.get(region);
        let hour = |place: usize| {
            let hour = this - (HOURS - 1 - place) as i64;
            let elapsed = (now.as_second() - hour * HOUR).min(HOUR);
            line.and_then(|line| line.at(hour))
                .map_or(Hour::Unknown, |seen| seen.drawn(elapsed))
        };
        Strip {
            hours: std::array::from_fn(hour),
            last: Timestamp::from_second(this * HOUR).unwrap_or(now),
        }
    }
}

impl Line {
    fn note(&mut self, standing: Standing, now: i64) {
        let since = self.looked;
        self.looked = now;
        if !(0..=LONGEST_GAP).contains(&now.saturating_sub(since)) {
            // A clock that was set, or a time in which nobody looked.
            self.go_to(now.div_euclid(HOUR));
            return;
        }
        let mut from = since;
        while from < now {
            let hour = from.div_euclid(HOUR);
            let to = now.min((hour + 1) * HOUR);
            self.go_to(hour);
            if let Some(last) = self.hours.last_mut() {
                last.add(standing, to - from);
            }
            from = to;
        }
        self.go_to(now.div_euclid(HOUR));
    }

    /// Makes `hour` the last.
    fn go_to(&mut self, hour: i64) {
        if hour < self.hour {
            self.hours = vec![Seen::default()];
            self.hour = hour;
            return;
        }
        let passed = usize::try_from(hour.saturating_sub(self.hour))
            .unwrap_or(HOURS)
            .min(HOURS);
        self.hours
            .extend(std::iter::repeat_n(Seen::default(), passed));
        let old = self.hours.len().saturating_sub(HOURS);
        self.hours.drain(..old);
        self.hour = hour;
    }

    fn at(&self, hour: i64) -> Option<&Seen> {
        let back = usize::try_from(self.hour.checked_sub(hour)?).ok()?;
        let place = self.hours.len().checked_sub(back + 1)?;
        self.hours.get(place)
    }
}

impl Seen {
    fn add(&mut self, standing: Standing, seconds: i64) {
        let seconds = u16::try_from(seconds).unwrap_or(0);
        let part = match standing {
            Standing::Good => None,
            Standing::Late => Some(&mut self.late),
            Standing::Down => Some(&mut self.down),
            Standing::Untold => return,
        };
        if let Some(part) = part {
            *part = part.saturating_add(seconds);
        }
        self.seen = self.seen.saturating_add(seconds);
    }

    /// The worst that was seen; good only what was seen whole.
    fn drawn(self, elapsed: i64) -> Hour {
        let unseen = elapsed - i64::from(self.seen);
        match self {
            Seen { down: 1.., .. } => Hour::Down,
            Seen { late: 1.., .. } => Hour::Late,
            Seen { seen: 0, .. } => Hour::Unknown,
            _ if unseen > i64::from(FORGIVEN) => Hour::Unknown,
            _ => Hour::Good,
        }
    }
}

impl Strip {
    /// The worst of several hours by hour. Where one is unknown and the others are good, so is the whole.
    pub fn worst<'a>(strips: impl IntoIterator<Item = &'a Strip>) -> Option<Strip> {
        let rank = |hour: Hour| match hour {
            Hour::Good => 0,
            Hour::Unknown => 1,
            Hour::Late => 2,
            Hour::Down => 3,
        };
        strips.into_iter().cloned().reduce(|mut worst, other| {
            for (hour, other) in worst.hours.iter_mut().zip(other.hours) {
                if rank(other) > rank(*hour) {
                    *hour = other;
                }
            }
            worst
        })
    }

    pub fn count(&self, kind: Hour) -> usize {
        self.hours.iter().filter(|hour| **hour == kind).count()
    }

    /// The hours one letter each, the oldest first: `u` unknown, `g` good, `l` late, `d` down.
    pub fn letters(&self) -> String {
        let letter = |hour: &Hour| match hour {
            Hour::Unknown => 'u',
            Hour::Good => 'g',
            Hour::Late => 'l',
            Hour::Down => 'd',
        };
        self.hours.iter().map(letter).collect()
    }

    /// Times of one kind that follow each other: kind, the place of the first hour, how many.
    pub fn runs(&self) -> Vec<(Hour, usize, usize)> {
        let mut runs: Vec<(Hour, usize, usize)> = Vec::new();
        for (place, hour) in self.hours.iter().enumerate() {
            match runs.last_mut() {
                Some((kind, _, count)) if kind == hour => *count += 1,
                _ => runs.push((*hour, place, 1)),
            }
        }
        runs
    }

    /// When the hour at a place began.
    pub fn begin(&self, place: usize) -> Timestamp {
        let back = (HOURS - 1).saturating_sub(place) as i64;
        let second = self.last.as_second() - back * HOUR;
        Timestamp::from_second(second).unwrap_or(self.last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + second).unwrap()
    }

    fn looked_at(history: &mut History, standing: Standing, from: i64, to: i64) {
        for second in (from..=to).step_by(30) {
            history.note("eu", standing, at(second));
        }
    }

    #[test]
    fn hours_before_the_first_look_are_unknown_and_so_is_the_one_in_which_it_was() {
        let mut history = History::default();
        looked_at(&mut history, Standing::Good, 1800, 3 * HOUR);
        let strip = history.strip("eu", at(3 * HOUR));
        assert_eq!(strip.letters(), format!("{}ggu", "u".repeat(45)));
        // The hour has begun, and has been seen from its beginning.
        looked_at(&mut history, Standing::Good, 3 * HOUR, 3 * HOUR + 600);
        let strip = history.strip("eu", at(3 * HOUR + 600));
        assert_eq!(strip.letters(), format!("{}uggg", "u".repeat(44)));
        assert_eq!(history.strip("us", at(0)).count(Hour::Unknown), HOURS);
    }

    #[test]
    fn the_worst_of_an_hour_is_drawn_however_short_it_was() {
        let mut history = History::default();
        looked_at(&mut history, Standing::Good, 0, 1000 * 3);
        history.note("eu", Standing::Late, at(3030));
        looked_at(&mut history, Standing::Good, 3060, 2 * HOUR);
        history.note("eu", Standing::Down, at(2 * HOUR + 30));
        let strip = history.strip("eu", at(2 * HOUR + 30));
        assert!(strip.letters().ends_with("lgd"), "{}", strip.letters());
    }

    #[test]
    fn a_time_in_which_nobody_looked_is_not_good() {
        let mut history = History::default();
        looked_at(&mut history, Standing::Good, 0, HOUR + 300);
        looked_at(&mut history, Standing::Good, 2 * HOUR - 300, 3 * HOUR);
        let strip = history.strip("eu", at(3 * HOUR));
        assert!(strip.letters().ends_with("gugu"), "{}", strip.letters());
    }

    #[test]
    fn what_a_store_remembers_is_taken_up_whatever_it_holds() {
        let mut history = History::default();
        looked_at(&mut history, Standing::Good, 0, 2 * HOUR);
        let written = serde_json::to_string(&history.part(|region| region == "eu")).unwrap();
        let mut again = History::default();
        again.take_up(serde_json::from_str(&written).unwrap());
        assert_eq!(again, history);
        let long = format!(
            r#"{{"lines":{{"eu":{{"looked":0,"hour":0,"hours":[{}]}},"x":{{"looked":0,"hour":9223372036854775807,"hours":[]}}}}}}"#,
            vec![r#"{"seen":3600,"late":0,"down":0}"#; 500].join(",")
        );
        let mut odd = History::default();
        odd.take_up(serde_json::from_str(&long).unwrap());
        assert_eq!(odd.strip("eu", at(0)).count(Hour::Unknown), HOURS);
        for (looked, hour) in [
            (i64::MIN, i64::MIN),
            (i64::MAX, i64::MAX),
            (at(0).as_second(), i64::MIN),
        ] {
            let text = format!(
                r#"{{"lines":{{"eu":{{"looked":{looked},"hour":{hour},"hours":[{{"seen":65535,"late":0,"down":0}}]}}}}}}"#
            );
            let mut odd = History::default();
            odd.take_up(serde_json::from_str(&text).unwrap());
            odd.note("eu", Standing::Good, at(30));
            assert_eq!(odd.strip("eu", at(30)).count(Hour::Late), 0);
        }
    }

    #[test]
    fn of_several_regions_the_worst_is_drawn_and_one_unknown_is_not_good() {
        let (mut one, mut other) = (History::default(), History::default());
        looked_at(&mut one, Standing::Good, 0, 3 * HOUR);
        looked_at(&mut other, Standing::Late, HOUR, 2 * HOUR);
        let strips = [
            one.strip("eu", at(3 * HOUR)),
            other.strip("eu", at(3 * HOUR)),
        ];
        let worst = Strip::worst(&strips).unwrap();
        assert!(worst.letters().ends_with("uluu"), "{}", worst.letters());
    }

    proptest! {
        /// Whatever happens to the process and to the clock: an hour is drawn as good only if it was looked at and was good.
        #[test]
        fn nothing_is_good_that_was_not_seen(
            looks in proptest::collection::vec((-4000_i64..8000, 0..4_u8), 0..120),
        ) {
            let (mut history, mut now) = (History::default(), 0);
            let mut good_looks: Vec<i64> = Vec::new();
            for (step, standing) in looks {
                now += step / 40;
                let standing = match standing {
                    0 => Standing::Good,
                    1 => Standing::Late,
                    2 => Standing::Untold,
                    _ => Standing::Down,
                };
                history.note("eu", standing, at(now));
                if standing == Standing::Good {
                    good_looks.push(now);
                }
            }
            let strip = history.strip("eu", at(now));
            for (place, hour) in strip.hours.iter().enumerate() {
                let begin = strip.begin(place).as_second() - at(0).as_second();
                let looked = good_looks.iter().any(|look| (begin..=begin + HOUR).contains(look));
                prop_assert!(*hour != Hour::Good || looked);
            }
            prop_assert_eq!(strip.runs().iter().map(|run| run.2).sum::<usize>(), HOURS);
        }
    }
}
