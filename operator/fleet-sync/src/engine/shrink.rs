//! The shrink guard: a unit that would lose much of what it had keeps its state until a person has looked at it.
//!
//! What counts is guarded payload that the base has and that nobody lists any more; what is listed in a way that nothing
//! can be copied by is not listed. Payload that we leave out ourselves is still listed, and units are compared only with a
//! state that was taken by the same content block, so a change of our own never counts.

use std::collections::BTreeMap;

use fleet_store::Sorted;
use fleet_types::{Reason, counted};

use super::gather::{Gather, Stance};
use super::indices::Advance;
use super::lost::LostFiles;
use super::merge::Merged;
use super::plan::Refusals;
use super::run::Ground;
use super::tally::{Loss, Tally, counts};
use super::want::{Want, WantState};
use crate::{Problem, Shrink};

/// The units that would lose more than is allowed.
pub(super) fn shrunk(
    ground: &Ground,
    stances: &[Stance],
    wants: &Sorted<Want>,
    tally: &Tally,
) -> Result<Refusals, Problem> {
    let shrink = &ground.rules.options.verification.shrink;
    let changed: BTreeMap<u16, &Advance> = stances
        .iter()
        .enumerate()
        .filter_map(|(unit, stance)| Some((unit as u16, changed(ground, unit, stance)?)))
        .collect();
    if changed
        .keys()
        .all(|unit| tally.worst(*unit).is_allowed(shrink))
    {
        return Ok(Refusals::new());
    }
    let gone = if changed.len() == 1 {
        changed.keys().map(|unit| (*unit, tally.gone)).collect()
    } else {
        gone_by_unit(ground, changed.keys().copied(), wants)?
    };
    let mut refusals = Refusals::new();
    for (unit, advance) in changed {
        let loss = Loss {
            gone: gone.get(&unit).copied().unwrap_or(0),
            ..tally.worst(unit)
        };
        let allowed = shrink
            .allowed
            .contains(&advance.listed.index.revision.digest);
        if !allowed && !loss.is_allowed(shrink) {
            refusals.insert(
                unit,
                refused(loss, ground.rules.name(unit), advance, shrink),
            );
        }
    }
    Ok(refusals)
}

/// A unit that advances from a state that was taken by the same content block.
fn changed<'a>(ground: &Ground, unit: usize, stance: &'a Stance) -> Option<&'a Advance> {
    let (Stance::Advance(advance), Some(base)) = (stance, &ground.stock.base) else {
        return None;
    };
    let name = ground.rules.units.get(unit)?;
    let before = base.revision(name)?;
    let comparable = base.content.slice_of(name) == &ground.rules.options.content
        && before.digest != advance.listed.index.revision.digest;
    comparable.then_some(advance.as_ref())
}

/// Whose the payload was that nobody lists any more: what the units listed before, side by side with what is wanted.
fn gone_by_unit(
    ground: &Ground,
    units: impl Iterator<Item = u16>,
    wants: &Sorted<Want>,
) -> Result<BTreeMap<u16, u64>, Problem> {
    let nothing = LostFiles::new();
    let mut gather = Gather::new(ground, &nothing);
    for unit in units {
        gather.unit(unit, ground.rules.name(unit), &Stance::Carry)?;
    }
    let before = gather.finish()?.wants;
    let mut wanted = wants.iter().peekable();
    let mut gone = BTreeMap::new();
    for listed in Merged::new(before.iter()) {
        ground.watch.stop.check()?;
        // A base that disagrees with itself was never published.
        let Ok(listed) = listed? else { continue };
        let path = &listed.want.path;
        let mut still = false;
        while let Some(want) = wanted
            .next_if(|want| want.as_ref().map_or(true, |want| want.path <= *path))
            .transpose()?
        {
            still |= want.path == *path && want.state != WantState::Unusable;
        }
        let gone_now = !still && listed.want.guarded && listed.want.state == WantState::Carried;
        if gone_now && counts(ground.stock.entry(path).as_ref()) {
            for unit in &listed.listing {
                *gone.entry(*unit).or_default() += 1;
            }
        }
    }
    Ok(gone)
}

fn refused(loss: Loss, unit: &str, advance: &Advance, shrink: &Shrink) -> Problem {
    let all = loss.gone + loss.kept;
    let count = shrink
        .max_count
        .map(|count| format!(" and {}", counted(count, "file")))
        .unwrap_or_default();
    let text = format!(
        "{unit}: {} of {} would go; verification.shrink allows {} %{count}; if the upstream really dropped them, put into the Mirror's spec `verification: {{shrink: {{allowed: [\"{}\"]}}}}`",
        loss.gone,
        counted(all, "file"),
        shrink.max_percent,
        advance.listed.index.revision.digest
    );
    Problem::new(Reason::ShrinkRefused, text)
}
