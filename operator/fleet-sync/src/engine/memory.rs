//! What is remembered from one run to the next, in the store's `state/` and outside all snapshots.

use std::collections::BTreeMap;

use fleet_types::{Sha256, UnitRevision};
use serde::{Deserialize, Serialize};

use super::base::Base;
use super::shelves::Shelves;
use crate::Problem;
use crate::fetch::Validators;

/// `state/units.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Memory {
    #[serde(default)]
    pub units: BTreeMap<String, UnitMemory>,
    /// The pin that came from the manifest: taking it out of the manifest ends this pin and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared_pin: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UnitMemory {
    /// The newest state that was ever accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high_water: Option<UnitRevision>,
    /// The root file that identified the state last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// By the endpoint's URL.
    #[serde(default)]
    pub endpoints: BTreeMap<String, Known>,
    /// Indices of the newest state that are good to have and are left out because of what they list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<OmittedIndex>,
}

/// An index that is left out with all that it lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OmittedIndex {
    /// Its name without a suffix of compression.
    pub stem: String,
    pub why: String,
    /// What is not there, where asking again can help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Missing {
    pub path: String,
    pub size: u64,
    pub sha256: Sha256,
}

impl OmittedIndex {
    /// What people should know of it.
    pub fn note(&self) -> String {
        format!(
            "{} is left out, with what only it lists ({})",
            self.stem, self.why
        )
    }
}

/// How an endpoint described its copy of the probe when it was last accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Known {
    pub path: String,
    pub digest: Sha256,
    /// Another endpoint had other bytes of the same state: one of them was altered on its way, perhaps this one, and
    /// then an answer 304 would confirm it. So it is asked for anew until the state changes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub doubted: bool,
    #[serde(flatten)]
    pub validators: Validators,
}

/// `state/success.json`: the last run that really succeeded or really found nothing new.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Success {
    pub at: i64,
    pub snapshot: Option<String>,
}

impl Memory {
    pub const DOCUMENT: &str = "units";

    /// Where the document was lost, in both of its copies, the kept snapshots still say what was accepted: a damaged
    /// disk must not be what lets an older state back in.
    pub fn of(shelves: &Shelves, base: Option<&Base>) -> Result<Memory, Problem> {
        let mut memory: Memory = shelves.remembered(Self::DOCUMENT)?.unwrap_or_default();
        let forgotten = |memory: &Memory, unit: &str| {
            let known = memory.units.get(unit);
            known.is_none_or(|known| known.high_water.is_none())
        };
        let mut marks: BTreeMap<&str, &UnitRevision> = BTreeMap::new();
        for revision in base.iter().flat_map(|base| base.newest_revisions()) {
            let mark = marks.entry(&revision.unit).or_insert(revision);
            if mark.date < revision.date {
                *mark = revision;
            }
        }
        for (unit, mark) in marks {
            if forgotten(&memory, unit) {
                let unit = memory.units.entry(unit.to_owned()).or_default();
                unit.high_water = Some(mark.clone());
            }
        }
        Ok(memory)
    }

    /// The newest accepted state of a unit: the newer of our own memory and of what the caller remembers.
    pub fn high_water(&self, unit: &str, told: &[UnitRevision]) -> Option<UnitRevision> {
        let own = self
            .units
            .get(unit)
            .and_then(|memory| memory.high_water.clone());
        let told = told
            .iter()
            .filter(|revision| revision.unit == unit)
            .max_by_key(|revision| revision.date)
            .cloned();
        match (own, told) {
            (Some(own), Some(told)) => Some(if told.date > own.date { told } else { own }),
            (own, told) => own.or(told),
        }
    }

    /// Notes an accepted state. With `lower`, a person has allowed it to be older than the newest.
    pub fn accept(&mut self, revision: &UnitRevision, told: &[UnitRevision], lower: bool) {
        let mark = self
            .high_water(&revision.unit, told)
            .filter(|mark| !lower && mark.date > revision.date);
        let memory = self.units.entry(revision.unit.clone()).or_default();
        memory.high_water = Some(mark.unwrap_or_else(|| revision.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(date: i64) -> UnitRevision {
        UnitRevision {
            unit: "trixie".into(),
            digest: Sha256([date as u8; 32]),
            date,
            valid_until: None,
        }
    }

    #[test]
    fn the_newest_memory_counts_and_nothing_lowers_it_but_a_person() {
        let mut memory = Memory::default();
        memory.accept(&revision(10), &[], false);
        assert_eq!(
            memory.high_water("trixie", &[revision(9)]),
            Some(revision(10))
        );
        assert_eq!(
            memory.high_water("trixie", &[revision(12), revision(11)]),
            Some(revision(12))
        );
        assert_eq!(memory.high_water("sid", &[revision(12)]), None);
        memory.accept(&revision(8), &[], false);
        assert_eq!(memory.high_water("trixie", &[]), Some(revision(10)));
        memory.accept(&revision(8), &[], true);
        assert_eq!(memory.high_water("trixie", &[]), Some(revision(8)));
    }
}
