//! When a region's next run is due, and why.

use fleet_api::{Attempt, RegionStatus, Trigger};
use fleet_types::Outcome;
use jiff::{SignedDuration, Timestamp};

use crate::fleet::Fleet;
use crate::report::reason_of;
use crate::schedule::{later, seconds, spread};

/// Retries never wait longer than this.
const LONGEST_BACKOFF: u64 = 6 * 3600;

/// A run that is due at some instant, past or future.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub trigger: Trigger,
    pub at: Timestamp,
    pub retry: i32,
    /// What tells it from other runs of the same trigger.
    pub occasion: String,
}

/// The next run of a region. None while `suspend` holds: a request that comes then is carried out afterwards.
/// `volume_since` is when its claim was created: a claim that is newer than the last run is empty.
pub fn next(fleet: &Fleet, status: &RegionStatus, volume_since: Option<Timestamp>) -> Option<Due> {
    if fleet.spec.suspend {
        return None;
    }
    let created = fleet
        .mirror
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let Some(last) = &status.last_attempt else {
        return Some(Due {
            trigger: Trigger::First,
            at: created,
            retry: 0,
            occasion: "first".to_owned(),
        });
    };
    let refill = volume_since
        .filter(|since| *since > last.started_at.0)
        .map(|since| Due {
            trigger: Trigger::First,
            at: not_before(last, since),
            retry: 0,
            occasion: since.to_string(),
        });
    let candidates = [
        refill,
        request(fleet, status, last),
        spec_change(fleet, last),
        retry(fleet, last),
        scheduled(fleet, status, last),
    ];
    // The first of several that are due at once: the order above is that of importance.
    candidates.into_iter().flatten().min_by_key(|due| due.at)
}

/// A person's wish comes before the upstream's to be left alone.
fn request(fleet: &Fleet, status: &RegionStatus, last: &Attempt) -> Option<Due> {
    let wanted = fleet
        .request
        .as_ref()
        .filter(|wanted| status.handled_sync_request.as_ref() != Some(wanted))?;
    Some(Due {
        trigger: Trigger::Request,
        at: last.finished_at.0,
        retry: 0,
        occasion: wanted.clone(),
    })
}

fn spec_change(fleet: &Fleet, last: &Attempt) -> Option<Due> {
    let at = not_before(last, last.finished_at.0);
    (last.inputs != fleet.inputs).then(|| Due {
        trigger: Trigger::SpecChange,
        at,
        retry: 0,
        occasion: fleet.inputs.clone(),
    })
}

/// Doubled each time, with up to a quarter of jitter that is the same for the same run.
fn retry(fleet: &Fleet, last: &Attempt) -> Option<Due> {
    let retries = &fleet.spec.sync.retries;
    let failed = reason_of(&last.reason).outcome() != Outcome::Good;
    let done = u32::try_from(last.retry).unwrap_or(0);
    if !failed || done >= retries.limit {
        return None;
    }
    let wait = retries
        .backoff
        .as_secs()
        .max(1)
        .saturating_mul(1 << done.min(20))
        .min(LONGEST_BACKOFF);
    let jitter = spread(
        &[&fleet.uid, &last.job, &last.started_at.0.to_string()],
        wait / 4,
    );
    let at = not_before(last, later(last.finished_at.0, seconds(wait + jitter)));
    Some(Due {
        trigger: Trigger::Retry,
        at,
        retry: last.retry + 1,
        occasion: last.started_at.0.to_string(),
    })
}

/// The first slot after the last run began: slots that were missed since are one run.
fn scheduled(fleet: &Fleet, status: &RegionStatus, last: &Attempt) -> Option<Due> {
    let slot = fleet.schedule.next_after(last.started_at.0)?;
    let interval = fleet.upstream_spec().politeness.min_interval;
    let interval = interval.map_or(SignedDuration::ZERO, |interval| seconds(interval.as_secs()));
    let polite = status
        .round_started_at
        .as_ref()
        .map_or(slot.due, |round| later(round.0, interval));
    Some(Due {
        trigger: Trigger::Schedule,
        at: not_before(last, slot.due.max(polite)),
        retry: 0,
        occasion: slot.at.to_string(),
    })
}

fn not_before(last: &Attempt, at: Timestamp) -> Timestamp {
    last.not_before.as_ref().map_or(at, |wait| at.max(wait.0))
}
