//! Whom a change of an Upstream concerns.

use fleet_api::upstream::{ObservedUnit, Upstream};
use fleet_api::{ConditionType, Mirror};

use crate::due::pushed_at;
use crate::freshness::doubted_from;

/// Whether `mirror`, which is of this Upstream, may be planned otherwise now than `before`: the manifest is another one, or
/// what is said of a unit that the Mirror declares.
pub fn concerns(mirror: &Mirror, before: &Upstream, now: &Upstream) -> bool {
    read_by(mirror, before) != read_by(mirror, now)
}

/// What planning a Mirror reads of its Upstream. In what words the authority does not answer is read only where it has told
/// nothing of a unit.
fn read_by<'u>(mirror: &Mirror, upstream: &'u Upstream) -> impl PartialEq + use<'u> {
    let status = upstream.status.as_ref();
    let told = status.map_or(&[][..], |status| &status.revision);
    let units = mirror.spec.content.units();
    let units: Vec<Option<&ObservedUnit>> = (units.iter())
        .map(|unit| told.iter().find(|told| told.unit == *unit))
        .collect();
    let conditions = status.map_or(&[][..], |status| &status.conditions);
    let words = (ConditionType::Reachable.find(conditions))
        .filter(|_| units.contains(&None))
        .map(|condition| (&condition.status, &condition.reason, &condition.message));
    let meta = &upstream.metadata;
    let doubted = doubted_from(upstream);
    (
        &meta.uid,
        meta.generation,
        units,
        words,
        doubted,
        pushed_at(upstream),
    )
}
