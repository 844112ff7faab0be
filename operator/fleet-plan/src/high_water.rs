//! High-water marks: what runs left behind becomes the Mirror's, and the Mirror's is told to each run.

use fleet_api::AcceptedUnit;
use fleet_types::documents::Report;
use fleet_types::{Accepted, Outcome};

/// Marks after a run of some region. It was told ours, and only a person lets it lower one; what a region that got not so
/// far remembers of before takes nothing back.
pub fn learn(marks: &mut Vec<AcceptedUnit>, report: &Report) {
    let revision = report.revision.iter().map(|unit| unit.clone().into());
    let left: Vec<Accepted> = revision.chain(report.accepted.iter().cloned()).collect();
    for left in left {
        let known = marks.iter().find(|known| known.unit == left.revision.unit);
        let lowered = left.instead_of.is_some() && accepts(report, &left.revision.unit);
        let mark = match known.and_then(AcceptedUnit::mark) {
            Some(known) if !lowered => known.newer(left),
            _ => left,
        };
        if let Some(mark) = AcceptedUnit::of(&mark) {
            marks.retain(|known| known.unit != mark.unit);
            marks.push(mark);
        }
    }
    marks.sort_by(|one, other| one.unit.cmp(&other.unit));
}

/// Whether a run found a unit good.
fn accepts(report: &Report, unit: &str) -> bool {
    let mut units = report.units.iter().filter(|told| told.unit == unit);
    report.is_good() || units.any(|told| told.reason.outcome() == Outcome::Good)
}

/// Marks as `--high-water` takes them, for a run that asks the upstream.
pub fn argument(marks: &[AcceptedUnit]) -> String {
    written(marks.iter().filter_map(AcceptedUnit::mark))
}

/// The same for a run that copies from another region. It is told which bytes, and the hub may have gone ahead of these: it
/// needs only what a person has lowered below what its volume remembers.
pub fn lowered(marks: &[AcceptedUnit]) -> String {
    let marks = marks.iter().filter_map(AcceptedUnit::mark);
    written(marks.filter(|mark| mark.instead_of.is_some()))
}

fn written(marks: impl Iterator<Item = Accepted>) -> String {
    let marks: Vec<_> = marks.collect();
    serde_json::to_string(&marks).unwrap_or_else(|_| "[]".to_owned())
}
