//! The newest state of each unit that was ever accepted.

use fleet_api::AcceptedUnit;
use fleet_types::UnitRevision;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Raises high-water marks: the newest date of each unit wins.
pub fn raise(marks: &mut Vec<AcceptedUnit>, revision: &[UnitRevision]) {
    for unit in revision {
        let Ok(date) = Timestamp::from_second(unit.date) else {
            continue;
        };
        let accepted = AcceptedUnit {
            unit: unit.unit.clone(),
            digest: unit.digest.to_string(),
            date: Time(date),
            valid_until: unit
                .valid_until
                .and_then(|at| Timestamp::from_second(at).ok())
                .map(Time),
        };
        match marks.iter_mut().find(|mark| mark.unit == unit.unit) {
            Some(mark) if mark.date.0 <= date => *mark = accepted,
            Some(_) => {}
            None => marks.push(accepted),
        }
    }
    marks.sort_by(|a, b| a.unit.cmp(&b.unit));
}

/// High-water marks as `--high-water` takes them.
pub fn high_water_argument(marks: &[AcceptedUnit]) -> String {
    let marks: Vec<_> = marks
        .iter()
        .filter_map(|mark| {
            Some(UnitRevision {
                unit: mark.unit.clone(),
                digest: mark.digest.parse().ok()?,
                date: mark.date.0.as_second(),
                valid_until: mark.valid_until.as_ref().map(|at| at.0.as_second()),
            })
        })
        .collect();
    serde_json::to_string(&marks).unwrap_or_else(|_| "[]".to_owned())
}
