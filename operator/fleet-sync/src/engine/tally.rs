//! What a plan gives up of what the base has, counted: the figures of the shrink guard.

use std::collections::BTreeMap;

use fleet_store::Entry;

use super::want::Wanted;
use crate::Shrink;

/// Small units may change altogether.
const FEWEST: u64 = 20;

/// What a plan keeps and gives up of the base's guarded payload.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub gone: u64,
    /// By unit, what it lists and the base has.
    kept: BTreeMap<u16, u64>,
}

/// How much of a unit would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Loss {
    pub gone: u64,
    pub kept: u64,
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
    pub fn worst(&self, unit: u16) -> Loss {
        Loss {
            gone: self.gone,
            kept: self.kept.get(&unit).copied().unwrap_or(0),
        }
    }
}

pub(super) fn counts(entry: Option<&Entry>) -> bool {
    entry.is_some_and(|entry| entry.guarded && entry.state.is_offered())
}

impl Loss {
    pub fn is_allowed(self, shrink: &Shrink) -> bool {
        let all = u128::from(self.gone) + u128::from(self.kept);
        let part = u128::from(self.gone) * 100 > u128::from(shrink.max_percent) * all;
        let count = shrink.max_count.is_some_and(|max| self.gone > max);
        self.gone < FEWEST || !(part || count)
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
