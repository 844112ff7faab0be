//! The whole status of a Mirror.

mod events;
mod region;
mod served;

use fleet_api::{
    AcceptedUnit, ConditionStatus, ConditionType, Fetcher, MirrorStatus, Publication,
    PublicationPhase, RegionStatus, ReplicaStatus, fetching,
};
use fleet_types::Reason;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

pub use self::events::{events, withdrawn};
use self::region::region;
pub(crate) use self::served::served_until;
use crate::claims::retained_claims;
use crate::conditions::verdicts;
use crate::fleet::Fleet;
use crate::freshness;
use crate::observed::Observed;
use crate::orders::Ordering;
use crate::report::instant;
use crate::runs::whole;
use crate::schedule::later;
use crate::site::Site;
use crate::verdict::{conditions, said};

pub fn summarise(
    fleet: &Fleet,
    sites: &[Site],
    marks: Vec<AcceptedUnit>,
    ordering: &Ordering,
    fetcher: Option<Fetcher>,
    seen: &Observed,
    next: Option<Timestamp>,
) -> MirrorStatus {
    let before = fleet.status();
    let by_region = || sites.chunk_by(|one, next| one.name() == next.name());
    let regions = by_region().map(|replicas| region(fleet, sites, replicas, seen.now));
    let regions: Vec<RegionStatus> = regions.collect();
    let serves = |site: &Site| site.view.ready() && site.has_content();
    let serving = by_region().filter(|replicas| replicas.iter().all(serves));
    let serving = serving.count();
    let verdicts = verdicts(fleet, sites, ordering, &before.conditions, seen.now);
    let generation = fleet.mirror.metadata.generation.unwrap_or(0);
    let conditions = conditions(verdicts, &before.conditions, generation, seen.now);
    let replicas = || regions.iter().flat_map(|region| &region.replicas);
    let (snapshots, units) = served::tables(sites, &regions, ordering, &before, seen.now);
    MirrorStatus {
        observed_generation: generation,
        state: Some(words(fleet, ordering, sites, &conditions)),
        snapshot: common(replicas().map(|replica| replica.snapshot.as_ref())),
        regions_ready: Some(format!("{serving}/{}", regions.len())),
        superseded_at: regions
            .iter()
            .filter_map(|region| region.superseded_at.clone())
            .min(),
        last_sync_time: oldest(of_clients(sites, &regions).map(|replica| &replica.last_success)),
        publication: (ordering.publication.clone()).map(|publication| told(publication, &regions)),
        snapshots,
        units,
        high_water: marks,
        next_sync_time: next.map(|at| Time(whole(at))),
        last_handled_sync_request: handled(fleet, &regions, &before, fetcher.as_ref()),
        fetcher,
        retained_claims: retained_claims(fleet.mirror, seen),
        conditions,
        regions,
    }
}

/// What `kubectl get` shows beside the conditions, in the way of a node's `Ready,SchedulingDisabled`.
fn words(fleet: &Fleet, ordering: &Ordering, sites: &[Site], conditions: &[Condition]) -> String {
    let reason = |kind: ConditionType, status: ConditionStatus| {
        let said = said(kind, conditions).filter(|said| said.is(status));
        said.map(|said| said.reason)
    };
    let waiting = sites.iter().any(|site| site.waiting.is_some());
    let joins = |site: &Site| site.withdrawn_at.is_some() && site.has_snapshot();
    let joins = sites.iter().any(joins);
    let when = |holds: bool, reason: Reason| holds.then_some(reason);
    let not_ready = reason(ConditionType::Ready, ConditionStatus::False);
    let mut words = vec![not_ready.unwrap_or(Reason::Serving)];
    let more = [
        reason(ConditionType::Stalled, ConditionStatus::True),
        reason(ConditionType::Fresh, ConditionStatus::False),
        when(fleet.spec.suspend, Reason::Suspended),
        when(!fleet.spec.snapshots.pinned.is_empty(), Reason::Pinned),
        when(ordering.rolled_back, Reason::RolledBack),
        when(fleet.spec.rollout.paused, Reason::RolloutPaused),
        when(ordering.halted().is_some(), Reason::CanaryFailed),
        when(ordering.trial().is_some(), Reason::CanarySoaking),
        when(joins, left_out(fleet)),
        when(waiting, Reason::WaitingForTurn),
    ];
    for word in more.into_iter().flatten() {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
        .iter()
        .map(|word| word.as_str())
        .collect::<Vec<_>>()
        .join(",")
}

/// Why a region is left out that serves something.
fn left_out(fleet: &Fleet) -> Reason {
    match fleet.is_together() {
        true => Reason::Joining,
        false => Reason::Withdrawn,
    }
}

/// The replicas that clients of their region are led to.
fn of_clients<'s>(
    sites: &[Site],
    regions: &'s [RegionStatus],
) -> impl Iterator<Item = &'s ReplicaStatus> {
    let replicas = regions.iter().flat_map(|region| &region.replicas);
    let replicas = sites.iter().zip(replicas);
    replicas.filter_map(|(site, replica)| site.counts().then_some(replica))
}

/// With how far it is.
fn told(publication: Publication, regions: &[RegionStatus]) -> Publication {
    let all = regions.iter().flat_map(|region| {
        let replicas = region.replicas.iter().enumerate();
        replicas.filter(|(number, _)| region.withdrawn(*number).is_none())
    });
    let mut replicas = all.map(|(_, replica)| replica);
    let follows = replicas.all(|replica| {
        let ordered = replica.ordered();
        ordered.is_none() || ordered == replica.snapshot.as_deref()
    });
    let phase = match (&publication.preparing, follows) {
        (Some(_), _) if publication.canary.is_some() => PublicationPhase::Canary,
        (Some(_), _) => PublicationPhase::Preparing,
        (None, false) => PublicationPhase::Publishing,
        (None, true) => PublicationPhase::Published,
    };
    Publication {
        phase: Some(phase),
        ..publication
    }
}

/// A request is handled once a run for it has begun wherever the upstream is asked.
fn handled(
    fleet: &Fleet,
    regions: &[RegionStatus],
    before: &MirrorStatus,
    fetcher: Option<&Fetcher>,
) -> Option<String> {
    let mut replicas = fetching(regions, fetcher);
    let everywhere = replicas.all(|(_, replica)| replica.handled_sync_request == fleet.request);
    if everywhere {
        fleet.request.clone()
    } else {
        before.last_handled_sync_request.clone()
    }
}

fn common<'s>(mut snapshots: impl Iterator<Item = Option<&'s String>>) -> Option<String> {
    let first = snapshots.next()??;
    snapshots
        .all(|other| other == Some(first))
        .then(|| first.clone())
}

/// The oldest of several instants; none while one is missing.
pub fn oldest<'s>(times: impl Iterator<Item = &'s Option<Time>>) -> Option<Time> {
    let all: Option<Vec<_>> = times.map(Option::as_ref).collect();
    all?.into_iter().min().cloned()
}

/// When a statement of this status ends by time alone.
pub fn expires_at(
    fleet: &Fleet,
    sites: &[Site],
    status: &MirrorStatus,
    now: Timestamp,
) -> Option<Timestamp> {
    let objective = freshness::objective(fleet);
    let behind = status
        .regions
        .iter()
        .filter_map(|region| region.superseded_at.as_ref());
    let unprobed = fleet.upstream_spec().needs_secrets();
    let successes = status
        .replicas()
        .filter(|_| unprobed)
        .filter_map(|(_, replica)| replica.last_success.as_ref());
    let objectives = behind
        .chain(successes)
        .map(|since| later(since.0, objective));
    let indices = sites
        .iter()
        .flat_map(|site| freshness::index_ends(site.view.revision()))
        .map(|(_, end)| end);
    let blocked = sites.iter().filter_map(|site| {
        let since = site.view.registry()?.upstream_blocked_since?;
        Some(later(instant(since), objective))
    });
    let doubted = freshness::doubted_from(fleet.upstream);
    // One second on: a region is stale after its objective, not at it.
    let ends = objectives
        .chain(indices)
        .chain(doubted)
        .chain(blocked)
        .map(|end| later(end, jiff::SignedDuration::from_secs(1)));
    ends.filter(|at| *at > now).min()
}
