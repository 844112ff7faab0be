//! How reliably, how late and how fast a region has answered in the last day: what archweb tells of each mirror of Arch
//! Linux, by its formulas. <https://github.com/archlinux/archweb/blob/master/mirrors/utils.py>, and for people
//! <https://archlinux.org/mirrors/status/>.
//!
//! Of checks only sums by the hour are kept, so what a region costs does not grow. Instants are Unix seconds.

use fleet_types::documents::ServedStatus;
use fleet_types::gauges::CheckGauges;

/// Checks before the last so many seconds do not count.
pub const CUTOFF: i64 = 24 * HOUR;
/// How long after each other a region is checked, in seconds.
pub const PERIOD: u64 = 30;
/// A region whose mean delay is longer, in seconds, is listed by archweb among those that are out of sync.
const OUT_OF_SYNC: f64 = 3.0 * 24.0 * 3600.0;
const HOUR: i64 = 3600;
/// The hour that has begun, and those before it of which all is within the cutoff.
const HOURS: i64 = CUTOFF / HOUR;
/// Clocks that differ by no more are well. Whoever is told of a later time than that has been told nothing.
const TOLERATED_SKEW: i64 = 300;

/// What became of asking one copy of a region what it serves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Question {
    /// It is there, and has not been asked since the last check.
    NotAsked,
    Failed,
    Answered {
        /// From the connection to the last byte.
        seconds: f64,
        /// See [`last_sync`].
        last_sync: Option<i64>,
    },
}

/// Until when what a copy serves was what its upstream had; none where it serves nothing, or nobody knows.
///
/// Where the upstream has a heartbeat (`lastsync` of Arch Linux) that is what the copy repeats of it, as checkers see it. Else
/// it is when a run last found what is served to be what the upstream has, `confirmed_at`; and no later than the authority
/// was seen to go on, `superseded_at`.
pub fn last_sync(
    served: &ServedStatus,
    confirmed_at: Option<i64>,
    superseded_at: Option<i64>,
) -> Option<i64> {
    served.snapshot.as_ref()?;
    let confirmed = || {
        let confirmed = confirmed_at?;
        Some(superseded_at.map_or(confirmed, |since| since.min(confirmed)))
    };
    served.last_sync.map(|at| at.0).or_else(confirmed)
}

/// A region, asked once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Check {
    pub at: i64,
    /// How long the answer took; none where there was none.
    pub seconds: Option<f64>,
    /// A check succeeds if it tells that.
    pub last_sync: Option<i64>,
}

impl Check {
    /// Of what became of asking each copy of a region at `at`. One that answers is enough, as clients are led to it; where there
    /// is none to ask, nobody answers. None where it is not known: what nobody asked is neither good nor bad.
    pub fn of(at: i64, questions: &[Question]) -> Option<Check> {
        let answers = questions.iter().filter_map(|question| match *question {
            Question::Answered { seconds, last_sync } => Some(Check {
                at,
                seconds: Some(seconds),
                last_sync: last_sync.filter(|sync| *sync <= at.saturating_add(TOLERATED_SKEW)),
            }),
            _ => None,
        });
        let rank = |check: &Check| (check.last_sync.is_none(), check.seconds);
        let best = answers.min_by(|a, b| {
            let order = rank(a).partial_cmp(&rank(b));
            order.unwrap_or(std::cmp::Ordering::Equal)
        });
        let is_unknown = best.is_none() && questions.contains(&Question::NotAsked);
        let nobody = Check {
            at,
            seconds: None,
            last_sync: None,
        };
        (!is_unknown).then(|| best.unwrap_or(nobody))
    }
}

/// The checks of one region in the last day.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checks {
    /// In order, no more than [`HOURS`].
    hours: Vec<Hour>,
}

/// The checks of one hour.
#[derive(Debug, Clone, Default, PartialEq)]
struct Hour {
    /// In hours since 1970.
    hour: i64,
    first: i64,
    last: i64,
    checks: u32,
    successes: u32,
    /// Of those that succeeded, together.
    delay: f64,
    last_sync: Option<i64>,
    durations: Moments,
}

impl Checks {
    pub fn note(&mut self, check: Check) {
        let hour = check.at.div_euclid(HOUR);
        // Hours that have yet to come are of a clock that was set.
        self.hours.retain(|known| is_counted(known, hour));
        if self.hours.last().is_none_or(|last| last.hour != hour) {
            self.hours.push(Hour {
                hour,
                first: check.at,
                last: check.at,
                ..Hour::default()
            });
        }
        if let Some(last) = self.hours.last_mut() {
            last.add(&check);
        }
    }

    /// What they come to at `now`.
    pub fn score(&self, now: i64) -> Score {
        let hour = now.div_euclid(HOUR);
        let counted = self.hours.iter().filter(|known| is_counted(known, hour));
        let mut all = Hour::default();
        counted.for_each(|known| all.merge(known));
        let successes = f64::from(all.successes);
        let told = all.checks > 0;
        Score {
            checks: all.checks,
            first_check: told.then_some(all.first),
            last_check: told.then_some(all.last),
            last_sync: all.last_sync,
            completion: told.then(|| successes / f64::from(all.checks)),
            delay: (all.successes > 0).then(|| (all.delay / successes).floor()),
            duration_avg: all.durations.mean(),
            duration_stddev: all.durations.standard_deviation(),
        }
    }
}

fn is_counted(known: &Hour, now: i64) -> bool {
    known.hour <= now && known.hour > now.saturating_sub(HOURS)
}

impl Hour {
    fn add(&mut self, check: &Check) {
        self.checks = self.checks.saturating_add(1);
        (self.first, self.last) = (self.first.min(check.at), self.last.max(check.at));
        if let Some(seconds) = check.seconds {
            self.durations.add(seconds);
        }
        if let Some(sync) = check.last_sync {
            self.successes = self.successes.saturating_add(1);
            self.delay += check.at.saturating_sub(sync).max(0) as f64;
            self.last_sync = self.last_sync.max(Some(sync));
        }
    }

    fn merge(&mut self, other: &Hour) {
        self.first = match self.checks {
            0 => other.first,
            _ => self.first.min(other.first),
        };
        self.last = self.last.max(other.last);
        self.checks = self.checks.saturating_add(other.checks);
        self.successes = self.successes.saturating_add(other.successes);
        self.delay += other.delay;
        self.last_sync = self.last_sync.max(other.last_sync);
        self.durations.merge(&other.durations);
    }
}

/// Mean and spread of numbers of which none is kept, by the updating formulas of Chan, Golub and LeVeque (1979), which lose
/// nothing to rounding where all are alike.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Moments {
    count: u32,
    mean: f64,
    /// The squares of what each differs from the mean, together.
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.merge(&Moments {
            count: 1,
            mean: value,
            squares: 0.0,
        });
    }

    fn merge(&mut self, other: &Moments) {
        let count = self.count.saturating_add(other.count);
        if other.count == 0 || count == 0 {
            return;
        }
        let (own, theirs, all) = (
            f64::from(self.count),
            f64::from(other.count),
            f64::from(count),
        );
        let apart = other.mean - self.mean;
        self.mean += apart * theirs / all;
        self.squares += other.squares + apart * apart * own * theirs / all;
        self.count = count;
    }

    fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// Of a sample, as PostgreSQL's `stddev` computes it; of one number there is none.
    fn standard_deviation(&self) -> Option<f64> {
        let others = self.count.checked_sub(1).filter(|others| *others > 0)?;
        Some((self.squares / f64::from(others)).sqrt())
    }
}

/// What checks come to. Nothing is told of what is not known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Score {
    pub checks: u32,
    pub first_check: Option<i64>,
    pub last_check: Option<i64>,
    /// The latest that any of them told.
    pub last_sync: Option<i64>,
    /// Which part of them succeeded, from 0 to 1.
    pub completion: Option<f64>,
    /// For how long on average what was served had not been known to be the upstream's, in whole seconds.
    pub delay: Option<f64>,
    /// In seconds, of those that were answered.
    pub duration_avg: Option<f64>,
    pub duration_stddev: Option<f64>,
}

impl Score {
    /// archweb's score; the lower, the better. None before a check has succeeded.
    pub fn value(&self) -> Option<f64> {
        let hours = self.delay? / HOUR as f64;
        let spread = self.duration_stddev.unwrap_or(0.0);
        Some((hours + self.duration_avg? + spread) / self.completion?)
    }

    /// Whether archweb would list it among the mirrors that are out of sync: of what was checked, what is three days late and
    /// what nothing is known of.
    pub fn is_out_of_sync(&self) -> bool {
        self.checks > 0 && self.delay.is_none_or(|delay| delay > OUT_OF_SYNC)
    }

    /// For metrics; none while nothing was checked.
    pub fn gauges(&self) -> Option<CheckGauges> {
        Some(CheckGauges {
            checks: self.checks,
            completion: self.completion?,
            delay: self.delay,
            duration_avg: self.duration_avg,
            duration_stddev: self.duration_stddev,
            score: self.value(),
        })
    }
}

#[cfg(test)]
mod tests;
