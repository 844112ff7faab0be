//! How far a copy is behind the authority: one rule, for the regions of a fleet and for `mirrorfleet local`.

use fleet_api::mirror::AllowedReason;
use fleet_api::upstream::ObservedUnit;
use fleet_api::{ConditionStatus, ConditionType, UnitStatus};
use fleet_types::{Reason, UnitRevision};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::fleet::Fleet;
use crate::runs::whole;
use crate::schedule::{later, seconds};
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
        let digest = served.map(|serves| serves.digest.to_string());
        if digest.as_ref() == Some(&newest.digest) {
            continue;
        }
        let digest = digest.unwrap_or_default();
        let is_known = |known: &&BehindUnit| known.unit == *unit && known.digest == digest;
        let known = before.iter().find(is_known);
        let since = newest.observed_at.as_ref().or(newest.date.as_ref());
        let since = since.map_or(now, |time| time.0);
        let since = known.map_or(since, |known| known.superseded_at.0.min(since));
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

/// What the authority has of a unit: it was asked at `at`, and `known` is what it had before.
pub fn observe(
    known: Option<&ObservedUnit>,
    unit: &str,
    digest: &str,
    date: Option<Timestamp>,
    at: Timestamp,
) -> ObservedUnit {
    if let Some(known) = known.filter(|known| known.digest == digest) {
        return known.clone();
    }
    // The first state that is ever seen has been there since its own date, as far as anyone can tell.
    let own = date.filter(|date| known.is_none() && *date <= at);
    ObservedUnit {
        unit: unit.to_owned(),
        digest: digest.to_owned(),
        date: date.map(|date| Time(whole(date))),
        observed_at: Some(Time(whole(own.unwrap_or(at)))),
    }
}

/// Measures one region: what its pod says that it serves against what its Upstream's status says of the authority.
pub fn of_region(
    fleet: &Fleet,
    view: &RegionView,
    before: &[BehindUnit],
    now: Timestamp,
) -> Freshness {
    let name = view.title();
    let Some(served) = view.served().filter(|served| served.snapshot.is_some()) else {
        return Freshness::Unknown(
            Reason::Unknown,
            format!("region {name} does not say what it serves"),
        );
    };
    if fleet.upstream_spec().needs_secrets() {
        return unprobed(fleet, view, now);
    }
    let units = fleet.spec.content.units();
    let status = fleet.upstream.status.as_ref();
    let authority = status.map_or(&[][..], |status| &status.revision);
    match measure(&units, authority, &served.revision, before, now) {
        Ok(freshness) => freshness,
        Err(_) if is_told_by_syncs(fleet) => unprobed(fleet, view, now),
        Err(Unseen(unit)) => Freshness::Unknown(Reason::Unknown, unseen(fleet, &unit)),
    }
}

/// An authority that only sync runs may ask, or whose state only they can tell: as of the last run that succeeded, for as long as the objective allows.
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
