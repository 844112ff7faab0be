//! The conditions of a Mirror: lists of small questions. Each answers with a reason (a fixed word) and a message (what
//! is wrong, where, what happens next). Messages hold instants, never ages, or a quiet fleet would write all day.

mod complaints;

use fleet_api::upstream::Signatures;
use fleet_api::{Attempt, ConditionStatus, ConditionType};
use fleet_types::{Outcome, Reason};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use self::complaints::{
    damaged, first_run_held_up, manifest_at_fault, never_synced, objects_pending, pod_held_up,
    pod_not_ready, refused, run_held_up, storage_at_fault, volume_lost, volume_pending,
    volume_refused,
};
use crate::fleet::{Fleet, Problem};
use crate::freshness::{self, Freshness};
use crate::objects::RegionObjects;
use crate::observed::Answer;
use crate::runs::Runs;
use crate::verdict::{Verdict, said};
use crate::view::RegionView;

/// One region with everything that was found out about it.
pub struct Facts<'a> {
    pub view: &'a RegionView<'a>,
    pub runs: &'a Runs,
    pub objects: &'a RegionObjects,
    pub freshness: Freshness,
    /// For whom its next run waits, as the end of a sentence, while it could start but for that.
    pub waiting: Option<String>,
}

impl Facts<'_> {
    fn name(&self) -> &str {
        self.view.name()
    }
    fn last(&self) -> Option<&Attempt> {
        self.runs.status.last_attempt.as_ref()
    }
    /// The last run's reason, if it was of this kind.
    fn last_was(&self, outcome: Outcome) -> Option<(Reason, &Attempt)> {
        let last = self
            .last()
            .filter(|last| last.reason.outcome() == outcome)?;
        Some((last.reason, last))
    }
    fn serves_something(&self) -> bool {
        self.view
            .served()
            .is_some_and(|served| served.snapshot.is_some())
    }
    /// Whether a snapshot was ever seen here.
    pub fn has_snapshot(&self) -> bool {
        self.serves_something()
            || (self.view.served().is_none() && self.view.before.snapshot.is_some())
    }
}

type Check = fn(&Facts) -> Option<Problem>;

/// What speaks against "this Mirror serves verified content" and is the root of all else that does.
const ROOTS: &[Check] = &[volume_lost, volume_refused, pod_held_up, first_run_held_up];
/// What editing a manifest, Secret or ConfigMap would mend.
const STALLED: &[Check] = &[manifest_at_fault];
/// What is still on its way.
const RECONCILING: &[Check] = &[
    volume_refused,
    pod_held_up,
    first_run_held_up,
    objects_pending,
    never_synced,
    pod_not_ready,
];
const SERVING: &[Check] = &[pod_not_ready];
const STORAGE: &[Check] = &[volume_lost, volume_pending, storage_at_fault, damaged];
const VERIFIED: &[Check] = &[refused];

/// The first region's first answer.
fn first(checks: &[Check], facts: &[Facts]) -> Option<Problem> {
    checks.iter().find_map(|check| facts.iter().find_map(check))
}

/// All conditions of a Mirror that can be carried out; those that are not listed are absent.
pub fn verdicts(
    fleet: &Fleet,
    facts: &[Facts],
    before: &[Condition],
    now: Timestamp,
) -> Vec<(ConditionType, Verdict)> {
    let stalled = first(STALLED, facts);
    let reconciling = first(RECONCILING, facts).filter(|_| stalled.is_none());
    let mut verdicts = vec![(ConditionType::Ready, ready(fleet, facts))];
    verdicts.extend(stalled.map(|problem| {
        (
            ConditionType::Stalled,
            Verdict::yes(problem.reason, problem.message),
        )
    }));
    verdicts.extend(reconciling.map(|problem| {
        (
            ConditionType::Reconciling,
            Verdict::yes(problem.reason, problem.message),
        )
    }));
    verdicts.extend([
        (ConditionType::Verified, verified(fleet, facts, before)),
        (ConditionType::Fresh, fresh(fleet, facts, before, now)),
        (
            ConditionType::Serving,
            plain(
                SERVING,
                facts,
                Reason::Serving,
                "every serving pod is ready",
            ),
        ),
        (ConditionType::StorageReady, storage(facts, before)),
    ]);
    verdicts
}

fn plain(checks: &[Check], facts: &[Facts], good: Reason, message: &str) -> Verdict {
    first(checks, facts).map_or_else(|| Verdict::yes(good, message), Verdict::from)
}

fn ready(fleet: &Fleet, facts: &[Facts]) -> Verdict {
    if let Some(problem) = not_ready(fleet, facts) {
        return problem.into();
    }
    let content = if unsigned(fleet) {
        "content that nobody vouches for"
    } else {
        "verified content"
    };
    let serves = format!("{0} of {0} regions serve {content}", facts.len());
    if fleet.spec.suspend {
        return Verdict::yes(
            Reason::Suspended,
            format!("{serves}; spec.suspend stops new syncs"),
        );
    }
    match facts.iter().find_map(remark) {
        Some(words) => Verdict::yes(Reason::Ready, format!("{serves}; {words}")),
        None => Verdict::yes(Reason::Ready, serves),
    }
}

/// What speaks against "this Mirror serves verified content", the root first.
fn not_ready(fleet: &Fleet, facts: &[Facts]) -> Option<Problem> {
    let synced = facts.iter().all(Facts::has_snapshot);
    first(ROOTS, facts)
        .or_else(|| first(STALLED, facts).filter(|_| !synced))
        .or_else(|| {
            let suspended = fleet.spec.suspend && !synced;
            let message =
                "no snapshot exists and spec.suspend stops the first sync: set it to false";
            suspended.then(|| Problem::new(Reason::Suspended, message))
        })
        .or_else(|| first(&[never_synced, pod_not_ready], facts))
}

/// Whether the Upstream's manifest says that nobody's signature is looked at.
fn unsigned(fleet: &Fleet) -> bool {
    fleet.upstream_spec().trust.signatures == Signatures::None
}

/// What does not take back what is served, and is said all the same.
fn remark(facts: &Facts) -> Option<String> {
    let held_up = run_held_up(facts).map(|problem| problem.message);
    let waiting = || {
        let words = facts.waiting.as_ref()?;
        Some(format!("the next sync of region {} {words}", facts.name()))
    };
    held_up.or_else(|| failing(facts)).or_else(waiting)
}

/// The last run failed.
fn failing(facts: &Facts) -> Option<String> {
    let last = facts
        .last()
        .filter(|last| last.reason.outcome() != Outcome::Good)?;
    Some(format!(
        "the last sync of region {} failed: {}: {}",
        facts.name(),
        last.reason,
        last.message
    ))
}

fn verified(fleet: &Fleet, facts: &[Facts], before: &[Condition]) -> Verdict {
    if let Some(problem) = first(VERIFIED, facts) {
        return problem.into();
    }
    if unsigned(fleet) {
        let upstream = &fleet.spec.upstream_ref.name;
        return Verdict::unknown(
            Reason::NotVerified,
            format!(
                "trust.signatures of Upstream {upstream} is None: nobody vouches for what it sends"
            ),
        );
    }
    if facts
        .iter()
        .all(|facts| facts.last_was(Outcome::Good).is_some())
    {
        return Verdict::yes(
            Reason::Verified,
            "everything was verified when it was last synced",
        );
    }
    // A run that could not reach the upstream says nothing about signatures: what was said before stands.
    said(ConditionType::Verified, before)
        .filter(|known| !known.is(ConditionStatus::Unknown))
        .unwrap_or_else(|| Verdict::unknown(Reason::FirstSyncPending, "nothing was verified yet"))
}

/// What was said before stands while a pod that it is about has not been asked.
fn held(kind: ConditionType, facts: &[Facts], before: &[Condition]) -> Option<Verdict> {
    let not_asked = facts.iter().any(|facts| facts.view.not_asked());
    said(kind, before).filter(|_| not_asked)
}

fn storage(facts: &[Facts], before: &[Condition]) -> Verdict {
    let damaged = || {
        held(ConditionType::StorageReady, facts, before)
            .filter(|known| known.reason == Reason::StoreCorrupt)
    };
    match first(STORAGE, facts) {
        Some(problem) => problem.into(),
        None => damaged()
            .unwrap_or_else(|| Verdict::yes(Reason::VolumeBound, "every region has its volume")),
    }
}

fn fresh(fleet: &Fleet, facts: &[Facts], before: &[Condition], now: Timestamp) -> Verdict {
    if let Some(known) = held(ConditionType::Fresh, facts, before) {
        return known;
    }
    if let Some(problem) = facts.iter().find_map(|facts| expired(fleet, facts, now)) {
        return problem.into();
    }
    let objective = freshness::objective(fleet);
    let stale = facts.iter().find_map(|facts| {
        let since = facts.freshness.stale_since(objective, now)?;
        Some(Problem::new(
            Reason::Stale,
            format!(
                "region {} has been behind the authority since {since}, longer than spec.freshness.objective ({}){}",
                facts.name(),
                fleet.spec.freshness.objective,
                failing(facts).map(|words| format!("; {words}")).unwrap_or_default()
            ),
        ))
    });
    if let Some(problem) = stale {
        return problem.into();
    }
    let unknown = facts.iter().find_map(|facts| match &facts.freshness {
        Freshness::Unknown(reason, message) => Some((*reason, message.clone())),
        _ => None,
    });
    if let Some((reason, message)) = unknown {
        return Verdict::unknown(reason, message);
    }
    let behind = facts
        .iter()
        .find_map(|facts| Some((facts.name(), facts.freshness.superseded_at()?)));
    if let Some((region, since)) = behind {
        let message = format!(
            "region {region} has been behind the authority since {since}, which the objective allows"
        );
        return Verdict::yes(Reason::Fresh, message);
    }
    let assumed = facts.iter().find_map(|facts| match facts.freshness {
        Freshness::Assumed(since) => Some((facts.name(), since)),
        _ => None,
    });
    match assumed {
        Some((region, since)) => Verdict::yes(
            Reason::AssumedFresh,
            format!(
                "assumed, not measured: only syncs can tell what the authority has, and region {region} had it at {since}"
            ),
        ),
        None => Verdict::yes(Reason::Fresh, "every region serves what the authority has"),
    }
}

fn expired(fleet: &Fleet, facts: &Facts, now: Timestamp) -> Option<Problem> {
    let (unit, end) = freshness::expired(facts.view.revision(), now)?;
    let words = failing(facts)
        .map(|words| format!("; {words}"))
        .unwrap_or_default();
    let what_helps = match freshness::expired_is_allowed(fleet, facts.view.revision(), unit) {
        true => {
            "which spec.verification lets through; clients need `Check-Valid-Until: no` in their sources for it"
        }
        false => "and clients refuse it; the upstream has to publish a newer one",
    };
    Some(Problem::new(
        Reason::IndexExpired,
        format!(
            "region {} serves an index of {unit} that expired at {end}, {what_helps}{words}",
            facts.name()
        ),
    ))
}

/// Whether the pod answered at all; an answer that there is no store is one.
pub fn answered(view: &RegionView) -> bool {
    matches!(view.answer, Some(Answer::Serves(_) | Answer::Nothing))
}
