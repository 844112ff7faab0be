//! When a copy's next run is due, and why: one rule, for the controller and for `mirrorfleet local`. It looks at plain
//! values; what they mean in a status or in a process's memory is for who fills [`History`].

use fleet_api::Trigger;
use fleet_api::mirror::{Retries, SyncSpec};
use fleet_api::upstream::Politeness;
use jiff::{SignedDuration, Timestamp};

use crate::schedule::{Schedule, later, seconds, spread};

/// Between the starts of two runs of which the second was asked for by a push.
const LEAST_BETWEEN_PUSHES: SignedDuration = SignedDuration::from_mins(1);
/// Retries never wait longer than this, in seconds.
const LONGEST_BACKOFF: u64 = 6 * 3600;

/// What is declared.
#[derive(Debug, Clone)]
pub struct Timing {
    pub schedule: Schedule,
    pub retries: Retries,
    /// Least time between the starts of two rounds that nobody asked for.
    pub min_interval: SignedDuration,
    /// Whether a new state of the authority makes a run due.
    pub on_upstream_change: bool,
}

impl Timing {
    /// `seed` sets this Mirror's minutes apart from others': its uid, or its name where there is no cluster to give one.
    /// Errors name the field.
    pub fn new(sync: &SyncSpec, politeness: &Politeness, seed: &str) -> Result<Timing, String> {
        let interval = politeness.min_interval;
        Ok(Timing {
            schedule: Schedule::new(sync, seed)?,
            retries: sync.retries.clone(),
            min_interval: interval.map_or(SignedDuration::ZERO, |least| seconds(least.as_secs())),
            on_upstream_change: sync.on_upstream_change,
        })
    }
}

/// What happened to one copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Since when it is declared: the first run is due then.
    pub declared_at: Timestamp,
    /// The newest run that ended.
    pub last: Option<Ended>,
    /// When the newest round began that nobody asked for. A round is a run with its retries.
    pub round_started_at: Option<Timestamp>,
    /// What a person asked for and no run has answered.
    pub request: Option<String>,
    /// The declaration, where it is not what the last run carried out.
    pub edited: Option<String>,
    /// When somebody last said that the upstream has something new.
    pub pushed_at: Option<Timestamp>,
    /// When the authority was first seen to have what no run here has taken.
    pub news_at: Option<Timestamp>,
    /// Since when its volume exists; one that is newer than the last run is empty.
    pub volume_since: Option<Timestamp>,
    /// Since when a process runs that syncs when it starts. That nobody asked for either; it takes the slot's place.
    pub started_up_at: Option<Timestamp>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub good: bool,
    /// 0 for the first run of a round, n for its nth retry.
    pub retry: i32,
    /// The upstream asked not to be visited before.
    pub not_before: Option<Timestamp>,
}

/// A run that is due at some instant, past or future.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub trigger: Trigger,
    pub at: Timestamp,
    pub retry: i32,
    /// What tells it from other runs of the same trigger.
    pub occasion: String,
}

impl Due {
    fn new(trigger: Trigger, at: Timestamp, occasion: impl ToString) -> Due {
        Due {
            trigger,
            at,
            retry: 0,
            occasion: occasion.to_string(),
        }
    }
}

/// Whether a run begins a round that nobody asked for.
pub fn begins_round(trigger: Trigger) -> bool {
    match trigger {
        Trigger::First | Trigger::Schedule | Trigger::UpstreamChange => true,
        Trigger::Request
        | Trigger::SpecChange
        | Trigger::Push
        | Trigger::Retry
        | Trigger::Follow => false,
    }
}

/// The next run; none where the schedule names a day that never comes and nothing else is due.
pub fn next(timing: &Timing, history: &History) -> Option<Due> {
    let Some(last) = &history.last else {
        return Some(Due::new(Trigger::First, history.declared_at, "first"));
    };
    let polite = |at: Timestamp| last.not_before.map_or(at, |wait| at.max(wait));
    let refill = history
        .volume_since
        .filter(|since| *since > last.started_at);
    let candidates = [
        refill.map(|since| Due::new(Trigger::First, polite(since), since)),
        // A person's wish comes before the upstream's to be left alone.
        (history.request.as_ref())
            .map(|wanted| Due::new(Trigger::Request, last.finished_at, wanted)),
        (history.edited.as_ref())
            .map(|edited| Due::new(Trigger::SpecChange, polite(last.finished_at), edited)),
        pushed(history, last).map(|due| Due {
            at: polite(due.at),
            ..due
        }),
        retry(timing, last).map(|due| Due {
            at: polite(due.at),
            ..due
        }),
        changed(timing, history, last).map(|due| Due {
            at: polite(due.at),
            ..due
        }),
        scheduled(timing, history, last).map(|due| Due {
            at: polite(due.at),
            ..due
        }),
    ];
    // The first of several that are due at once: the order above is that of importance.
    candidates.into_iter().flatten().min_by_key(|due| due.at)
}

/// Doubled each time, with up to a quarter of jitter that is the same for the same run.
fn retry(timing: &Timing, last: &Ended) -> Option<Due> {
    let done = u32::try_from(last.retry).unwrap_or(0);
    if last.good || done >= timing.retries.limit {
        return None;
    }
    let first = timing.retries.backoff.as_secs().max(1);
    let doubled = first.saturating_mul(1 << done.min(20));
    let wait = doubled.min(LONGEST_BACKOFF);
    let began = last.started_at.to_string();
    let jitter = spread(&[timing.schedule.seed(), &began], wait / 4);
    Some(Due {
        retry: last.retry + 1,
        ..Due::new(
            Trigger::Retry,
            later(last.finished_at, seconds(wait + jitter)),
            began,
        )
    })
}

/// The first slot after the last run began: slots that were missed since are one run.
fn scheduled(timing: &Timing, history: &History, last: &Ended) -> Option<Due> {
    let (slot, due) = match history.started_up_at {
        Some(at) => (at, at),
        None => {
            let slot = timing.schedule.next_after(last.started_at)?;
            (slot.at, slot.due)
        }
    };
    let at = after_least_interval(timing, history, due);
    Some(Due::new(Trigger::Schedule, at, slot))
}

/// However often somebody says so, and also while a run goes on: one run that began after the last word of it. It waits neither
/// for the schedule nor for the least interval, but runs begin no oftener than once a minute, whoever has the token.
fn pushed(history: &History, last: &Ended) -> Option<Due> {
    let pushed_at = history.pushed_at.filter(|at| *at > last.started_at)?;
    let rested = later(last.started_at, LEAST_BETWEEN_PUSHES);
    let at = pushed_at.max(last.finished_at).max(rested);
    Some(Due::new(Trigger::Push, at, pushed_at))
}

/// Once for each state: a run that began after it was seen has met it, whatever came of that.
fn changed(timing: &Timing, history: &History, last: &Ended) -> Option<Due> {
    let news_at = (history.news_at)
        .filter(|seen_at| timing.on_upstream_change && *seen_at > last.started_at)?;
    let at = after_least_interval(timing, history, news_at.max(last.finished_at));
    Some(Due::new(Trigger::UpstreamChange, at, news_at))
}

/// The earliest instant from `at` on at which a round may begin that nobody asked for.
fn after_least_interval(timing: &Timing, history: &History, at: Timestamp) -> Timestamp {
    let earliest = (history.round_started_at).map(|round| later(round, timing.min_interval));
    earliest.map_or(at, |earliest| at.max(earliest))
}

#[cfg(test)]
mod tests;
