//! The states of all units together: which can be believed, what none of them offers, whether anything is new.

use std::collections::BTreeMap;

use fleet_types::Reason;
use futures::{FutureExt, StreamExt};

use super::list::{Listed, Lister};
use super::plan::Refusals;
use super::run::Ground;
use crate::{Phase, Problem};

/// Units that are asked for at the same time; connections are limited elsewhere.
const LISTED_AT_ONCE: usize = 16;

impl Lister<'_> {
    /// Asks for the state of every unit.
    pub(super) async fn list(
        &self,
        refusals: &mut Refusals,
    ) -> Result<BTreeMap<u16, Listed>, Problem> {
        self.watch.progress.phase(Phase::List);
        // Boxed, or the compiler cannot tell that the whole run is Send.
        let ask = |(number, unit): (usize, &String)| self.answer_of(number, unit.clone()).boxed();
        let asked: Vec<_> = self.rules.units.iter().enumerate().map(ask).collect();
        let answers: Vec<_> = futures::stream::iter(asked)
            .buffer_unordered(LISTED_AT_ONCE)
            .collect()
            .await;
        let mut listed = BTreeMap::new();
        for (unit, answer) in answers {
            match answer {
                Ok(state) => drop(listed.insert(unit, state)),
                Err(problem) if problem.ends_the_run() => return Err(problem),
                Err(problem) => drop(refusals.insert(unit, problem)),
            }
        }
        self.refuse_what_nobody_offers(&mut listed, refusals);
        for state in listed.values() {
            self.watch.keys_expire(state.index.vouched_until);
        }
        Ok(listed)
    }

    /// A declared word that no unit has anything for is a mistake; what one of several lacks is a hole. While some unit
    /// cannot be looked at, it may be the one that has it.
    fn refuse_what_nobody_offers(
        &self,
        listed: &mut BTreeMap<u16, Listed>,
        refusals: &mut Refusals,
    ) {
        let mut lacking: BTreeMap<&str, usize> = BTreeMap::new();
        for lack in listed.values().flat_map(|listed| &listed.index.lacks) {
            *lacking.entry(&lack.word).or_default() += 1;
        }
        let nobody = |word: &str| lacking.get(word) == Some(&self.rules.units.len());
        let mut refused = Vec::new();
        for (unit, listed) in &*listed {
            for lack in &listed.index.lacks {
                if nobody(&lack.word) {
                    refused.push((*unit, Problem::new(Reason::NotOffered, &lack.message)));
                } else {
                    self.watch.note(&listed.index.revision.unit, &lack.message);
                }
            }
        }
        for (unit, problem) in refused {
            listed.remove(&unit);
            refusals.entry(unit).or_insert(problem);
        }
    }

    async fn answer_of(&self, number: usize, unit: String) -> (u16, Result<Listed, Problem>) {
        let listed = self.list_unit(&unit).await;
        (
            number as u16,
            listed.map_err(|problem| self.let_in(problem)),
        )
    }

    /// What helps where the upstream refuses us as a whole: no later run does better by itself.
    fn let_in(&self, problem: Problem) -> Problem {
        let advice = match &self.rules.options.access.credentials {
            _ if problem.reason != Reason::UpstreamForbidden => return problem,
            Some(_) => {
                "correct the Secret that the Upstream's access.credentialsRef names, or ask the upstream's operators what it \
                 lets in"
            }
            None => {
                "if it wants to know who asks, name a Secret in the Upstream's access.credentialsRef; else ask its operators to \
                 let this address in"
            }
        };
        Problem {
            message: format!("{}; {advice}", problem.message),
            ..problem
        }
    }
}

/// The newest snapshot, where it already is what the units that can be believed make of it.
pub(super) fn nothing_new(
    ground: &Ground,
    listed: &BTreeMap<u16, Listed>,
) -> Option<fleet_store::SnapshotId> {
    let base = ground.stock.base.as_ref()?;
    let refused_new = |unit: &String| base.revision(unit).is_none();
    let meta = base.snapshot.meta();
    let same_inputs = meta.inputs == ground.rules.inputs && base.content.carried.is_empty();
    let all = listed.len() == ground.rules.units.len();
    let as_before = listed.values().all(|listed| listed.unchanged);
    let same_units = base
        .snapshot
        .meta()
        .revision
        .iter()
        .all(|revision| ground.rules.units.contains(&revision.unit));
    let complete = all && same_inputs && !ground.rules.units.iter().any(refused_new);
    // With refused units nothing can be gained either, as long as the others are as they were by the same choices.
    let idle = !all && (listed.is_empty() || base.snapshot.meta().inputs == ground.rules.inputs);
    let idle = idle && !ground.stock.is_damaged();
    let complete = complete && !ground.stock.is_damaged();
    (as_before && (complete || idle) && (same_units || listed.is_empty()))
        .then(|| base.snapshot.id())
}
