//! What the other endpoints have while something is new. Two contents of one date are not ours to choose from: either
//! the upstream publishes more than one truth, or somebody else signs with its key.

use std::time::Duration;

use fleet_formats::seam::{RootPlan, let_through};
use fleet_types::documents::UnixSeconds;
use fleet_types::{Reason, Relation, UnitRevision};
use futures::FutureExt;

use super::list::{Ahead, Lister, State};
use super::one_clock::Compared;
use super::pace::Pace;
use crate::Problem;

/// An endpoint that takes longer to tell what it has is no obstacle.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What other endpoints say of a state.
#[derive(Default)]
pub(super) struct Heard {
    /// Those that have the same state in other bytes.
    pub same: Vec<State>,
    pub at_one_clock: Compared,
    pub pace: Option<Pace>,
}

/// The state that another endpoint has.
pub(super) struct Other<'a> {
    pub url: String,
    pub revision: &'a UnitRevision,
}

impl Lister<'_> {
    /// Asks others as far as that can tell anything: by the clock where the format has one, else by what is new.
    pub(super) async fn hear(
        &self,
        unit: &str,
        plan: &RootPlan,
        state: &State,
        authority: Option<&State>,
    ) -> Result<Heard, Problem> {
        let mut heard = Heard::default();
        if self.rules.options.format.state_files().clock().is_some() {
            let clock = state.probe.clock.as_ref();
            heard.pace = self.pace(unit, state.endpoint, clock).await?;
            heard.at_one_clock = self.compare_at_one_clock(unit, plan, state).await?;
        } else if !state.unchanged {
            heard.same = self.hear_witnesses(unit, plan, state, authority).await?;
        }
        Ok(heard)
    }

    /// Asks every other endpoint, but the one that was `heard` already, about a unit of which `state` is new; gives those that
    /// have the same state in other bytes. Errors: `Equivocation`, and what ends the run.
    async fn hear_witnesses(
        &self,
        unit: &str,
        plan: &RootPlan,
        state: &State,
        heard: Option<&State>,
    ) -> Result<Vec<State>, Problem> {
        let mut same = Vec::new();
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
        let what = format!(
            "two different contents are dated {}",
            UnixSeconds(ours.date)
        );
        let other = Other {
            url: self.upstream.fetcher.endpoints().url(other.endpoint),
            revision: theirs,
        };
        let ends = "the upstream's next update ends this";
        self.choose(unit, state, &other, (&what, ends))
    }

    /// Of two states that contradict each other a person chooses, or nobody. Errors: `Equivocation`, and `BehindAuthority`
    /// where a person has chosen the other.
    pub(super) fn choose(
        &self,
        unit: &str,
        state: &State,
        other: &Other<'_>,
        (what, ends): (&str, &str),
    ) -> Result<(), Problem> {
        let url = self.upstream.fetcher.endpoints().url(state.endpoint);
        let (ours, theirs) = (&state.index.revision, other.revision);
        let chosen = |revision: &UnitRevision| {
            let allowances = self.rules.allowances(unit);
            allowances.allows(revision.digest, Reason::Equivocation)
        };
        if chosen(ours) {
            let text = format!(
                "verification.allowed takes the state of {url}, though {} has another content of the same date",
                other.url
            );
            self.watch.note(unit, &text);
            return Ok(());
        }
        if chosen(theirs) {
            let text = format!(
                "{unit}: {url} does not have the state that verification.allowed takes, {}; name an endpoint that has it",
                theirs.digest
            );
            return Err(Problem::new(Reason::BehindAuthority, text));
        }
        let text = format!(
            "{unit}: {what}: {url} has {}, {} has {}; {ends}; {}",
            ours.digest,
            other.url,
            theirs.digest,
            let_through(ours, &[Reason::Equivocation])
        );
        Err(Problem::new(Reason::Equivocation, text))
    }
}
