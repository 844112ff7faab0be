//! What the endpoints of an Upstream have, against its authority: when each is asked, and what its status says of it.

use fleet_api::upstream::{Endpoint, EndpointState, EndpointStatus, ObservedUnit, OutdatedUnit};
use fleet_api::{Upstream, UpstreamStatus};
use fleet_types::{Sha256, UnitRevision};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::seen::{ObservedUpstream, Probe, ProbeAnswer};
use super::unusable::PATIENCE;
use crate::freshness::{BehindUnit, Freshness, measure};
use crate::runs::whole;
use crate::schedule::later;
use crate::verdict::Verdict;

/// The endpoints that the controller is to ask now, by name and for all units, and when the next one is due.
pub fn due(
    upstream: &Upstream,
    units: &[String],
    seen: &ObservedUpstream,
    interval: SignedDuration,
) -> (Vec<String>, Option<Timestamp>) {
    let (mut now, mut next) = (Vec::new(), None);
    for endpoint in &upstream.spec.endpoints {
        if endpoint.is_rsync() || is_authority(upstream, endpoint) || units.is_empty() {
            continue;
        }
        let probes = probes_of(upstream, endpoint, seen);
        let asked = units.iter().map(|unit| probe_of(probes, unit));
        let asked: Option<Vec<Timestamp>> = asked.map(|probe| Some(probe?.at)).collect();
        let at = asked.and_then(|asked| asked.into_iter().min());
        match at.map(|at| later(at, interval)) {
            Some(at) if at > seen.now => next = next.into_iter().chain([at]).min(),
            _ => now.push(endpoint.name.clone()),
        }
    }
    (now, next)
}

/// What is said of each endpoint, given what the authority has and why no Job can ask those that only Jobs ask. Of one that was
/// not asked yet, what was said before.
pub fn told(
    upstream: &Upstream,
    units: &[String],
    seen: &ObservedUpstream,
    (authority, unasked): (&[ObservedUnit], Option<Verdict>),
    before: &UpstreamStatus,
) -> Vec<EndpointStatus> {
    let told = upstream.spec.endpoints.iter().filter_map(|endpoint| {
        let mut known = before.endpoints.iter();
        let known = known.find(|known| known.name == endpoint.name);
        let state =
            |state: EndpointState, message: &str, known: Option<&EndpointStatus>| EndpointStatus {
                name: endpoint.name.clone(),
                state,
                since: (known.filter(|known| known.state == state))
                    .map_or(Time(whole(seen.now)), |known| known.since.clone()),
                message: message.chars().take(MESSAGE_LENGTH).collect(),
                revision_date: known.and_then(|known| known.revision_date.clone()),
                behind: known.map_or_else(Vec::new, |known| known.behind.clone()),
            };
        if let Some(why) = unasked.as_ref().filter(|_| endpoint.is_rsync()) {
            return Some(EndpointStatus {
                revision_date: None,
                behind: Vec::new(),
                ..state(EndpointState::NotAsked, &why.message, known)
            });
        }
        let probes = probes_of(upstream, endpoint, seen);
        let asked: Vec<&Probe> = units
            .iter()
            .filter_map(|unit| probe_of(probes, unit))
            .collect();
        if asked.is_empty() {
            return known.cloned();
        }
        let has: Vec<(&Probe, UnitRevision)> = asked
            .iter()
            .filter_map(|probe| Some((*probe, revision_of(probe)?)))
            .collect();
        if has.is_empty() {
            let failures = asked.iter().map(|probe| probe.failures).min().unwrap_or(0);
            let was = known.is_some_and(|known| known.state == EndpointState::Reachable);
            // One question without an answer tells nothing yet.
            return Some(match was && failures < PATIENCE {
                true => known?.clone(),
                false => state(EndpointState::Unreachable, UNREAD, known),
            });
        }
        let failed = asked.iter().filter(|probe| revision_of(probe).is_none());
        let failed: Vec<&str> = failed.map(|probe| probe.unit.as_str()).collect();
        let message = match failed.is_empty() {
            true => String::new(),
            false => format!("nothing could be read of {}", failed.join(", ")),
        };
        let dates = has.iter().map(|(_, has)| has).filter(|has| has.is_dated());
        let newest = dates
            .filter_map(|has| Timestamp::from_second(has.date).ok())
            .max();
        Some(EndpointStatus {
            revision_date: newest.map(Time),
            behind: behind(&has, authority, known, seen.now),
            ..state(EndpointState::Reachable, &message, known)
        })
    });
    told.collect()
}

/// As the definition has it.
const MESSAGE_LENGTH: usize = 512;
/// What is said of an endpoint of which nothing can be read: who answered what is for no eyes but those of the log.
const UNREAD: &str =
    "nothing could be read there of what Mirrors ask for; look at its URL, and whether it is up";

/// One that is the authority too is not asked twice.
fn is_authority(upstream: &Upstream, endpoint: &Endpoint) -> bool {
    let authority = upstream.spec.authority.url.as_str();
    endpoint.url.as_str().trim_end_matches('/') == authority.trim_end_matches('/')
}

fn probes_of<'s>(
    upstream: &Upstream,
    endpoint: &Endpoint,
    seen: &'s ObservedUpstream,
) -> &'s [Probe] {
    match is_authority(upstream, endpoint) {
        true => &seen.probes,
        false => seen
            .endpoints
            .get(&endpoint.name)
            .map_or(&[][..], Vec::as_slice),
    }
}

fn probe_of<'p>(probes: &'p [Probe], unit: &str) -> Option<&'p Probe> {
    probes.iter().find(|probe| probe.unit == unit)
}

fn revision_of(probe: &Probe) -> Option<UnitRevision> {
    let ProbeAnswer::Has { digest, date } = &probe.answer else {
        return None;
    };
    Some(UnitRevision {
        unit: probe.unit.clone(),
        digest: digest.parse::<Sha256>().ok()?,
        date: date.map_or(0, Timestamp::as_second),
        valid_until: None,
    })
}

/// The units of which the endpoint has something older, by the rule for regions. An answer from before the authority was seen
/// to have its newest state tells nothing of that one: what was said stands until the endpoint is asked again.
fn behind(
    has: &[(&Probe, UnitRevision)],
    authority: &[ObservedUnit],
    known: Option<&EndpointStatus>,
    now: Timestamp,
) -> Vec<OutdatedUnit> {
    let known = known.map_or(&[][..], |known| &known.behind);
    let remembered: Vec<BehindUnit> = known.iter().map(BehindUnit::from).collect();
    let mut behind: Vec<OutdatedUnit> = Vec::new();
    for (probe, has) in has {
        let newest = authority.iter().find(|newest| newest.unit == has.unit);
        let Some(newest) = newest else { continue };
        let seen_at = newest.observed_at.as_ref().map(|at| at.0);
        if seen_at.is_some_and(|at| whole(probe.at) < at) {
            behind.extend(known.iter().find(|known| known.unit == has.unit).cloned());
            continue;
        }
        let units = [has.unit.clone()];
        let served = std::slice::from_ref(has);
        let one = std::slice::from_ref(newest);
        let Ok(Freshness::Behind(units)) = measure(&units, one, served, &remembered, now) else {
            continue;
        };
        behind.extend(units.into_iter().map(|unit| {
            OutdatedUnit {
                unit: unit.unit,
                digest: unit.digest,
                date: (has
                    .is_dated()
                    .then(|| Timestamp::from_second(has.date).ok()))
                .flatten()
                .map(Time),
                superseded_at: unit.superseded_at,
            }
        }));
    }
    behind.sort_by(|a, b| (&a.superseded_at, &a.unit).cmp(&(&b.superseded_at, &b.unit)));
    behind.truncate(EndpointStatus::MOST_BEHIND);
    behind
}

impl From<&OutdatedUnit> for BehindUnit {
    fn from(known: &OutdatedUnit) -> BehindUnit {
        BehindUnit {
            unit: known.unit.clone(),
            digest: known.digest.clone(),
            superseded_at: known.superseded_at.clone(),
        }
    }
}
