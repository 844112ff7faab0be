//! How far a copy is behind the authority: one rule, for the regions of a fleet and for `mirrorfleet local`.

use fleet_api::mirror::AllowedReason;
use fleet_api::upstream::{ObservedUnit, PastState};
use fleet_api::{ConditionStatus, ConditionType, UnitStatus, Upstream};
use fleet_types::{Reason, UnitRevision};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::fleet::Fleet;
use crate::runs::whole;
use crate::schedule::{later, seconds};
use crate::upstream::{Probe, ProbeAnswer};
use crate::verdict::{Verdict, said};
use crate::view::RegionView;

/// A unit of which the authority has something newer than a copy serves.
#[derive(Debug, Clone, PartialEq)]
pub struct BehindUnit {
    pub unit: String,
    /// SHA-256 of the signed payload that is served; empty where the copy has none.
    pub digest: String,
    /// Since when the authority has had something newer.
    pub superseded_at: Time,
}

/// What is known about one copy's freshness.
#[derive(Debug, Clone, PartialEq)]
pub enum Freshness {
    /// It serves what the authority has.
    Current,
    /// The authority cannot be asked; a sync that succeeded then, no longer ago than the objective, found it current.
    Assumed(Timestamp),
    /// It serves something older; the units that are behind.
    Behind(Vec<BehindUnit>),
    /// It cannot be told; why.
    Unknown(Reason, String),
}

impl Freshness {
    /// Since when the copy has been behind.
    pub fn superseded_at(&self) -> Option<Timestamp> {
        match self {
            Freshness::Behind(units) => units.iter().map(|unit| unit.superseded_at.0).min(),
            _ => None,
        }
    }

    /// The same, where that is longer than the objective allows.
    pub fn stale_since(&self, objective: SignedDuration, now: Timestamp) -> Option<Timestamp> {
        (self.superseded_at()).filter(|since| now > later(*since, objective))
    }

    /// What is remembered of units that are behind: that a unit was, stays true while nobody can be asked.
    pub fn remember(&self, behind: &mut Vec<BehindUnit>) {
        match self {
            Freshness::Current | Freshness::Assumed(_) => behind.clear(),
            Freshness::Behind(units) => behind.clone_from(units),
            Freshness::Unknown(..) => {}
        }
    }
}

/// What a status remembers of units that are behind, in whichever snapshot.
pub fn remembered(units: &[UnitStatus]) -> Vec<BehindUnit> {
    let behind = units.iter().filter_map(|unit| {
        Some(BehindUnit {
            unit: unit.unit.clone(),
            digest: unit.digest.clone(),
            superseded_at: unit.superseded_at.clone()?,
        })
    });
    behind.collect()
}

/// A unit of which nobody knows what the authority has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen(pub String);

/// Compares what is served of `units` with what the authority has. `before` remembers since when each unit was behind.
pub fn measure(
    units: &[String],
    authority: &[ObservedUnit],
    served: &[UnitRevision],
    before: &[BehindUnit],
    now: Timestamp,
) -> Result<Freshness, Unseen> {
    let mut behind = Vec::new();
    for unit in units {
        let newest = authority.iter().find(|seen| seen.unit == *unit);
        let newest = newest.ok_or_else(|| Unseen(unit.clone()))?;
        let served = served.iter().find(|serves| serves.unit == *unit);
        let Some(since) = behind_since(newest, served, now) else {
            continue;
        };
        let digest = served.map(|serves| serves.digest.to_string());
        let digest = digest.unwrap_or_default();
        let is_known = |known: &&BehindUnit| known.unit == *unit && known.digest == digest;
        let known = before.iter().find(is_known);
        let is_remembered = newest.history.iter().any(|past| past.digest == digest);
        let since = match known.map(|known| known.superseded_at.0) {
            Some(known) if is_remembered => known.min(since),
            // It was told when more was remembered than now.
            Some(known) => known,
            None => since,
        };
        behind.push(BehindUnit {
            unit: unit.clone(),
            digest,
            superseded_at: Time(whole(since)),
        });
    }
    Ok(match behind.is_empty() {
        true => Freshness::Current,
        false => Freshness::Behind(behind),
    })
}

/// Since when the authority has had something newer of a unit than is served of it; none where it has not. What cannot be
/// told exactly is told earlier, never later.
fn behind_since(
    newest: &ObservedUnit,
    served: Option<&UnitRevision>,
    now: Timestamp,
) -> Option<Timestamp> {
    let first_seen = newest.observed_at.as_ref().or(newest.date.as_ref());
    let first_seen = first_seen.map_or(now, |time| time.0);
    let Some(served) = served else {
        return Some(first_seen);
    };
    let digest = served.digest.to_string();
    if digest == newest.digest {
        return None;
    }
    let mut past = newest.history.iter();
    if let Some(known) = past.find(|known| known.digest == digest) {
        return Some(known.superseded_at.0);
    }
    let date = |time: &Option<Time>| time.as_ref().map(|time| time.0.as_second());
    if served.is_dated() && date(&newest.date).is_some_and(|newest| newest < served.date) {
        // A run was told before the controller asked.
        return None;
    }
    // One that nobody saw at the authority: it was superseded no earlier than those that are older.
    let past = || newest.history.iter();
    let older = past().filter(|known| {
        served.is_dated() && date(&known.date).is_some_and(|known| known <= served.date)
    });
    let since = older.map(|known| known.superseded_at.0).max();
    // It is older than all that is remembered, or nobody can say how old. It was there when it was made.
    let oldest = || {
        let made = served
            .is_dated()
            .then(|| Timestamp::from_second(served.date).ok());
        let oldest = past().map(|known| known.superseded_at.0).min()?;
        Some(made.flatten().map_or(oldest, |made| made.min(oldest)))
    };
    Some(since.or_else(oldest).unwrap_or(first_seen))
}

/// A state that the authority was found to have.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    pub digest: &'a str,
    pub date: Option<Timestamp>,
    pub at: Timestamp,
    /// What it had before, and when that was last seen.
    pub before: Option<&'a (String, Timestamp)>,
    /// What runs found it to have.
    pub confirmed: &'a [Confirmed],
}

/// That a run found what it serves to be what the upstream has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmed {
    pub unit: String,
    pub digest: String,
    /// When the run began.
    pub at: Timestamp,
}

impl<'a> Found<'a> {
    /// What a probe found; none where it failed.
    pub fn of(probe: &'a Probe, confirmed: &'a [Confirmed]) -> Option<Found<'a>> {
        match &probe.answer {
            ProbeAnswer::Has { digest, date } => Some(Found {
                digest,
                date: *date,
                at: probe.at,
                before: probe.before.as_ref(),
                confirmed,
            }),
            ProbeAnswer::Failed { .. } => None,
        }
    }

    /// Since when `known` has been superseded, at the earliest: when it was last seen. Not since this was made: others may
    /// have come and gone in between.
    fn supersedes(&self, known: &ObservedUnit) -> Timestamp {
        let seen = self.before.filter(|(digest, _)| *digest == known.digest);
        let confirmed = self
            .confirmed
            .iter()
            .filter(|confirmed| confirmed.unit == known.unit && confirmed.digest == known.digest);
        let instants = seen.map(|(_, at)| *at).into_iter();
        let instants = instants.chain(known.observed_at.as_ref().map(|at| at.0));
        let latest = instants
            .chain(confirmed.map(|confirmed| confirmed.at))
            .max();
        latest.unwrap_or(self.at).min(self.at)
    }
}

/// What the authority has of a unit, by what was found and what was `known` before.
pub fn observe(known: Option<&ObservedUnit>, unit: &str, found: &Found) -> ObservedUnit {
    if let Some(known) = known.filter(|known| known.digest == found.digest) {
        return known.clone();
    }
    // The first state that is ever seen has been there since its own date, as far as anyone can tell.
    let own = found
        .date
        .filter(|date| known.is_none() && *date <= found.at);
    let superseded = known.map(|known| PastState {
        digest: known.digest.clone(),
        date: known.date.clone(),
        superseded_at: Time(whole(found.supersedes(known))),
    });
    let past = known.into_iter().flat_map(|known| &known.history);
    // One that comes back is no longer past.
    let past = past.filter(|past| past.digest != found.digest).cloned();
    ObservedUnit {
        unit: unit.to_owned(),
        digest: found.digest.to_owned(),
        date: found.date.map(|date| Time(whole(date))),
        observed_at: Some(Time(whole(own.unwrap_or(found.at)))),
        history: superseded
            .into_iter()
            .chain(past)
            .take(ObservedUnit::REMEMBERED)
            .collect(),
    }
}

/// A Job, with a pod and an image, is not begun more often than this only to ask.
const LEAST_BETWEEN_JOBS: SignedDuration = SignedDuration::from_mins(30);

/// The time between two probes of an authority.
pub fn probe_interval(upstream: &Upstream) -> SignedDuration {
    match upstream.spec.needs_secrets() {
        true => job_interval(upstream),
        false => declared_interval(upstream),
    }
}

/// The time between two Jobs that ask.
pub fn job_interval(upstream: &Upstream) -> SignedDuration {
    declared_interval(upstream).max(LEAST_BETWEEN_JOBS)
}

fn declared_interval(upstream: &Upstream) -> SignedDuration {
    seconds(upstream.spec.probe.interval.as_secs().max(60))
}

/// So long nobody doubts what an authority said last that does not answer any more.
const DOUBT: SignedDuration = SignedDuration::from_mins(30);

/// When what an authority said last cannot be believed any longer, since it does not answer; none while it does.
pub fn doubted_from(upstream: &Upstream) -> Option<Timestamp> {
    let conditions = &upstream.status.as_ref()?.conditions;
    let reachable = ConditionType::Reachable.find(conditions)?;
    let silent = ConditionStatus::False.is(&reachable.status);
    let patience = (probe_interval(upstream) * 3).max(DOUBT);
    silent.then(|| later(reachable.last_transition_time.0, patience))
}

/// Measures one region: what its pod says that it serves against what its Upstream's status says of the authority.
pub fn of_region(
    fleet: &Fleet,
    view: &RegionView,
    before: &[BehindUnit],
    now: Timestamp,
) -> Freshness {
    let name = view.title();
    if fleet.spec.fills_itself() {
        let message = format!("region {name} is a registry, of which nobody knows all that it has");
        return Freshness::Unknown(Reason::Unknown, message);
    }
    let Some(served) = view.served().filter(|served| served.snapshot.is_some()) else {
        return Freshness::Unknown(
            Reason::Unknown,
            format!("region {name} does not say what it serves"),
        );
    };
    let units = fleet.spec.content.units();
    let status = fleet.upstream.status.as_ref();
    let authority = status.map_or(&[][..], |status| &status.revision);
    let by_job = fleet.upstream_spec().needs_secrets();
    let doubted = doubted_from(fleet.upstream).is_some_and(|from| from < now);
    match measure(&units, authority, &served.revision, before, now) {
        // No Job has told for long, but runs ask too.
        Ok(Freshness::Current) if doubted && by_job => unprobed(fleet, view, now),
        // Who was behind is; who was not may be by now.
        Ok(Freshness::Current) if doubted => Freshness::Unknown(
            Reason::Unknown,
            format!(
                "Upstream {} has not answered for so long that nobody knows whether it has something newer",
                fleet.spec.upstream_ref.name
            ),
        ),
        Ok(freshness) => freshness,
        Err(_) if by_job || is_told_by_syncs(fleet) => unprobed(fleet, view, now),
        Err(Unseen(unit)) => Freshness::Unknown(Reason::Unknown, unseen(fleet, &unit)),
    }
}

/// An authority whose state only sync runs can tell, or of which a Job has told nothing: as of the last run that succeeded, for as long as the objective allows.
fn unprobed(fleet: &Fleet, view: &RegionView, now: Timestamp) -> Freshness {
    let success = view.before.last_success.as_ref().map(|success| success.0);
    let fresh = success.filter(|at| now < later(*at, objective(fleet)));
    if let Some(at) = fresh {
        return Freshness::Assumed(at);
    }
    Freshness::Unknown(
        Reason::NotProbed,
        format!(
            "only sync runs can tell what the authority has, and none succeeded in region {} within the objective",
            view.title()
        ),
    )
}

/// Whether probes cannot tell what the authority has, and syncs can.
fn is_told_by_syncs(fleet: &Fleet) -> bool {
    reachable(fleet).is_some_and(|known| known.reason == Reason::NotProbed)
}

/// What is said of the authority's answers.
fn reachable(fleet: &Fleet) -> Option<Verdict> {
    let status = fleet.upstream.status.as_ref()?;
    said(ConditionType::Reachable, &status.conditions)
}

/// Until when the upstream vouches for what is served, by unit; only where there is a limit.
pub fn index_ends(served: &[UnitRevision]) -> impl Iterator<Item = (&str, Timestamp)> {
    served.iter().filter_map(|unit| {
        let end = Timestamp::from_second(unit.valid_until?).ok()?;
        Some((unit.unit.as_str(), end))
    })
}

/// The first unit whose index is past its time. Clients refuse it, however new it is.
pub fn expired(served: &[UnitRevision], now: Timestamp) -> Option<(&str, Timestamp)> {
    index_ends(served).find(|(_, end)| *end < now)
}

/// Whether the manifest lets the served index of a unit through although it is past its time.
pub fn expired_is_allowed(fleet: &Fleet, served: &[UnitRevision], unit: &str) -> bool {
    let verification = &fleet.spec.verification;
    let served = served.iter().find(|serves| serves.unit == unit);
    let digest = served.map(|serves| serves.digest.to_string());
    let mut states = verification.allowed.iter();
    verification.allows_expired(unit)
        || states.any(|state| {
            state.unit == unit
                && Some(&state.digest) == digest.as_ref()
                && state.reasons.contains(&AllowedReason::IndexExpired)
        })
}

fn unseen(fleet: &Fleet, unit: &str) -> String {
    let upstream = &fleet.spec.upstream_ref.name;
    match reachable(fleet).filter(|known| known.is(ConditionStatus::False)) {
        Some(known) => format!(
            "Upstream {upstream} cannot be asked for {unit}: {}",
            known.message
        ),
        None => format!("Upstream {upstream} has not told yet what it has of {unit}"),
    }
}

/// Whether what conditions say of freshness was measured; false where it is assumed, none where it cannot be told.
pub fn judged(conditions: &[Condition]) -> Option<bool> {
    let fresh = said(ConditionType::Fresh, conditions)?;
    (!fresh.is(ConditionStatus::Unknown)).then_some(fresh.reason != Reason::AssumedFresh)
}

pub fn objective(fleet: &Fleet) -> SignedDuration {
    seconds(fleet.spec.freshness.objective.as_secs())
}
