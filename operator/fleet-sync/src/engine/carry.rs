//! A unit that is refused is carried: the next snapshot holds of it what the newest one has, listed again from the base's
//! own blobs.

use fleet_formats::seam::{Format, IndexGroup};
use fleet_store::EntryState;
use fleet_types::{Reason, RepoPath};

use super::gather::{Gather, Listing};
use super::presence::Presence;
use super::want::WantState;
use crate::Problem;

impl Gather<'_> {
    /// Lists again what the base holds of a unit, from the base's own blobs and with the slice that it was taken by.
    pub(super) fn carry(&mut self, unit: u16, name: &str) -> Result<(), Problem> {
        let Some(base) = &self.ground.stock.base else {
            return Ok(());
        };
        let format = (self.ground.rules.options.make_format)(base.content.slice_of(name))
            .map_err(|e| lost(name, &e.message))?;
        let plan = format.roots(name).map_err(|e| lost(name, &e.message))?;
        let plan = plan.with_signatures();
        let mut roots = self.ground.stock.read_roots(&plan)?;
        let roots_alone = roots.len();
        self.ground
            .stock
            .add_unlisted(name, format.as_ref(), &mut roots)?;
        let contents: Vec<_> = roots.iter().map(|root| root.content.clone()).collect();
        // It was verified when it was accepted: neither its age nor a key that has expired since matters now.
        let index = (format.read(name, &contents)).map_err(|e| lost(name, &e.message))?;
        roots.truncate(roots_alone);
        for root in &roots {
            self.carried_path(unit, &root.content.path)?;
        }
        for group in &index.groups {
            self.carry_group(unit, group, format.as_ref())?;
        }
        Ok(())
    }

    fn carry_group(
        &mut self,
        unit: u16,
        group: &IndexGroup,
        format: &dyn Format,
    ) -> Result<(), Problem> {
        let files: Vec<Presence> = group
            .files
            .iter()
            .map(|file| self.presence_in_base(&file.path))
            .collect();
        for file in &group.files {
            self.carried_path(unit, &file.path)?;
            for alias in &file.aliases {
                self.carried_path(unit, &alias.path)?;
            }
        }
        if group.lists_payload {
            self.payload(Listing::carried(unit), group, &files, format)?;
        }
        Ok(())
    }

    fn presence_in_base(&self, path: &RepoPath) -> Presence {
        match self.ground.stock.entry(path) {
            Some(entry) if entry.state == EntryState::Present => Presence::Here {
                digest: entry.digest,
                modified: Some(entry.mtime),
            },
            Some(entry) if entry.state == EntryState::Excluded => Presence::Excluded,
            _ => Presence::Absent,
        }
    }

    /// Roots and indices are carried as the base has them; what it does not have was not there.
    fn carried_path(&mut self, unit: u16, path: &RepoPath) -> Result<(), Problem> {
        let Some(entry) = self.ground.stock.entry(path) else {
            return Ok(());
        };
        let mut want = self.want(unit, path.clone(), WantState::Carried, entry.size);
        want.sha256 = (entry.digest != fleet_store::NO_DIGEST).then_some(entry.digest);
        want.sha512 = entry.sha512;
        (want.mutable, want.guarded, want.mtime) = (entry.mutable, entry.guarded, entry.mtime);
        self.push(&want)
    }
}

fn lost(unit: &str, why: &str) -> Problem {
    Problem::new(
        Reason::StoreCorrupt,
        format!("{unit}: its previous state cannot be read again from the store: {why}"),
    )
}
