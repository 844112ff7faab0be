//! Regions and their replicas.

use fleet_api::{RegionRole, RegionState, RegionStatus, ReplicaStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::fleet::{Fleet, Source};
use crate::freshness::{self, Freshness};
use crate::report::instant;
use crate::runs::whole;
use crate::schedule::later;
use crate::site::Site;

/// A region, which is as its worst replica.
pub fn region(fleet: &Fleet, sites: &[Site], replicas: &[Site], now: Timestamp) -> RegionStatus {
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
