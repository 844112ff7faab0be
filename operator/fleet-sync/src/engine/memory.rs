//! What is remembered from one run to the next, in the store's `state/` and outside all snapshots.

use std::collections::BTreeMap;

use fleet_store::Store;
use fleet_types::{Sha256, UnitRevision};
use serde::{Deserialize, Serialize};

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

    pub fn of(store: &Store) -> Result<Memory, Problem> {
        Ok(store.state(Self::DOCUMENT)?.unwrap_or_default())
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
