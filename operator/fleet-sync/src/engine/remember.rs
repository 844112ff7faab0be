//! What a run leaves for the next one: which states were accepted, and how the endpoints described them.

use super::clock::kept;
use super::gather::Stance;
use super::list::Listed;
use super::memory::{Memory, OmittedIndex};
use super::run::Ground;
use crate::Problem;

/// Notes the states that are accepted, and how the endpoints describe them.
pub(super) fn remember(
    ground: &Ground,
    stances: &[Stance],
    left_out: &[(u16, OmittedIndex)],
) -> Result<(), Problem> {
    let mut memory = ground.stock.memory.clone();
    let mut accepted = Vec::new();
    for (number, stance) in (0u16..).zip(stances) {
        let Stance::Advance(advance) = stance else {
            continue;
        };
        let of_unit = left_out.iter().filter(|(unit, _)| *unit == number);
        let revision = &advance.listed.index.revision;
        let unit = memory.units.entry(revision.unit.clone()).or_default();
        unit.left_out = of_unit.map(|(_, out)| out.clone()).collect();
        accepted.push(&advance.listed);
    }
    remember_in(ground, memory, accepted.into_iter())
}

pub(super) fn remember_listed<'a>(
    ground: &Ground,
    accepted: impl Iterator<Item = &'a Listed>,
) -> Result<(), Problem> {
    remember_in(ground, ground.stock.memory.clone(), accepted)
}

fn remember_in<'a>(
    ground: &Ground,
    mut memory: Memory,
    accepted: impl Iterator<Item = &'a Listed>,
) -> Result<(), Problem> {
    for listed in accepted {
        let revision = &listed.index.revision;
        memory.accept(&listed.index, &ground.rules.options.high_water);
        let unit = memory.units.entry(revision.unit.clone()).or_default();
        unit.probe = listed.known.first().map(|(_, known)| known.path.clone());
        let format = ground.rules.options.format.as_ref();
        unit.clock = kept(format, unit.clock.as_ref(), listed.clock.as_ref());
        unit.endpoints.extend(listed.known.iter().cloned());
        if let Some(contradictions) = &listed.contradictions {
            unit.contradictions.clone_from(contradictions);
        }
        match listed.pace.clone() {
            Some((endpoint, Some(behind))) => drop(memory.behind.insert(endpoint, behind)),
            Some((endpoint, None)) => drop(memory.behind.remove(&endpoint)),
            None => {}
        }
    }
    memory
        .units
        .retain(|unit, _| ground.rules.units.contains(unit));
    if memory != ground.stock.memory {
        ground
            .stock
            .shelves
            .writer
            .state_write(Memory::DOCUMENT, &memory)?;
    }
    Ok(())
}
