//! Indices that nothing signed lists, read as roots: only where signatures are not looked at.

use fleet_formats::seam::{Format, RootContent, RootFile, RootPlan, SignaturePolicy, UnitIndex};
use fleet_store::EntryState;

use super::list::{Root, State, root};
use super::run::Run;
use crate::Problem;
use crate::fetch::Arrival;

impl Run {
    /// The state of a unit that has no root at all. `problem` is why there is none.
    pub(super) async fn state_without_roots(
        &self,
        unit: &str,
        endpoint: usize,
        problem: Problem,
    ) -> Result<State, Problem> {
        let mut roots = Vec::new();
        if self.add_unlisted(unit, &mut roots, endpoint).await? == 0 {
            return Err(problem);
        }
        let state = self.verified(unit, endpoint, roots, None, true)?;
        Ok(State {
            unchanged: self.base_is(&state.index),
            ..state
        })
    }

    /// Whether a refusal of every root may mean that there is none, as with a store whose listing is private: where nobody
    /// signs, nobody was told who we are, and there never was one.
    pub(super) fn may_lack_roots(&self, plan: &RootPlan) -> bool {
        let had_one = self.base.as_ref().is_some_and(|base| {
            let mut probes = plan.probes.iter();
            probes.any(|file| base.snapshot.get(file.path.as_str()).is_some())
        });
        self.options.trust.signatures == SignaturePolicy::None
            && self.options.access.credentials.is_none()
            && !had_one
    }

    /// Reads what is to be read besides `roots`, the first of its names that exists; how many that are.
    pub(super) async fn add_unlisted(
        &self,
        unit: &str,
        roots: &mut Vec<Root>,
        endpoint: usize,
    ) -> Result<usize, Problem> {
        if self.options.trust.signatures != SignaturePolicy::None {
            return Ok(0);
        }
        let contents: Vec<RootContent> = roots.iter().map(|root| root.content.clone()).collect();
        let format = &self.options.format;
        let before = roots.len();
        for names in format.unlisted(unit, &contents)? {
            roots.extend(self.first_that_exists(&names, endpoint).await?);
        }
        Ok(roots.len() - before)
    }

    async fn first_that_exists(
        &self,
        names: &[RootFile],
        endpoint: usize,
    ) -> Result<Option<Root>, Problem> {
        for file in names {
            if let Ok(Arrival::Complete(received)) = self.fetch_root(file, endpoint, None).await? {
                let body = received.body.unwrap_or_default();
                return Ok(Some(root(file, body, received.modified)));
            }
        }
        Ok(None)
    }

    /// Whether the base holds this very state of a unit.
    pub(super) fn base_is(&self, index: &UnitIndex) -> bool {
        let revision = &index.revision;
        let base = self.base.as_ref();
        let known = base.and_then(|base| base.revision(&revision.unit));
        known.is_some_and(|known| known.digest == revision.digest)
    }

    /// The same from the base, for a unit that was taken from there.
    pub(super) fn add_unlisted_of_base(
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
}
