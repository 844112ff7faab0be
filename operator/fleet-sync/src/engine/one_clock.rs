//! What another endpoint has of an upstream with a clock. States without dates contradict each other where two endpoints have
//! different ones while their clocks stand alike.
//!
//! For a while that is nothing: who copies a tree while it changes has the clock of one state and files of the next until it
//! copies again. Where it lasts, one of the two withholds what is new, or lies; which one, nobody here can tell.

use std::time::Duration;

use fleet_formats::seam::RootPlan;
use fleet_types::documents::UnixSeconds;
use fleet_types::{ClockReading, Reason, Relation, UnitRevision, counted};
use futures::FutureExt;
use serde::{Deserialize, Serialize};

use super::clock::stands;
use super::known::Known;
use super::list::{Ahead, Lister, State};
use super::root::Probe;
use super::witness::{Other, PATIENCE};
use crate::Problem;

/// How long two endpoints may contradict each other, and one may stay behind: who copies once a day has copied anew by then.
pub(super) const GRACE: Duration = Duration::from_secs(26 * 3600);

/// Two endpoints that had different states of a unit when they were last compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Contradiction {
    /// Their URLs, in their order.
    pub between: [String; 2],
    /// Since when they have had, each time that they could be compared.
    pub since: UnixSeconds,
}

/// What came of the question.
#[derive(Default)]
pub(super) struct Compared {
    /// What is to be remembered; none where nothing was found out.
    pub contradictions: Option<Vec<Contradiction>>,
    /// An endpoint that has the same, and how it describes it.
    pub agreeing: Option<(usize, Known)>,
    /// The two have different ones, so that the clock is not what tells whether anything is new.
    pub differ: bool,
}

impl Lister<'_> {
    /// Asks the first of the other endpoints whose clock stands as that of `state`'s endpoint, where that clock is another
    /// one than before. Errors: `Equivocation` where the two have contradicted each other for too long, `BehindAuthority`
    /// where a person has chosen the other, and what ends the run.
    pub(super) async fn compare_at_one_clock(
        &self,
        unit: &str,
        plan: &RootPlan,
        state: &State,
    ) -> Result<Compared, Problem> {
        let endpoints = self.upstream.fetcher.endpoints();
        let memory = self.stock.memory.units.get(unit);
        let then = memory.and_then(|memory| {
            let known = memory.endpoints.get(&endpoints.identity(state.endpoint))?;
            known.clock.as_ref()
        });
        let clock = state.probe.clock.as_ref();
        let Some(clock) = clock.filter(|clock| !stands(then, Some(clock))) else {
            return Ok(Compared::default());
        };
        for other in endpoints.bulk().filter(|other| *other != state.endpoint) {
            // Boxed for the same reason as where units are listed.
            let asked = self.probe_at(unit, plan, other, clock).boxed();
            match tokio::time::timeout(PATIENCE, asked).await {
                Ok(Ok(Some(probe))) => return self.compared(unit, state, other, clock, probe),
                Ok(Err(problem))
                    if problem.ends_the_run() && problem.reason != Reason::UpstreamBusy =>
                {
                    return Err(problem);
                }
                // Of another time, of no use, or out of reach.
                _ => {}
            }
        }
        Ok(Compared::default())
    }

    /// What identifies an endpoint's state, where its clock stands so.
    async fn probe_at(
        &self,
        unit: &str,
        plan: &RootPlan,
        endpoint: usize,
        clock: &ClockReading,
    ) -> Result<Option<Probe>, Problem> {
        let format = self.rules.options.format.as_ref();
        let theirs = self.upstream.clock(format, endpoint).await?;
        if !stands(theirs, Some(clock)) {
            return Ok(None);
        }
        let mut nothing = Ahead::new();
        let probe = self.probe(unit, plan, endpoint, &mut nothing).await?;
        Ok(Some(probe))
    }

    fn compared(
        &self,
        unit: &str,
        state: &State,
        other: usize,
        clock: &ClockReading,
        probe: Probe,
    ) -> Result<Compared, Problem> {
        let endpoints = self.upstream.fetcher.endpoints();
        let mut between = [state.endpoint, other].map(|endpoint| endpoints.identity(endpoint));
        between.sort();
        let memory = self.stock.memory.units.get(unit);
        let before = memory.map_or(&[][..], |memory| &memory.contradictions);
        if probe.known.digest == state.probe.digest {
            return Ok(Compared {
                contradictions: Some(remembered(before, &between, None)),
                agreeing: Some((other, probe.known)),
                differ: false,
            });
        }
        let Some(theirs) = self.undecided(unit, state, &probe) else {
            return Ok(Compared::default());
        };
        let now = self.rules.now;
        let since = lasting_since(before, &between, now);
        let is_too_long = now.saturating_sub(since) > GRACE.as_secs().cast_signed();
        let (here, there) = (endpoints.url(state.endpoint), endpoints.url(other));
        let reading = clock.state.trim();
        if is_too_long {
            let what = format!(
                "since {} two endpoints have had different contents whenever their clocks stood alike, now at {reading}",
                UnixSeconds(since)
            );
            self.choose(
                unit,
                state,
                &Other {
                    url: there,
                    revision: &theirs,
                },
                (&what, "it ends when both have the same"),
            )?;
        } else {
            let note = format!(
                "{here} and {there} have different contents while their clocks stand alike, at {reading}; where that lasts for \
                 more than {}, nothing new is taken",
                counted(GRACE.as_secs() / 3600, "hour")
            );
            self.watch.note(unit, &note);
        }
        Ok(Compared {
            contradictions: Some(remembered(before, &between, Some(since))),
            agreeing: None,
            differ: true,
        })
    }

    /// The other endpoint's state, where nothing tells which of the two is newer. What cannot be read says nothing.
    fn undecided(&self, unit: &str, state: &State, probe: &Probe) -> Option<UnitRevision> {
        let format = self.rules.options.format.as_ref();
        let roots = std::slice::from_ref(&probe.root.content);
        let theirs = format.read(unit, roots).ok()?.revision;
        let relation = format.compare(&state.index.revision, &theirs);
        matches!(relation, Relation::Undecided | Relation::Contradiction).then_some(theirs)
    }
}

/// Since when two endpoints have contradicted each other that do so now. A clock of ours that went back proves nothing.
fn lasting_since(before: &[Contradiction], between: &[String; 2], now: i64) -> i64 {
    let mut before = before.iter();
    let known = before.find(|known| known.between == *between);
    known.map_or(now, |known| known.since.0.min(now))
}

/// All that were known, and of these two since when, or that they agree.
fn remembered(
    before: &[Contradiction],
    between: &[String; 2],
    since: Option<i64>,
) -> Vec<Contradiction> {
    let others = before.iter().filter(|known| known.between != *between);
    let now = since.map(|since| Contradiction {
        between: between.clone(),
        since: UnixSeconds(since),
    });
    others.cloned().chain(now).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(one: &str, other: &str) -> [String; 2] {
        [one.to_owned(), other.to_owned()]
    }

    #[test]
    fn a_contradiction_lasts_from_the_first_comparison_to_one_that_finds_the_same() {
        let (ours, theirs) = (pair("a", "b"), pair("a", "c"));
        assert_eq!(lasting_since(&[], &ours, 100), 100);
        let known = remembered(&[], &ours, Some(100));
        let known = remembered(&known, &theirs, Some(150));
        for (between, now, since) in [(&ours, 200, 100), (&theirs, 200, 150), (&ours, 50, 50)] {
            assert_eq!(lasting_since(&known, between, now), since);
        }
        assert_eq!(remembered(&known, &ours, Some(100)).len(), 2);
        let agreed = remembered(&known, &ours, None);
        assert_eq!(lasting_since(&agreed, &ours, 300), 300);
        assert_eq!(lasting_since(&agreed, &theirs, 300), 150);
    }
}
