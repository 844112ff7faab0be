//! What the other endpoints have while something is new. Two contents of one date are not ours to choose from: either
//! the upstream publishes more than one truth, or somebody else signs with its key.

use std::time::Duration;

use fleet_formats::seam::RootPlan;
use fleet_types::{Reason, UnitRevision};
use futures::FutureExt;

use super::list::{State, date};
use super::run::Run;
use crate::Problem;

/// An endpoint that takes longer to tell what it has is no obstacle.
const PATIENCE: Duration = Duration::from_secs(10);

impl Run {
    /// Asks every other endpoint about a unit of which `state` is new; gives those that have the same state in other
    /// bytes. Errors: `Equivocation`, and what ends the run.
    pub(super) async fn hear_witnesses(
        &self,
        unit: &str,
        plan: &RootPlan,
        state: &State,
    ) -> Result<Vec<State>, Problem> {
        let mut same = Vec::new();
        let others = self
            .fetcher
            .endpoints()
            .bulk()
            .filter(|other| *other != state.endpoint);
        // Boxed for the same reason as where units are listed.
        let ask = |other| {
            tokio::time::timeout(PATIENCE, self.other_state(unit, plan, other, state)).boxed()
        };
        let asked: Vec<_> = others.map(ask).collect();
        for answer in futures::future::join_all(asked).await {
            match answer {
                Ok(Ok(Some(other))) => {
                    self.agree(unit, state, &other)?;
                    same.push(other);
                }
                Ok(Err(problem))
                    if problem.ends_the_run() && problem.reason != Reason::UpstreamBusy =>
                {
                    return Err(problem);
                }
                // The same, older, of no use, or out of reach.
                _ => {}
            }
        }
        Ok(same)
    }

    /// One request, unless the endpoint has something else: that is then read and verified like any state.
    async fn other_state(
        &self,
        unit: &str,
        plan: &RootPlan,
        endpoint: usize,
        state: &State,
    ) -> Result<Option<State>, Problem> {
        let probe = self.probe(unit, plan, endpoint).await?;
        let before = self.base.as_ref().and_then(|base| base.revision(unit));
        let is_of_base = before.is_some_and(|base| base.digest == state.index.revision.digest);
        if probe.known.digest == state.probe.digest || (self.base_has(unit, &probe) && !is_of_base)
        {
            return Ok(None);
        }
        self.state(unit, plan, endpoint).await.map(Some)
    }

    /// Whether two states can be of one upstream.
    pub(super) fn agree(&self, unit: &str, a: &State, b: &State) -> Result<(), Problem> {
        let endpoints = self.fetcher.endpoints();
        let told = |state: &State| (endpoints.url(state.endpoint), state.index.revision.clone());
        contradiction(unit, told(a), told(b)).map_or(Ok(()), Err)
    }
}

fn contradiction(
    unit: &str,
    a: (String, UnitRevision),
    b: (String, UnitRevision),
) -> Option<Problem> {
    if !a.1.is_dated() || a.1.date != b.1.date || a.1.digest == b.1.digest {
        return None;
    }
    let text = format!(
        "{unit}: two different contents are dated {}: {} has {}, {} has {}; neither is published; ask the upstream's operators, or wait for its next update",
        date(a.1.date),
        a.0,
        a.1.digest,
        b.0,
        b.1.digest
    );
    Some(Problem::new(Reason::Equivocation, text))
}
