//! The newest snapshot that there is: what a run starts from, and what a refused unit is carried forward from.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_formats::seam::{RootFile, RootPlan, UnitIndex};
use fleet_store::{EntryState, Snapshot};
use fleet_types::UnitRevision;
use serde::{Deserialize, Serialize};

use super::list::{Probe, Root, root};
use super::run::Run;
use super::shelves::Shelves;
use crate::{LeftOut, Problem};

/// What a snapshot's `content` says: the slice as declared, and the older slices of units that were carried forward.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Content {
    pub slice: serde_json::Value,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub carried: BTreeMap<String, serde_json::Value>,
    /// By unit, what its indices list and nothing can be copied by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, LeftOut>,
}

impl Content {
    /// The slice by which a unit of this snapshot was taken.
    pub fn slice_of(&self, unit: &str) -> &serde_json::Value {
        self.carried.get(unit).unwrap_or(&self.slice)
    }
}

pub(super) struct Base {
    pub snapshot: Arc<Snapshot>,
    pub content: Content,
    /// All other kept snapshots: their names are known names too.
    pub older: Vec<Arc<Snapshot>>,
}

impl Base {
    /// A snapshot that is damaged counts as none: what it was is made anew from the upstream and from the blobs.
    pub fn of(shelves: &Shelves) -> Result<Option<Base>, Problem> {
        let Some(store) = shelves.known() else {
            return Ok(None);
        };
        let mut kept = Vec::new();
        for info in store.snapshots()? {
            kept.extend(shelves.snapshot(&info.id)?);
        }
        let Some(snapshot) = kept.pop() else {
            return Ok(None);
        };
        // A snapshot that another version wrote differently has its slice there.
        let content =
            serde_json::from_value(snapshot.meta().content.clone()).unwrap_or_else(|_| Content {
                slice: snapshot.meta().content.clone(),
                carried: BTreeMap::new(),
                left_out: BTreeMap::new(),
            });
        Ok(Some(Base {
            snapshot,
            content,
            older: kept,
        }))
    }

    /// The newest state of each unit in any kept snapshot.
    pub fn newest_revisions(&self) -> impl Iterator<Item = &UnitRevision> {
        let kept = self.older.iter().chain([&self.snapshot]);
        kept.flat_map(|snapshot| &snapshot.meta().revision)
    }

    pub fn revision(&self, unit: &str) -> Option<&UnitRevision> {
        self.snapshot
            .meta()
            .revision
            .iter()
            .find(|revision| revision.unit == unit)
    }
}

impl Run {
    /// What clients have while something is refused.
    pub(super) fn still_served(&self) -> String {
        match &self.base {
            Some(base) => {
                let made = super::list::date(base.snapshot.meta().created);
                format!("the snapshot of {made} goes on being served")
            }
            None => "nothing was served yet".to_owned(),
        }
    }

    pub(super) fn base_has(&self, unit: &str, probe: &Probe) -> bool {
        let Some(base) = &self.base else { return false };
        let entry = base.snapshot.get(probe.root.content.path.as_str());
        base.revision(unit).is_some()
            && entry.is_some_and(|entry| {
                entry.state == EntryState::Present && entry.digest == probe.root.digest
            })
    }

    /// The roots of the base's state, where the probe shows that the upstream still has it.
    pub(super) fn roots_of_base(
        &self,
        unit: &str,
        plan: &RootPlan,
        probe: &Probe,
    ) -> Result<Option<Vec<Root>>, Problem> {
        if !self.base_has(unit, probe) {
            return Ok(None);
        }
        match self.base_is_damaged_in(plan) {
            true => Ok(None),
            false => self.read_roots_of_base(plan).map(Some),
        }
    }

    /// Whether a root that the base has is damaged in the store.
    pub(super) fn base_is_damaged_in(&self, plan: &RootPlan) -> bool {
        let damaged = |file: &RootFile| {
            let entry = (self.base.as_ref()).and_then(|base| base.snapshot.get(file.path.as_str()));
            entry.is_some_and(|entry| self.shelves.damage.contains(&entry.digest))
        };
        plan.probes.iter().chain(&plan.companions).any(damaged)
    }

    /// Whether the base has exactly these roots of a unit, whole.
    pub(super) fn base_has_exactly(&self, unit: &str, plan: &RootPlan, index: &UnitIndex) -> bool {
        let Some(base) = self
            .base
            .as_ref()
            .filter(|_| !self.base_is_damaged_in(plan))
        else {
            return false;
        };
        let as_served = |file: &RootFile| {
            let entry = base
                .snapshot
                .get(file.path.as_str())
                .filter(|entry| entry.state == EntryState::Present);
            let listed = index.roots.iter().find(|(path, _)| *path == file.path);
            entry.map(|entry| entry.digest) == listed.map(|(_, digest)| *digest)
        };
        base.revision(unit)
            .is_some_and(|revision| revision.digest == index.revision.digest)
            && plan.probes.iter().chain(&plan.companions).all(as_served)
    }

    /// All roots of a unit that the base holds.
    pub(super) fn read_roots_of_base(&self, plan: &RootPlan) -> Result<Vec<Root>, Problem> {
        let Some(base) = &self.base else {
            return Ok(Vec::new());
        };
        let mut roots: Vec<Root> = Vec::new();
        for file in plan.probes.iter().chain(&plan.companions) {
            let entry = base
                .snapshot
                .get(file.path.as_str())
                .filter(|entry| entry.state == EntryState::Present);
            if let Some(entry) =
                entry.filter(|_| !roots.iter().any(|root| root.content.path == file.path))
            {
                roots.push(root(
                    file,
                    self.shelves.read(&entry.digest, file.max_bytes)?,
                    Some(entry.mtime),
                ));
            }
        }
        Ok(roots)
    }
}
