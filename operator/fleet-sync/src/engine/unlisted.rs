//! Indices that nothing signed lists, read as roots: only where signatures are not looked at.

use fleet_fetch::Arrival;
use fleet_formats::seam::{RootContent, RootFile, RootPlan, SignaturePolicy};

use super::list::{Lister, State};
use super::root::{Root, arrived};
use crate::Problem;

impl Lister<'_> {
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
            unchanged: self.stock.is_at(&state.index),
            ..state
        })
    }

    /// Whether a refusal of every root may mean that there is none, as with a store whose listing is private: where nobody
    /// signs, nobody was told who we are, and there never was one.
    pub(super) fn may_lack_roots(&self, plan: &RootPlan) -> bool {
        let mut probes = plan.probes.iter();
        let had_one = probes.any(|file| self.stock.entry(&file.path).is_some());
        self.rules.options.trust.signatures == SignaturePolicy::None
            && self.rules.options.access.credentials.is_none()
            && !had_one
    }

    /// Reads what is to be read besides `roots`, the first of its names that exists; how many that are.
    pub(super) async fn add_unlisted(
        &self,
        unit: &str,
        roots: &mut Vec<Root>,
        endpoint: usize,
    ) -> Result<usize, Problem> {
        if self.rules.options.trust.signatures != SignaturePolicy::None {
            return Ok(0);
        }
        let contents: Vec<RootContent> = roots.iter().map(|root| root.content.clone()).collect();
        let format = &self.rules.options.format;
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
            if let Ok(Arrival::Complete(received)) =
                self.upstream.fetch_root(file, endpoint, None).await?
            {
                return Ok(Some(arrived(file, received)));
            }
        }
        Ok(None)
    }
}
