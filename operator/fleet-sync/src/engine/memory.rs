//! What is remembered from one run to the next, in the store's `state/` and outside all snapshots.

use std::collections::BTreeMap;

use fleet_formats::seam::UnitIndex;
use fleet_store::Store;
use fleet_types::documents::UnitsMemory;
use fleet_types::{Accepted, ClockReading, Reason, Sha256, UnitRevision};
use serde::{Deserialize, Serialize};

use super::base::Base;
use super::known::Known;
use super::one_clock::Contradiction;
use super::pace::AllBehind;
use super::shelves::Shelves;
use crate::Problem;

/// `state/units.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Memory {
    #[serde(default)]
    pub units: BTreeMap<String, UnitMemory>,
    /// Endpoints whose clock stands while the authority's goes on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub behind: AllBehind,
    /// The pin that came from the manifest: taking it out of the manifest ends this pin and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared_pin: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UnitMemory {
    /// The newest state that was ever accepted, or the one that a person let through instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high_water: Option<Accepted>,
    /// The root file that identified the state last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// How the upstream's clock stood before the newest accepted state was read, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockReading>,
    /// By the endpoint's URL.
    #[serde(default)]
    pub endpoints: BTreeMap<String, Known>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contradictions: Vec<Contradiction>,
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

impl Memory {
    pub const DOCUMENT: &str = UnitsMemory::DOCUMENT;

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
                unit.high_water = Some(mark.clone().into());
            }
        }
        Ok(memory)
    }

    /// The marks that a run left in a store and that the caller does not know as they are.
    pub fn unlike(store: &Store, told: &[Accepted]) -> Vec<Accepted> {
        let memory: Memory = store
            .state(Self::DOCUMENT)
            .ok()
            .flatten()
            .unwrap_or_default();
        memory.marks_unlike(told)
    }

    /// The newest accepted state of a unit: the newer of our own memory and of what the caller remembers.
    pub fn high_water(&self, unit: &str, told: &[Accepted]) -> Option<Accepted> {
        let own = self
            .units
            .get(unit)
            .and_then(|memory| memory.high_water.clone());
        let told = told
            .iter()
            .filter(|mark| mark.revision.unit == unit)
            .max_by_key(|mark| mark.revision.date)
            .cloned();
        match (own, told) {
            (Some(own), Some(told)) => Some(own.newer(told)),
            (own, told) => own.or(told),
        }
    }

    /// Notes an accepted state.
    pub fn accept(&mut self, index: &UnitIndex, told: &[Accepted]) {
        let mark = Accepted {
            revision: index.revision.clone(),
            identity: index.identity.clone(),
            allowed: index.allowed.clone(),
            instead_of: None,
        };
        self.accept_mark(mark, told);
    }

    /// Notes a state that others have accepted: what they told of it counts.
    pub fn accept_copied(&mut self, revision: &UnitRevision, told: &[Accepted]) {
        let same = |mark: &&Accepted| {
            let known = &mark.revision;
            (&known.unit, &known.digest) == (&revision.unit, &revision.digest)
        };
        let mark = told.iter().find(same).cloned();
        self.accept_mark(mark.unwrap_or_else(|| revision.clone().into()), told);
    }

    fn accept_mark(&mut self, state: Accepted, told: &[Accepted]) {
        let name = state.revision.unit.clone();
        let before = self.high_water(&name, told);
        self.units.entry(name).or_default().high_water = Some(mark(state, before));
    }

    fn marks_unlike(&self, told: &[Accepted]) -> Vec<Accepted> {
        let units = self.units.values();
        let marks = units.filter_map(|unit| unit.high_water.clone());
        marks.filter(|mark| !told.contains(mark)).collect()
    }
}

/// The high-water mark after a state was accepted. Only what a person let through lowers it.
fn mark(mut mark: Accepted, before: Option<Accepted>) -> Accepted {
    let Some(before) = before else { return mark };
    let was = &before.revision;
    let takes_its_place = [Reason::RollbackDetected, Reason::Equivocation]
        .iter()
        .any(|reason| mark.allowed.contains(reason));
    if takes_its_place {
        mark.instead_of = Some(was.date).max(before.instead_of);
    } else if was.date > mark.revision.date {
        // Undated.
        return before;
    } else {
        let still_older = |date: &i64| *date > mark.revision.date;
        mark.instead_of = before.instead_of.filter(still_older);
    }
    if was.digest == mark.revision.digest {
        // What it was let through for when it was new.
        let mut earlier = before.allowed;
        earlier.retain(|reason| !mark.allowed.contains(reason));
        mark.allowed.append(&mut earlier);
        mark.instead_of = before.instead_of;
    }
    mark
}

#[cfg(test)]
mod tests;
