//! The whole status of a Mirror, and the events that tell of its changes.

mod served;

pub(crate) use self::served::served_until;

use fleet_api::{
    AcceptedUnit, ConditionStatus, ConditionType, Fetcher, MirrorStatus, Publication,
    PublicationPhase, RegionRole, RegionState, RegionStatus, ReplicaStatus, fetching,
};
use fleet_types::{Outcome, Reason};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::canary;
use crate::claims::retained_claims;
use crate::conditions::verdicts;
use crate::fleet::{Fleet, Source};
use crate::freshness::{self, Freshness};
use crate::observed::Observed;
use crate::orders::{self, Ordering};
use crate::plan::{FinishedRun, PlannedEvent};
use crate::report::instant;
use crate::runs::whole;
use crate::schedule::later;
use crate::site::Site;
use crate::verdict::{Verdict, conditions, said};

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

/// A region, which is as its worst replica.
fn region(fleet: &Fleet, sites: &[Site], replicas: &[Site], now: Timestamp) -> RegionStatus {
    let first = &replicas[0];
    let superseded_at = replicas.iter().filter(|site| site.counts());
    let superseded_at = superseded_at.filter_map(|site| match &site.freshness {
        Freshness::Unknown(..) => site.view.superseded_before.clone(),
        known => known.superseded_at().map(Time),
    });
    let superseded_at = superseded_at.min();
    let statuses: Vec<ReplicaStatus> = replicas.iter().map(|site| replica(sites, site)).collect();
    let states = replicas.iter().zip(&statuses);
    let states = states.map(|(site, it)| state(fleet, site, it, superseded_at.as_ref(), now));
    // That all of it is left out is so since the last of them was.
    let withdrawn: Option<Vec<&Time>> = replicas
        .iter()
        .map(|site| site.withdrawn_at.as_ref())
        .collect();
    let withdrawn_at = withdrawn.and_then(|all| all.into_iter().max().cloned());
    let in_brief = |(site, mut status): (&Site, ReplicaStatus)| {
        let own = site.withdrawn_at.clone();
        status.withdrawn_at = own.filter(|own| Some(own) != withdrawn_at.as_ref());
        status
    };
    RegionStatus {
        name: first.name().to_owned(),
        state: states
            .max_by_key(|state| badness(*state))
            .unwrap_or_default(),
        role: fleet.is_together().then(|| role(replicas)),
        replicas: replicas.iter().zip(statuses).map(in_brief).collect(),
        withdrawn_at: withdrawn_at.clone(),
        url: Some(fleet.url_now(first.view.place, first.wanted.route.is_accepted())),
        superseded_at,
    }
}

/// The higher, the worse.
const fn badness(state: RegionState) -> u8 {
    match state {
        RegionState::Serving => 0,
        RegionState::Stale => 1,
        RegionState::Joining | RegionState::Withdrawn => 2,
        RegionState::Syncing => 3,
        RegionState::Pending => 4,
        RegionState::Unknown => 5,
    }
}

fn role(replicas: &[Site]) -> RegionRole {
    let fetches = |site: &Site| site.view.place.source == Source::Upstream;
    match replicas.iter().any(fetches) {
        true => RegionRole::Hub,
        false => RegionRole::Edge,
    }
}

/// When the hub last found what a region serves to be what the upstream has: that is handed down, and no run of the
/// region's own tells it.
fn confirmed(sites: &[Site], site: &Site, snapshot: Option<&String>) -> Option<Time> {
    let is_hub = |other: &&Site| other.view.place.source == Source::Upstream;
    let hub = sites.iter().find(is_hub)?;
    let success = hub.view.served()?.last_success.as_ref()?;
    let same = snapshot.is_some() && success.snapshot.as_ref() == snapshot;
    let follows = site.view.place.source != Source::Upstream;
    (same && follows).then(|| Time(instant(success.at)))
}

fn replica(sites: &[Site], site: &Site) -> ReplicaStatus {
    let served = site.view.served();
    let mut status = site.runs.status.clone();
    if crate::conditions::answered(&site.view) {
        status.snapshot = served.and_then(|served| served.snapshot.clone());
    }
    if let Some(confirmed) = confirmed(sites, site, status.snapshot.as_ref()) {
        status.last_success = Some(confirmed);
    }
    // A new volume brings an old store along with its own memory of successes: a Mirror that was made anew.
    if status.last_success.is_none() {
        let kept = served.and_then(|served| served.last_success.as_ref());
        status.last_success = kept.map(|success| Time(instant(success.at)));
    }
    status.ready = site.view.ready();
    // Who does not answer has the clock that it had.
    if let Some(served) = served {
        let since = status.clock_wrong_since.take();
        let wrong = served.clock_skew != 0;
        status.clock_wrong_since = since.or(Some(Time(whole(site.now)))).filter(|_| wrong);
    }
    if let Some(last) = status.last_attempt.as_mut() {
        last.prepared = last.prepared.take().filter(|_| site.fleet.is_together());
    }
    status.in_brief()
}

fn state(
    fleet: &Fleet,
    site: &Site,
    replica: &ReplicaStatus,
    superseded_at: Option<&Time>,
    now: Timestamp,
) -> RegionState {
    let stale = |since: &Time| now > later(since.0, freshness::objective(fleet));
    let untold = match site.view.not_asked() {
        true => site.view.state_before == RegionState::Unknown,
        false => site.view.served().is_none(),
    };
    if fleet.spec.fills_itself() {
        return match site.has_content() {
            false => RegionState::Pending,
            true if !site.view.ready() || untold => RegionState::Unknown,
            true => RegionState::Serving,
        };
    }
    match replica.snapshot {
        None if replica.current_run.is_some() => RegionState::Syncing,
        None => RegionState::Pending,
        Some(_) if !site.view.ready() || untold => RegionState::Unknown,
        Some(_) if site.withdrawn_at.is_some() => match fleet.is_together() {
            true => RegionState::Joining,
            false => RegionState::Withdrawn,
        },
        Some(_) if superseded_at.is_some_and(stale) => RegionState::Stale,
        Some(_) => RegionState::Serving,
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

/// What people should hear of: runs that published or failed, and Stalled and Fresh when they change.
pub fn events(
    before: &MirrorStatus,
    after: &MirrorStatus,
    finished: &[FinishedRun],
) -> Vec<PlannedEvent> {
    let mut events: Vec<PlannedEvent> = finished
        .iter()
        .filter(|run| !matches!(run.reason, Reason::Unchanged | Reason::Prepared))
        .map(|run| run_event(run, after))
        .collect();
    events.extend(orders::events(before, after));
    events.extend(canary::events(before, after));
    events.extend(withdrawal_events(before, after));
    events.extend(clock_events(before, after));
    events.extend(handed_over(before, after));
    for kind in [ConditionType::Stalled, ConditionType::Fresh] {
        let was = said(kind, &before.conditions);
        let Some(is) = said(kind, &after.conditions) else {
            continue;
        };
        let of = |verdict: &Verdict| (verdict.status, verdict.reason);
        let changed = was.as_ref().map(of) != Some(of(&is));
        let bad = (kind == ConditionType::Stalled) == is.is(ConditionStatus::True);
        let recovered =
            kind == ConditionType::Fresh && was.is_some_and(|was| was.is(ConditionStatus::False));
        if changed && !is.is(ConditionStatus::Unknown) && (bad || recovered) {
            events.push(PlannedEvent {
                warning: bad,
                reason: is.reason,
                action: "Reconcile",
                message: is.message,
            });
        }
    }
    events
}

/// Of regions that fetch each for itself: the lists leave one out, or have it again.
fn withdrawal_events(before: &MirrorStatus, after: &MirrorStatus) -> Vec<PlannedEvent> {
    let news = after.regions.iter().filter_map(|region| {
        let mut known = before.regions.iter();
        let known = known.find(|known| known.name == region.name);
        let was = known.is_some_and(|known| known.withdrawn_at.is_some());
        let is = region.withdrawn_at.is_some();
        let name = &region.name;
        let (reason, message) = match is {
            true => (Reason::Withdrawn, withdrawn(region)?),
            false => (
                Reason::Readmitted,
                format!("region {name} is in the lists of regions again"),
            ),
        };
        (region.role.is_none() && was != is).then_some(PlannedEvent {
            warning: is,
            reason,
            action: "Withdraw",
            message,
        })
    });
    news.collect()
}

/// Of clocks that have gone wrong.
fn clock_events(before: &MirrorStatus, after: &MirrorStatus) -> Vec<PlannedEvent> {
    let wrong = |status: &MirrorStatus| -> Vec<String> {
        let replicas = status.replicas();
        let wrong = replicas.filter(|(_, replica)| replica.clock_wrong_since.is_some());
        wrong.map(|(region, _)| region.name.clone()).collect()
    };
    let was = wrong(before);
    let news = wrong(after)
        .into_iter()
        .filter(|region| !was.contains(region));
    let told = news.map(|region| PlannedEvent {
        warning: true,
        reason: Reason::ClockSkew,
        action: "Reconcile",
        message: format!(
            "the clock of the node of region {region} differs from the controller's by more than five seconds: set both by NTP"
        ),
    });
    told.collect()
}

/// That a region is left out, in words.
pub fn withdrawn(region: &RegionStatus) -> Option<String> {
    let (since, behind) = (region.withdrawn_at.as_ref()?.0, &region.superseded_at);
    let behind = behind
        .as_ref()
        .map(|behind| format!(", as it has been behind the authority since {}", behind.0));
    Some(format!(
        "region {} has been left out of the lists of regions since {since}{}; it is in them again once it has caught up",
        region.name,
        behind.unwrap_or_default()
    ))
}

/// That somebody else fetches now.
fn handed_over(before: &MirrorStatus, after: &MirrorStatus) -> Option<PlannedEvent> {
    let who = |status: &MirrorStatus| {
        let fetcher = status.fetcher.as_ref()?;
        Some((fetcher.region.clone(), fetcher.replica))
    };
    if who(before) == who(after) {
        return None;
    }
    let (reason, message) = match &after.fetcher {
        Some(fetcher) => {
            let title = fetcher.title(&after.regions);
            let words = "as the one that comes before it cannot";
            (
                fetcher.reason,
                format!("region {title} fetches from now on, {words}"),
            )
        }
        None => {
            let words = "the region that others follow fetches again";
            (Reason::Progressing, words.to_owned())
        }
    };
    Some(PlannedEvent {
        warning: after.fetcher.is_some(),
        reason,
        action: "TakeOver",
        message,
    })
}

fn run_event(run: &FinishedRun, after: &MirrorStatus) -> PlannedEvent {
    let mut attempts = (after.replicas()).filter_map(|(_, replica)| replica.last_attempt.as_ref());
    let last = attempts.find(|last| last.job == run.job);
    let message = last.map(|last| last.message.clone());
    let message = message
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| run.reason.description().trim().to_owned());
    PlannedEvent {
        warning: run.reason.outcome() != Outcome::Good,
        reason: run.reason,
        action: "Sync",
        message: format!("region {}, Job {}: {message}", run.region, run.job),
    }
}
