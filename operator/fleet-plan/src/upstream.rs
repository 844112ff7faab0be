//! Planning an Upstream: what its authority has, whether it answers, and when to ask again.

mod concerns;
mod endpoints;
mod keyring;
mod prober;
mod seen;
mod unusable;

use fleet_api::upstream::{ObservedUnit, Signatures, Upstream, UpstreamStatus, UpstreamType};
use fleet_api::{ConditionStatus, ConditionType};
use fleet_types::{Outcome, Reason};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

pub use self::concerns::concerns;
pub use self::prober::{Errand, Heard, Prober, ProberPlan};
pub use self::seen::{ObservedUpstream, Probe, ProbeAnswer, SeenAttempt, confirmed};
use self::unusable::{silent, unusable};
use crate::freshness::{Confirmed, Found, observe, probe_interval};
use crate::plan::PlannedEvent;
use crate::schedule::later;
use crate::verdict::{Verdict, conditions, said, stands};

/// The decision for one Upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamPlan {
    /// The units to ask about now; none when nothing is due or the authority may not be probed.
    pub probe: Vec<String>,
    /// The endpoints to ask about all units now; none before the authority was.
    pub probe_endpoints: Vec<String>,
    /// What is to be done about the Jobs that ask where the controller may not.
    pub prober: ProberPlan,
    pub status: UpstreamStatus,
    pub status_changed: bool,
    pub events: Vec<PlannedEvent>,
    pub wake_at: Option<Timestamp>,
}

/// Decides about one Upstream. One that needs a Secret is asked by a Job: the controller may not read it. So are rsync
/// endpoints of any.
pub fn plan_upstream(upstream: &Upstream, seen: &ObservedUpstream) -> UpstreamPlan {
    let before = upstream.status.clone().unwrap_or_default();
    let generation = upstream.metadata.generation.unwrap_or(0);
    let mut units = seen.units.clone();
    units.sort();
    units.dedup();
    let asks_itself = !upstream.spec.needs_secrets();
    let told_by_syncs = told_by_syncs(upstream, &seen.attempts);
    let interval = probe_interval(upstream);
    let dues = units.iter().filter(|_| asks_itself).map(|unit| {
        let last = seen.probes.iter().find(|probe| probe.unit == *unit);
        (
            unit,
            last.map_or(seen.now, |probe| later(probe.at, interval)),
        )
    });
    let (due, waiting): (Vec<_>, Vec<_>) = dues.partition(|(_, at)| *at <= seen.now);
    let (endpoints_due, endpoints_wait) = match asks_itself && due.is_empty() {
        true => endpoints::due(upstream, &units, seen, interval),
        false => (Vec::new(), None),
    };
    // Other endpoints may have an older state than the authority, so runs that ask them tell nothing of it.
    let confirmed: &[Confirmed] = match upstream.spec.endpoints.is_empty() {
        true => &seen.confirmed[..],
        false => &[],
    };
    let revision: Vec<ObservedUnit> = units
        .iter()
        .filter_map(|unit| unit_of(unit, &before, seen, told_by_syncs, confirmed))
        .collect();
    let failure = seen.prober.failure(seen.now, &before.conditions);
    let failure = failure.filter(|_| !units.is_empty());
    let reachable = (failure.clone())
        .filter(|_| !asks_itself)
        .unwrap_or_else(|| reachable(upstream, &units, seen, told_by_syncs, &before.conditions));
    let unusable = unusable(seen)
        .or_else(|| silent(&units, seen, &before.conditions).filter(|_| !told_by_syncs));
    let edit = unusable
        .clone()
        .filter(|verdict| verdict.reason.outcome() == Outcome::Manifest);
    let key_expires_at = key_expires_at(&seen.attempts, &before);
    let expires_at = key_expires_at.as_ref().map(|at| at.0);
    let mut verdicts = vec![(ConditionType::Ready, ready(&reachable, unusable))];
    verdicts.extend(edit.map(|verdict| {
        let stalled = Verdict::yes(verdict.reason, verdict.message);
        (ConditionType::Stalled, stalled)
    }));
    verdicts.extend([
        (ConditionType::Reachable, reachable),
        (
            ConditionType::Consistent,
            consistent(&seen.attempts, &before.conditions),
        ),
        (
            ConditionType::KeyringHealthy,
            keyring::healthy(upstream, seen, expires_at, &before.conditions),
        ),
    ]);
    let prober = seen.prober.plan(upstream, &units, seen);
    // Where a Job asks the authority too, `Reachable` says so.
    let unasked = failure.filter(|_| asks_itself);
    let status = UpstreamStatus {
        observed_generation: generation,
        revision_date: revision.iter().filter_map(|unit| unit.date.clone()).max(),
        key_expires_at,
        endpoints: endpoints::told(upstream, &units, seen, (&revision, unasked), &before),
        revision,
        conditions: conditions(verdicts, &before.conditions, generation, seen.now),
    };
    UpstreamPlan {
        probe: due.into_iter().map(|(unit, _)| unit.clone()).collect(),
        probe_endpoints: endpoints_due,
        wake_at: (waiting.into_iter().map(|(_, at)| at))
            .chain(endpoints_wait)
            .chain(prober.wake_at)
            .chain(keyring::look_again(expires_at, seen.now))
            .min(),
        prober,
        events: events(&before.conditions, &status.conditions),
        status_changed: upstream.status.as_ref() != Some(&status),
        status,
    }
}

/// Whether probes that tell nothing mean nothing. An archive that nobody signs need not have a Release, and an
/// authority of Arch may give its clock only, which is all that a probe could read: its state is known to runs alone, and
/// that the last one succeeded is what is known of its authority.
fn told_by_syncs(upstream: &Upstream, attempts: &[SeenAttempt]) -> bool {
    let succeeded =
        |attempt: &SeenAttempt| attempt.unit.is_none() && attempt.reason.outcome() == Outcome::Good;
    upstream.spec.trust.signatures == Signatures::None && attempts.iter().any(succeeded)
}

fn unit_of(
    unit: &str,
    before: &UpstreamStatus,
    seen: &ObservedUpstream,
    told_by_syncs: bool,
    confirmed: &[Confirmed],
) -> Option<ObservedUnit> {
    let known = before.revision.iter().find(|known| known.unit == unit);
    let probe = seen.probes.iter().find(|probe| probe.unit == unit);
    let found = probe.and_then(|probe| Found::of(probe, confirmed));
    let Some(found) = found else {
        return known.filter(|_| probe.is_none() || !told_by_syncs).cloned();
    };
    Some(observe(known, unit, &found))
}

fn reachable(
    upstream: &Upstream,
    units: &[String],
    seen: &ObservedUpstream,
    told_by_syncs: bool,
    before: &[Condition],
) -> Verdict {
    if upstream.spec.upstream_type == UpstreamType::Npm {
        return Verdict::unknown(
            Reason::NotProbed,
            "a registry has no revision to ask for: it is asked for each package when a client wants it",
        );
    }
    if units.is_empty() {
        return Verdict::unknown(
            Reason::NotProbed,
            "no Mirror asks for anything of this Upstream",
        );
    }
    let mut answers = Vec::new();
    for unit in units {
        let probe = seen.probes.iter().find(|probe| probe.unit == *unit);
        answers.extend(probe.map(|probe| (unit, &probe.answer)));
    }
    let failed = answers.iter().find_map(|(unit, answer)| match answer {
        ProbeAnswer::Failed { reason, message } => Some((unit, *reason, message)),
        ProbeAnswer::Has { .. } => None,
    });
    match failed {
        Some((unit, _, message)) if told_by_syncs => Verdict::unknown(
            Reason::NotProbed,
            format!(
                "{unit}: nobody signs it, and a probe cannot tell which state the authority has ({message}); sync runs read \
                 its indices, and the last one succeeded"
            ),
        ),
        Some((unit, reason, message)) => Verdict::no(reason, format!("{unit}: {message}")),
        None if answers.len() == units.len() => {
            Verdict::yes(Reason::Reachable, "the authority answers")
        }
        // After a start nothing was asked yet: what was said before stands until something is.
        None => stands(
            ConditionType::Reachable,
            before,
            "the authority was not asked yet",
        ),
    }
}

/// The earliest that the runs tell which succeeded. While none has, what was said before stands; without a Mirror there is
/// nothing to say.
fn key_expires_at(attempts: &[SeenAttempt], before: &UpstreamStatus) -> Option<Time> {
    let mut good = (attempts.iter())
        .filter(|attempt| attempt.reason.outcome() == Outcome::Good)
        .peekable();
    match good.peek() {
        Some(_) => good.filter_map(|run| run.key_expires_at).min().map(Time),
        None if attempts.is_empty() => None,
        None => before.key_expires_at.clone(),
    }
}

/// Whether the upstream tells one truth, as the runs of its Mirrors found it.
fn consistent(attempts: &[SeenAttempt], before: &[Condition]) -> Verdict {
    // The first in a fixed order, so that several do not take turns.
    let contradiction = attempts
        .iter()
        .filter(|attempt| attempt.reason.is_contradiction())
        .min();
    if let Some(attempt) = contradiction {
        return Verdict::no(attempt.reason, attempt.told());
    }
    let mut outcomes = attempts.iter().map(|attempt| attempt.reason.outcome());
    if outcomes.any(|outcome| matches!(outcome, Outcome::Good | Outcome::Refused)) {
        return Verdict::yes(
            Reason::Consistent,
            "no run found the upstream to contradict itself",
        );
    }
    // A run that did not come so far says nothing.
    stands(
        ConditionType::Consistent,
        before,
        "no run has compared anything yet",
    )
}

/// An Upstream is ready to be used unless its authority or what runs need cannot be; one that does not answer now and
/// then touches `Reachable` only.
fn ready(reachable: &Verdict, unusable: Option<Verdict>) -> Verdict {
    if let Some(verdict) = unusable {
        return verdict;
    }
    let message = match reachable.status {
        ConditionStatus::False => format!(
            "Mirrors may use it; the authority does not answer as it should: {}",
            reachable.message
        ),
        _ => "Mirrors may use it".to_owned(),
    };
    Verdict::yes(Reason::Ready, message)
}

fn events(before: &[Condition], after: &[Condition]) -> Vec<PlannedEvent> {
    let kinds = [
        (ConditionType::Reachable, "Probe"),
        (ConditionType::Consistent, "Sync"),
        (ConditionType::KeyringHealthy, "Sync"),
    ];
    kinds
        .into_iter()
        .filter_map(|(kind, action)| event(kind, action, before, after))
        .collect()
}

/// Of a condition that was lost or is back.
fn event(
    kind: ConditionType,
    action: &'static str,
    before: &[Condition],
    after: &[Condition],
) -> Option<PlannedEvent> {
    let (was, is) = (said(kind, before), said(kind, after)?);
    let was_lost = was.filter(|was| was.is(ConditionStatus::False));
    let lost = is.is(ConditionStatus::False)
        && (was_lost.as_ref()).is_none_or(|was| was.reason != is.reason);
    let back = is.is(ConditionStatus::True) && was_lost.is_some();
    let event = PlannedEvent {
        warning: lost,
        reason: is.reason,
        action,
        message: is.message,
    };
    (lost || back).then_some(event)
}
