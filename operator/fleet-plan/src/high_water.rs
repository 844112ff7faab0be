//! High-water marks: the newest state of each unit that was accepted, kept where a lost volume cannot take them along.

use fleet_api::AcceptedUnit;
use fleet_types::{Accepted, UnitRevision};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;


/// Raises marks: the newest date of each unit wins.
pub fn raise(marks: &mut Vec<AcceptedUnit>, revision: &[UnitRevision]) {
    for unit in revision {
        let known = marks.iter().find(|mark| mark.unit == unit.unit);
        if known.is_some_and(|known| known.date.0.as_second() >= unit.date) {
            continue;
        }
        let raised = Accepted {
            identity: known
                .map(|known| known.identity.clone())
                .unwrap_or_default(),
            ..unit.clone().into()
        };
        replace(marks, &[raised]);
    }
}

/// Takes marks over as a run left them: it was told ours, and only a person lets it lower one.
pub fn replace(marks: &mut Vec<AcceptedUnit>, left: &[Accepted]) {
    for mark in left {
        let Some(accepted) = accepted(mark) else {
            continue;
        };
        marks.retain(|known| known.unit != accepted.unit);
        marks.push(accepted);
    }
    marks.sort_by(|a, b| a.unit.cmp(&b.unit));
}

fn accepted(mark: &Accepted) -> Option<AcceptedUnit> {
    let time = |at: i64| Timestamp::from_second(at).ok().map(Time);
    let revision = &mark.revision;
    Some(AcceptedUnit {
        unit: revision.unit.clone(),
        digest: revision.digest.to_string(),
        date: time(revision.date)?,
        valid_until: revision.valid_until.and_then(time),
        identity: mark.identity.clone(),
        allowed: mark.allowed.clone(),
        instead_of: mark.instead_of.and_then(time),
    })
}

/// Marks as `--high-water` takes them.
pub fn argument(marks: &[AcceptedUnit]) -> String {
    let seconds = |at: &Time| at.0.as_second();
    let told = |mark: &AcceptedUnit| {
        Some(Accepted {
            revision: UnitRevision {
                unit: mark.unit.clone(),
                digest: mark.digest.parse().ok()?,
                date: seconds(&mark.date),
                valid_until: mark.valid_until.as_ref().map(seconds),
            },
            identity: mark.identity.clone(),
            allowed: mark.allowed.clone(),
            instead_of: mark.instead_of.as_ref().map(seconds),
        })
    };
    let marks: Vec<_> = marks.iter().filter_map(told).collect();
    serde_json::to_string(&marks).unwrap_or_else(|_| "[]".to_owned())
}
