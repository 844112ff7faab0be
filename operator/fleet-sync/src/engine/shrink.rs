//! The shrink guard: a unit that would lose much of what it had keeps its state until a person has looked at it.
//!
//! What counts is guarded payload that the base has and that nobody lists any more; what is listed in a way that nothing
//! can be copied by is not listed. Payload that we leave out ourselves is still listed, and units are compared only with a state that was taken by the same content block, so a change of
//! our own never counts.

use std::collections::BTreeMap;

use fleet_store::{Entry, EntryState, Sorted};
use fleet_types::Reason;

use super::gather::{Gather, Stance};
use super::indices::Advance;
use super::lost::LostFiles;
use super::merge::Merged;
use super::run::Run;
use super::stages::Refusals;
use super::want::{Want, WantState, Wanted};
use crate::{Problem, Shrink};

/// Small units may change altogether.
const FEWEST: u64 = 20;

/// What a plan keeps and gives up of the base's guarded payload.
#[derive(Debug, Default)]
pub(super) struct Tally {
    gone: u64,
    /// By unit, what it lists and the base has.
    kept: BTreeMap<u16, u64>,
}

/// How much of a unit would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Loss {
    gone: u64,
    kept: u64,
}

impl Tally {
    pub fn gone(&mut self, entry: &Entry) {
        self.gone += u64::from(counts(Some(entry)));
    }

    pub fn wanted(&mut self, wanted: &Wanted, before: Option<&Entry>) {
        if !counts(before) {
            return;
        }
        if wanted.listing.is_empty() {
            self.gone += 1;
        } else if wanted.want.guarded {
            for unit in &wanted.listing {
                *self.kept.entry(*unit).or_default() += 1;
            }
        }
    }

    /// The most that a unit can have lost.
    fn worst(&self, unit: u16) -> Loss {
        Loss {
            gone: self.gone,
            kept: self.kept.get(&unit).copied().unwrap_or(0),
        }
    }
}

fn counts(entry: Option<&Entry>) -> bool {
    entry.is_some_and(|entry| entry.guarded && entry.state == EntryState::Present)
}

impl Loss {
    fn is_allowed(self, shrink: &Shrink) -> bool {
        let all = u128::from(self.gone) + u128::from(self.kept);
        let part = u128::from(self.gone) * 100 > u128::from(shrink.max_percent) * all;
        let count = shrink.max_count.is_some_and(|max| self.gone > max);
        self.gone < FEWEST || !(part || count)
    }

    fn refused(self, unit: &str, advance: &Advance, shrink: &Shrink) -> Problem {
        let all = self.gone + self.kept;
        let count = shrink
            .max_count
            .map(|count| format!(" and {count} files"))
            .unwrap_or_default();
        let text = format!(
            "{unit}: {} of {all} files would go; verification.shrink allows {} %{count}; if the upstream really dropped them, put into the Mirror's spec `verification: {{shrink: {{allowed: [\"{}\"]}}}}`",
            self.gone, shrink.max_percent, advance.listed.index.revision.digest
        );
        Problem::new(Reason::ShrinkRefused, text)
    }
}

impl Run {
    /// The units that would lose more than is allowed.
    pub(super) fn shrunk(
        &self,
        stances: &[Stance],
        wants: &Sorted<Want>,
        tally: &Tally,
    ) -> Result<Refusals, Problem> {
        let shrink = &self.options.verification.shrink;
        let changed: BTreeMap<u16, &Advance> = stances
            .iter()
            .enumerate()
            .filter_map(|(unit, stance)| Some((unit as u16, self.changed(unit, stance)?)))
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
            self.gone_by_unit(changed.keys().copied(), wants)?
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
                refusals.insert(unit, loss.refused(self.name(unit), advance, shrink));
            }
        }
        Ok(refusals)
    }

    /// A unit that advances from a state that was taken by the same content block.
    fn changed<'a>(&self, unit: usize, stance: &'a Stance) -> Option<&'a Advance> {
        let (Stance::Advance(advance), Some(base)) = (stance, &self.base) else {
            return None;
        };
        let name = self.units.get(unit)?;
        let before = base.revision(name)?;
        let comparable = base.content.slice_of(name) == &self.options.content
            && before.digest != advance.listed.index.revision.digest;
        comparable.then_some(advance.as_ref())
    }

    /// Whose the payload was that nobody lists any more: what the units listed before, side by side with what is wanted.
    fn gone_by_unit(
        &self,
        units: impl Iterator<Item = u16>,
        wants: &Sorted<Want>,
    ) -> Result<BTreeMap<u16, u64>, Problem> {
        let nothing = LostFiles::new();
        let mut gather = Gather::new(self, &nothing);
        for unit in units {
            gather.unit(unit, self.name(unit), &Stance::Carry)?;
        }
        let before = gather.finish()?.wants;
        let mut wanted = wants.iter().peekable();
        let mut gone = BTreeMap::new();
        for listed in Merged::new(before.iter()) {
            self.stop.check()?;
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
            let entry = self
                .base
                .as_ref()
                .filter(|_| !still && listed.want.guarded)
                .and_then(|base| base.snapshot.get(path.as_str()));
            if listed.want.state == WantState::Carried && counts(entry.as_ref()) {
                for unit in &listed.listing {
                    *gone.entry(*unit).or_default() += 1;
                }
            }
        }
        Ok(gone)
    }

    fn name(&self, unit: u16) -> &str {
        self.units
            .get(usize::from(unit))
            .map(String::as_str)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_and_count_are_limits_each_and_a_few_files_are_none() {
        let allowed = |gone, kept, max_percent, max_count| {
            let shrink = Shrink {
                max_percent,
                max_count,
                allowed: Vec::new(),
            };
            Loss { gone, kept }.is_allowed(&shrink)
        };
        assert!(allowed(100, 900, 10, None));
        assert!(!allowed(101, 899, 10, None));
        assert!(allowed(1_000, 0, 100, None), "100 is no limit");
        assert!(!allowed(101, 1_000_000, 100, Some(100)));
        assert!(allowed(100, 1_000_000, 100, Some(100)));
        assert!(allowed(19, 0, 1, Some(1)), "a few never count");
        assert!(!allowed(20, 0, 1, None));
    }
}
