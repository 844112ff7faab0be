//! What the other endpoints have while something is new. Two contents of one date are not ours to choose from: either
//! the upstream publishes more than one truth, or somebody else signs with its key.

use std::time::Duration;

use fleet_formats::seam::{RootPlan, let_through};
use fleet_types::documents::UnixSeconds;
use fleet_types::{Reason, Relation};
use futures::FutureExt;

use super::list::{Ahead, Lister, State};
use crate::Problem;

/// An endpoint that takes longer to tell what it has is no obstacle.
const PATIENCE: Duration = Duration::from_secs(10);

impl Lister<'_> {
    /// Asks every other endpoint, but the one that was `heard` already, about a unit of which `state` is new; gives those that
    /// have the same state in other bytes. Errors: `Equivocation`, and what ends the run.
    pub(super) async fn hear_witnesses(
        &self,
        unit: &str,
        plan: &RootPlan,
        state: &State,
        heard: Option<&State>,
    ) -> Result<Vec<State>, Problem> {
        let mut same = Vec::new();
        // What an upstream with a clock has are no dated states, and none contradicts another: nothing could be learned.
        if self.rules.options.format.state_files().clock().is_some() {
            return Ok(same);
        }
        let others = self
            .upstream
            .fetcher
            .endpoints()
            .bulk()
            .filter(|other| *other != state.endpoint)
            .filter(|other| heard.is_none_or(|heard| heard.endpoint != *other));
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
        let probe = self.probe(unit, plan, endpoint, &mut Ahead::new()).await?;
        let is_of_base = self.stock.is_at(&state.index);
        if probe.known.digest == state.probe.digest
            || (self.stock.has_probe(unit, &probe) && !is_of_base)
        {
            return Ok(None);
        }
        self.state(unit, plan, endpoint).await.map(Some)
    }

    /// Whether `state` can be of one upstream with `other`. Errors: `Equivocation`, and `BehindAuthority` where a person
    /// has chosen the other.
    pub(super) fn agree(&self, unit: &str, state: &State, other: &State) -> Result<(), Problem> {
        let (ours, theirs) = (&state.index.revision, &other.index.revision);
        if self.rules.options.format.compare(ours, theirs) != Relation::Contradiction {
            return Ok(());
        }
        let url = |state: &State| self.upstream.fetcher.endpoints().url(state.endpoint);
        let chosen = |state: &State| {
            let allowances = self.rules.allowances(unit);
            allowances.allows(state.index.revision.digest, Reason::Equivocation)
        };
        if chosen(state) {
            let text = format!(
                "verification.allowed takes the state of {}, though {} has another content of the same date",
                url(state),
                url(other)
            );
            self.watch.note(unit, &text);
            return Ok(());
        }
        if chosen(other) {
            let text = format!(
                "{unit}: {} does not have the state that verification.allowed takes, {}; name an endpoint that has it",
                url(state),
                theirs.digest
            );
            return Err(Problem::new(Reason::BehindAuthority, text));
        }
        let text = format!(
            "{unit}: two different contents are dated {}: {} has {}, {} has {}; the upstream's next update ends this; {}",
            UnixSeconds(ours.date),
            url(state),
            ours.digest,
            url(other),
            theirs.digest,
            let_through(ours, &[Reason::Equivocation])
        );
        Err(Problem::new(Reason::Equivocation, text))
    }
}
