//! What a run has when it begins: the store, the newest snapshot in it, and what earlier runs remembered.

use std::sync::Arc;

use fleet_formats::seam::{Format, RootContent, RootFile, RootPlan, UnitIndex};
use fleet_store::{Entry, EntryState};
use fleet_types::documents::UnixSeconds;
use fleet_types::{RepoPath, Sha256, UnitRevision};

use super::base::Base;
use super::memory::Memory;
use super::merge::Previous;
use super::root::{Probe, Root};
use super::shelves::Shelves;
use super::want::Want;
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
                let made = UnixSeconds(base.snapshot.meta().created);
                format!("the snapshot of {made} goes on being served")
            }
            None => "nothing was served yet".to_owned(),
        }
    }

    /// What the newest snapshot says of a path.
    pub fn entry(&self, path: &RepoPath) -> Option<Entry> {
        self.base.as_ref()?.snapshot.get(path.as_str())
    }

    /// As [`Stock::entry`], of what is there.
    fn present(&self, path: &RepoPath) -> Option<Entry> {
        let entry = self.entry(path);
        entry.filter(|entry| entry.state == EntryState::Present)
    }

    /// Whether what the newest snapshot says of a path is what is wanted. A signature is, where what it signs is as it
    /// was.
    pub fn is_same(&self, want: &Want, entry: &Entry, previous: &Previous) -> bool {
        match &want.over {
            Some(signed) => {
                let before = previous.entry(&signed.path);
                let before = before.or_else(|| self.entry(&signed.path));
                before.is_some_and(|before| {
                    before.state.is_offered() && before.digest == signed.sha256
                }) && want.sha256.is_none_or(|given| given == entry.digest)
            }
            None => want.same_content(entry) == Some(true),
        }
    }

    /// The state of a unit in the newest snapshot.
    pub fn state_of(&self, unit: &str) -> Option<&UnitRevision> {
        self.base.as_ref()?.revision(unit)
    }

    /// Whether that is the state of `index`.
    pub fn is_at(&self, index: &UnitIndex) -> bool {
        let known = self.state_of(&index.revision.unit);
        known.is_some_and(|known| known.digest == index.revision.digest)
    }

    /// Whether the base has this very file, of a state that it holds.
    pub fn has_probe(&self, unit: &str, probe: &Probe) -> bool {
        let entry = self.present(&probe.root.content.path);
        self.state_of(unit).is_some()
            && entry.is_some_and(|entry| entry.digest == probe.root.content.sha256)
    }

    /// The roots of the base's state, where the probe shows that the upstream still has it.
    pub fn roots_of_base(
        &self,
        unit: &str,
        plan: &RootPlan,
        probe: &Probe,
    ) -> Result<Option<Vec<Root>>, Problem> {
        match self.has_probe(unit, probe) && !self.is_damaged_in(plan) {
            true => self.read_roots(plan).map(Some),
            false => Ok(None),
        }
    }

    /// Whether a root that the base has is damaged in the store.
    fn is_damaged_in(&self, plan: &RootPlan) -> bool {
        let damaged = |file: &RootFile| {
            let entry = self.entry(&file.path);
            entry.is_some_and(|entry| self.shelves.damage.contains(&entry.digest))
        };
        plan.probes.iter().chain(&plan.companions).any(damaged)
    }

    /// Whether the base has exactly these roots of a unit, whole.
    pub fn has_exactly(&self, plan: &RootPlan, index: &UnitIndex) -> bool {
        let as_served = |file: &RootFile| {
            let listed = index.roots.iter().find(|(path, _)| *path == file.path);
            self.present(&file.path).map(|entry| entry.digest) == listed.map(|(_, digest)| *digest)
        };
        !self.is_damaged_in(plan)
            && self.is_at(index)
            && plan.probes.iter().chain(&plan.companions).all(as_served)
    }

    /// All roots of a unit that the base holds.
    pub fn read_roots(&self, plan: &RootPlan) -> Result<Vec<Root>, Problem> {
        let mut roots: Vec<Root> = Vec::new();
        for file in plan.probes.iter().chain(&plan.companions) {
            let is_read = roots.iter().any(|root| root.content.path == file.path);
            if let Some(entry) = self.present(&file.path).filter(|_| !is_read) {
                roots.push(Root {
                    content: self.shelves.root(file, &entry.digest)?,
                    modified: Some(entry.mtime),
                });
            }
        }
        Ok(roots)
    }

    /// What the base has of the very state that was found; nothing where that is where it was found.
    pub fn held(
        &self,
        plan: &RootPlan,
        index: &UnitIndex,
        from_base: bool,
    ) -> Result<Vec<Root>, Problem> {
        match self.is_at(index) && !from_base && !self.is_damaged_in(plan) {
            true => self.read_roots(plan),
            false => Ok(Vec::new()),
        }
    }

    /// Adds to a unit's roots what is read besides them, of a unit that was taken from there.
    pub fn add_unlisted(
        &self,
        unit: &str,
        format: &dyn Format,
        roots: &mut Vec<Root>,
    ) -> Result<(), Problem> {
        let contents: Vec<RootContent> = roots.iter().map(|root| root.content.clone()).collect();
        for names in format.unlisted(unit, &contents)? {
            let here = (names.iter()).find_map(|file| Some((file, self.present(&file.path)?)));
            if let Some((file, entry)) = here {
                roots.push(Root {
                    content: self.shelves.root(file, &entry.digest)?,
                    modified: Some(entry.mtime),
                });
            }
        }
        Ok(())
    }

    /// Whether this very file was in doubt when it was last seen here.
    pub fn is_doubted(&self, unit: &str, identity: &str, digest: &Sha256) -> bool {
        let memory = self.memory.units.get(unit);
        let known = memory.and_then(|memory| memory.endpoints.get(identity));
        known.is_some_and(|known| known.doubted && known.digest == *digest)
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
