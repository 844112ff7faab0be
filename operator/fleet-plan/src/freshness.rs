//! How far a region is behind the authority: what its pod says that it serves against what the authority has.

use fleet_api::mirror::AllowedReason;
use fleet_api::{BehindUnit, ConditionType, RegionStatus};
use fleet_types::Reason;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::fleet::Fleet;
use crate::observed::ServedStatus;
use crate::schedule::{later, seconds};

/// What is known about one region's freshness.
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
    /// Since when the region has been behind.
    pub fn superseded_at(&self) -> Option<Timestamp> {
        match self {
            Freshness::Behind(units) => units.iter().map(|unit| unit.superseded_at.0).min(),
            _ => None,
        }
    }
}

/// Compares what `served` says with the authority's revision. `before` remembers since when each unit was behind.
pub fn measure(
    fleet: &Fleet,
    served: Option<&ServedStatus>,
    before: &RegionStatus,
    now: Timestamp,
) -> Freshness {
    let name = &before.name;
    let Some(served) = served.filter(|served| served.snapshot.is_some()) else {
        return Freshness::Unknown(
            Reason::Unknown,
            format!("region {name} does not say what it serves"),
        );
    };
    if fleet.upstream_spec().needs_secrets() {
        return unprobed(fleet, before, now);
    }
    let authority = fleet
        .upstream
        .status
        .as_ref()
        .map(|status| status.revision.as_slice())
        .unwrap_or_default();
    let mut behind = Vec::new();
    for unit in fleet.spec.content.units() {
        let Some(newest) = authority.iter().find(|seen| seen.unit == unit) else {
            return match is_told_by_syncs(fleet) {
                true => unprobed(fleet, before, now),
                false => Freshness::Unknown(Reason::Unknown, unseen(fleet, &unit)),
            };
        };
        let digest = served
            .revision
            .iter()
            .find(|serves| serves.unit == unit)
            .map(|serves| serves.digest.to_string());
        if digest.as_deref() == Some(newest.digest.as_str()) {
            continue;
        }
        let digest = digest.unwrap_or_default();
        let known = before
            .behind
            .iter()
            .find(|known| known.unit == unit && known.digest == digest);
        let since = newest
            .observed_at
            .clone()
            .or(newest.date.clone())
            .map_or(now, |time| time.0);
        let since = known.map_or(since, |known| known.superseded_at.0.min(since));
        behind.push(BehindUnit {
            unit,
            digest,
            superseded_at: Time(crate::runs::whole(since)),
        });
    }
    if behind.is_empty() {
        Freshness::Current
    } else {
        Freshness::Behind(behind)
    }
}

/// An authority that only sync runs may ask, or whose state only they can tell: as of the last run that succeeded, for as long as the objective allows.
fn unprobed(fleet: &Fleet, before: &RegionStatus, now: Timestamp) -> Freshness {
    let success = before.last_success.as_ref().map(|success| success.0);
    let fresh = success.filter(|at| now < later(*at, objective(fleet)));
    if let Some(at) = fresh {
        return Freshness::Assumed(at);
    }
    Freshness::Unknown(
        Reason::NotProbed,
        format!(
            "only sync runs can tell what the authority has, and none succeeded in region {} within the objective",
            before.name
        ),
    )
}

/// Whether probes cannot tell what the authority has, and syncs can.
fn is_told_by_syncs(fleet: &Fleet) -> bool {
    let status = fleet.upstream.status.iter();
    let mut conditions = status.flat_map(|status| &status.conditions);
    conditions.any(|condition| {
        condition.type_ == ConditionType::Reachable.as_str()
            && condition.reason == Reason::NotProbed.as_str()
    })
}

/// Until when the upstream vouches for what is served, by unit; only where there is a limit.
pub fn index_ends(served: Option<&ServedStatus>) -> Vec<(String, Timestamp)> {
    let units = served.into_iter().flat_map(|served| &served.revision);
    units
        .filter_map(|unit| {
            let end = Timestamp::from_second(unit.valid_until?).ok()?;
            Some((unit.unit.clone(), end))
        })
        .collect()
}

/// Whether the manifest lets the served index of a unit through although it is past its time.
pub fn expired_is_allowed(fleet: &Fleet, served: Option<&ServedStatus>, unit: &str) -> bool {
    let verification = &fleet.spec.verification;
    let mut served = served.into_iter().flat_map(|served| &served.revision);
    let digest = served
        .find(|serves| serves.unit == unit)
        .map(|serves| serves.digest.to_string());
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
    let conditions = fleet
        .upstream
        .status
        .iter()
        .flat_map(|status| &status.conditions);
    let mut reachable =
        conditions.filter(|condition| condition.type_ == ConditionType::Reachable.as_str());
    match reachable.find(|condition| condition.status == "False") {
        Some(condition) => format!(
            "Upstream {upstream} cannot be asked for {unit}: {}",
            condition.message
        ),
        None => format!("Upstream {upstream} has not told yet what it has of {unit}"),
    }
}

pub fn objective(fleet: &Fleet) -> jiff::SignedDuration {
    seconds(fleet.spec.freshness.objective.as_secs())
}
