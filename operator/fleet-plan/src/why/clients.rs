//! What a situation means for those who fetch from the Mirror.

use fleet_api::{ConditionStatus, ConditionType};
use fleet_types::Reason;
use jiff::Timestamp;

use super::sentence as ended_sentence;
use crate::summary::{Known, Lag, MirrorSummary, RegionSummary, enumeration};

/// The sentence for the paragraph.
pub fn sentence(known: &Known, told: &MirrorSummary) -> String {
    let (up, down): (Vec<_>, Vec<_>) = (told.regions.iter())
        .filter(|region| region.has_content)
        .partition(|region| region.ready);
    let empty = told.regions.iter().filter(|region| !region.has_content);
    let empty: Vec<_> = empty.collect();
    if up.is_empty() && down.is_empty() {
        return match known.mirror.spec.fills_itself() {
            true => "Clients get nothing yet: the registry has not answered.".to_owned(),
            false => "Clients get nothing yet: the server answers 503 until the first snapshot is published.".to_owned(),
        };
    }
    let mut parts = Vec::new();
    if !down.is_empty() {
        parts.push(format!("clients of {} reach nobody", names(&down)));
    }
    if !empty.is_empty() {
        parts.push(format!(
            "clients of {} get nothing until {}",
            names(&empty),
            match known.mirror.spec.fills_itself() {
                true => "its registry answers",
                false => "its first snapshot (503)",
            }
        ));
    }
    if !up.is_empty() {
        let who = match parts.is_empty() {
            true => "clients".to_owned(),
            false => format!("those of {}", names(&up)),
        };
        parts.push(format!("{who} {}", what_they_get(known, told, &up)));
    }
    ended_sentence(&parts.join("; "))
}

fn names(regions: &[&RegionSummary]) -> String {
    let names: Vec<String> = regions.iter().map(|region| region.region.clone()).collect();
    let word = if names.len() == 1 {
        "region"
    } else {
        "regions"
    };
    format!("{word} {}", enumeration(&names))
}

/// What regions that serve give to their clients.
fn what_they_get(known: &Known, told: &MirrorSummary, up: &[&RegionSummary]) -> String {
    if known.mirror.spec.fills_itself() {
        let fresh = known.said(ConditionType::Fresh);
        let asks = fresh.is_some_and(|fresh| fresh.is(ConditionStatus::True));
        return match asks {
            true => "get what the registry keeps, and everything else from the upstream".to_owned(),
            false => "get what the registry keeps, however old, and an error for everything else"
                .to_owned(),
        };
    }
    let verified = known.said(ConditionType::Verified);
    let vouched = match verified.is_some_and(|said| said.reason == Reason::NotVerified) {
        true => "a complete state",
        false => "a complete, verified state",
    };
    let state = match published(known, up) {
        Some(date) => format!("{vouched} of {date}"),
        None => vouched.to_owned(),
    };
    let behind = up.iter().filter_map(|region| region.behind_since).min();
    let current = up.iter().all(|region| region.lag == Lag::Current);
    let lag = match behind {
        Some(since) => {
            let them: Vec<_> = up
                .iter()
                .filter(|region| region.behind_since.is_some())
                .copied()
                .collect();
            let whose = match them.len() == told.regions.len() {
                true => String::new(),
                false => format!(" in {}", names(&them)),
            };
            format!(", without what the upstream has published since {since}{whose}")
        }
        None if current => ", which is what the upstream has".to_owned(),
        None => String::new(),
    };
    format!("get {state}{lag}{}", validity(known))
}

/// The upstream's date of what is served: the oldest, where regions differ.
fn published(known: &Known, up: &[&RegionSummary]) -> Option<Timestamp> {
    let status = known.status();
    let served = |id: &str| {
        up.iter()
            .any(|region| region.snapshot.as_deref() == Some(id))
    };
    let snapshots = status.snapshots.iter().filter(|known| served(&known.id));
    let dates = snapshots.filter_map(|known| known.revision_date.as_ref());
    dates.map(|date| date.0).min()
}

/// Until when clients believe it, where there is an end that somebody should know of.
fn validity(known: &Known) -> String {
    let status = known.status();
    let verification = &known.mirror.spec.verification;
    let limited = status
        .units
        .iter()
        .filter(|unit| !verification.allows_expired(&unit.unit));
    let ends = limited.filter_map(|unit| Some((unit.valid_until.as_ref()?.0, &unit.unit)));
    match ends.min() {
        Some((end, unit)) if end < known.now => {
            format!("; they refuse {unit}, whose index was valid until {end}")
        }
        Some((end, unit)) => format!("; the index of {unit} is valid until {end}"),
        None => String::new(),
    }
}
