//! What indices list in a way that nothing can be copied by: found in each plan, and kept with the snapshot.

use std::collections::BTreeMap;

use super::gather::Stance;
use super::run::Ground;
use crate::LeftOut;
use fleet_types::lock;

/// Keeps what a plan found out about the units that advance in it, and tells people what is new of it.
pub(super) fn plan_leaves_out(
    ground: &Ground,
    stances: &[Stance],
    mut found: BTreeMap<String, LeftOut>,
) {
    let units = ground.rules.units.iter().zip(stances);
    let advancing = units.filter(|(_, stance)| matches!(stance, Stance::Advance(_)));
    let planned: BTreeMap<_, _> = advancing
        .map(|(unit, _)| (unit.clone(), found.remove(unit)))
        .collect();
    let mut kept = lock(&ground.watch.planned_left_out);
    let before = std::mem::replace(&mut *kept, planned.clone());
    drop(kept);
    for (unit, left_out) in &planned {
        let note = left_out.as_ref().and_then(LeftOut::note);
        if let Some(note) = note.filter(|_| before.get(unit) != Some(left_out)) {
            ground.watch.progress.note(&format!("{unit}: {note}"));
        }
    }
    let entries = left_out(ground)
        .into_values()
        .map(|left_out| left_out.entries);
    ground.watch.progress.left_out(entries.sum());
}

/// By unit, of the state that is served or would be.
pub(super) fn left_out(ground: &Ground) -> BTreeMap<String, LeftOut> {
    let base = ground
        .stock
        .base
        .as_ref()
        .map(|base| base.content.left_out.clone());
    let mut left_out = base.unwrap_or_default();
    let planned = lock(&ground.watch.planned_left_out);
    for (unit, planned) in planned.iter() {
        match planned {
            Some(planned) => drop(left_out.insert(unit.clone(), planned.clone())),
            None => drop(left_out.remove(unit)),
        }
    }
    left_out
}
