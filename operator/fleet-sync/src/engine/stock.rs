//! What a run has when it begins: the store, the newest snapshot in it, and what earlier runs remembered.

use std::sync::Arc;

use fleet_formats::seam::{Format, RootContent, RootFile, RootPlan, UnitIndex};
use fleet_store::EntryState;
use fleet_types::{Sha256, UnitRevision};

use super::base::Base;
use super::blocking::date;
use super::memory::Memory;
use super::root::{Probe, Root, root};
use super::shelves::Shelves;
use crate::Problem;

pub(super) struct Stock {
    pub shelves: Arc<Shelves>,
    pub base: Option<Base>,
    pub memory: Memory,
}

impl Stock {
    pub fn new(shelves: Arc<Shelves>) -> Result<Stock, Problem> {
        let base = Base::of(&shelves)?;
        Ok(Stock {
            memory: Memory::of(&shelves, base.as_ref())?,
            base,
            shelves,
        })
    }

    /// The state of each unit in the newest snapshot.
    pub fn revision(&self) -> Vec<UnitRevision> {
        let base = self.base.as_ref();
        base.map(|base| base.snapshot.meta().revision.clone())
            .unwrap_or_default()
    }

    /// What clients have while something is refused.
    pub fn still_served(&self) -> String {
        match &self.base {
            Some(base) => {
                let made = date(base.snapshot.meta().created);
                format!("the snapshot of {made} goes on being served")
            }
            None => "nothing was served yet".to_owned(),
        }
    }

    /// Whether the base has this very file, of a state that it holds.
    pub fn has_probe(&self, unit: &str, probe: &Probe) -> bool {
        let Some(base) = &self.base else { return false };
        let entry = base.snapshot.get(probe.root.content.path.as_str());
        base.revision(unit).is_some()
            && entry.is_some_and(|entry| {
                entry.state == EntryState::Present && entry.digest == probe.root.digest
            })
    }

    /// The roots of the base's state, where the probe shows that the upstream still has it.
    pub fn roots_of_base(
        &self,
        unit: &str,
        plan: &RootPlan,
        probe: &Probe,
    ) -> Result<Option<Vec<Root>>, Problem> {
        if !self.has_probe(unit, probe) {
            return Ok(None);
        }
        match self.is_damaged_in(plan) {
            true => Ok(None),
            false => self.read_roots(plan).map(Some),
        }
    }

    /// Whether a root that the base has is damaged in the store.
    pub fn is_damaged_in(&self, plan: &RootPlan) -> bool {
        let damaged = |file: &RootFile| {
            let entry = (self.base.as_ref()).and_then(|base| base.snapshot.get(file.path.as_str()));
            entry.is_some_and(|entry| self.shelves.damage.contains(&entry.digest))
        };
        plan.probes.iter().chain(&plan.companions).any(damaged)
    }

    /// Whether the base has exactly these roots of a unit, whole.
    pub fn has_exactly(&self, unit: &str, plan: &RootPlan, index: &UnitIndex) -> bool {
        let Some(base) = self.base.as_ref().filter(|_| !self.is_damaged_in(plan)) else {
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
    pub fn read_roots(&self, plan: &RootPlan) -> Result<Vec<Root>, Problem> {
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

    /// What the base has of the very state that was found; nothing where that is where it was found.
    pub fn held(
        &self,
        unit: &str,
        plan: &RootPlan,
        index: &UnitIndex,
        from_base: bool,
    ) -> Result<Vec<Root>, Problem> {
        let same = self
            .base
            .as_ref()
            .and_then(|base| base.revision(unit))
            .is_some_and(|revision| revision.digest == index.revision.digest);
        match same && !from_base && !self.is_damaged_in(plan) {
            true => self.read_roots(plan),
            false => Ok(Vec::new()),
        }
    }

    /// Whether this very file was in doubt when it was last seen here.
    pub fn is_doubted(&self, unit: &str, identity: &str, digest: &Sha256) -> bool {
        let memory = self.memory.units.get(unit);
        let known = memory.and_then(|memory| memory.endpoints.get(identity));
        known.is_some_and(|known| known.doubted && known.digest == *digest)
    }

    /// Whether the base holds this very state of a unit.
    pub fn is_at(&self, index: &UnitIndex) -> bool {
        let revision = &index.revision;
        let base = self.base.as_ref();
        let known = base.and_then(|base| base.revision(&revision.unit));
        known.is_some_and(|known| known.digest == revision.digest)
    }

    /// The same from the base, for a unit that was taken from there.
    pub fn add_unlisted(
        &self,
        unit: &str,
        format: &dyn Format,
        roots: &mut Vec<Root>,
    ) -> Result<(), Problem> {
        let Some(base) = &self.base else {
            return Ok(());
        };
        let contents: Vec<RootContent> = roots.iter().map(|root| root.content.clone()).collect();
        for names in format.unlisted(unit, &contents)? {
            let here = names.iter().find_map(|file| {
                let entry = base.snapshot.get(file.path.as_str())?;
                (entry.state == EntryState::Present).then_some((file, entry))
            });
            if let Some((file, entry)) = here {
                let bytes = self.shelves.read(&entry.digest, file.max_bytes)?;
                roots.push(root(file, bytes, Some(entry.mtime)));
            }
        }
        Ok(())
    }

    /// Whether the newest snapshot names something that is still damaged.
    pub fn is_damaged(&self) -> bool {
        let damage = &self.shelves.damage;
        let Some(base) = self.base.as_ref().filter(|_| !damage.is_empty()) else {
            return false;
        };
        let mut entries = base.snapshot.iter();
        entries
            .any(|(_, entry)| entry.state == EntryState::Present && damage.contains(&entry.digest))
    }
}
