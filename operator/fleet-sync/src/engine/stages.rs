//! One run from listing to collecting, with the units that are refused on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fleet_store::Sorted;

use super::check;
use super::gather::{Gather, Stance};
use super::holes::Again;
use super::indices::Advance;
use super::judge::{Plan, judge};
use super::list::Listed;
use super::lost::LostFiles;
use super::memory::OmittedIndex;
use super::outcome::Outcomes;
use super::publish::Served;
use super::run::{Run, blocking};
use super::want::Fetched;
use crate::{LeftOut, Phase, Problem, Room};

/// Why units were refused, by their number.
pub(super) type Refusals = BTreeMap<u16, Problem>;

/// A dry run's result.
pub(super) struct Foreseen {
    pub refusals: Refusals,
    /// None where nothing is new.
    pub plan: Option<Plan>,
    pub room: Option<Room>,
    /// Why a run would end before it fetches.
    pub shortage: Option<Problem>,
    pub revision: Vec<fleet_types::UnitRevision>,
    /// What goes on being served where nothing new is.
    pub still: String,
    /// By unit.
    pub left_out: BTreeMap<String, LeftOut>,
}

/// How far a run has come: which units can advance.
struct Standing {
    stances: Vec<Stance>,
    refusals: Refusals,
    /// What cannot be had, and is left out where it can be.
    lost: LostFiles,
}

impl Run {
    pub(super) async fn execute(self: Arc<Self>) -> Outcomes {
        let mut refusals = Refusals::new();
        let advanced = self.clone().advance(&mut refusals).await;
        if advanced.is_ok() {
            self.blame_update(&mut refusals).await;
        }
        let outcomes = match advanced {
            Ok(served) => Outcomes::of(&self.units, refusals, served, &self.still_served()),
            Err(problem) => {
                Outcomes::stopped(&self.units, refusals, problem).and(&self.still_served())
            }
        };
        outcomes
            .with_files(self.files.load(Ordering::Relaxed))
            .with_notes(&self.notes())
            .with_left_out(&self.left_out())
    }

    async fn advance(self: Arc<Self>, refusals: &mut Refusals) -> Result<Option<Served>, Problem> {
        self.clone().repair().await?;
        let served = self.clone().bring_up(refusals).await;
        // What was fetched for the next snapshot may have been what was damaged.
        let run = self.clone();
        blocking(move || run.shelves.settle_damage()).await?;
        served
    }

    async fn bring_up(self: Arc<Self>, refusals: &mut Refusals) -> Result<Option<Served>, Problem> {
        let listed = self.list(refusals).await?;
        let again = self.ask_again(&listed).await?;
        if let Some(newest) = self.nothing_new(&listed).filter(|_| !again.arrived) {
            let accepted: Vec<Listed> = listed.into_values().collect();
            let (run, refused) = (self.clone(), !refusals.is_empty());
            return blocking(move || run.confirm(&accepted, newest, refused)).await;
        }
        let mut standing = self.clone().stand(listed, &again, refusals).await?;
        let publishing = self.clone().fetch_and_publish(&mut standing);
        let served = self.noting_upstreams_word(publishing).await;
        *refusals = standing.refusals;
        served
    }

    /// What a run would do, without payload and without a change.
    pub(super) async fn foresee(self: Arc<Self>) -> Result<Foreseen, Problem> {
        let mut refusals = Refusals::new();
        let listed = self.list(&mut refusals).await?;
        let again = self.ask_again(&listed).await?;
        if self.nothing_new(&listed).is_some() && !again.arrived {
            let revision = self
                .base
                .as_ref()
                .map(|base| base.snapshot.meta().revision.clone())
                .unwrap_or_default();
            return Ok(Foreseen {
                refusals,
                plan: None,
                room: None,
                shortage: None,
                revision,
                still: self.still_served(),
                left_out: self.left_out(),
            });
        }
        let mut standing = self.clone().stand(listed, &again, &refusals).await?;
        let plan = self.clone().plan(&mut standing).await?;
        let foreseen = plan.as_ref().map(|plan| self.foreseen_room(plan));
        let (room, shortage) = foreseen.transpose()?.unzip();
        let revision = self.revision(&standing.stances);
        Ok(Foreseen {
            refusals: standing.refusals,
            plan,
            room,
            shortage: shortage.flatten(),
            revision,
            still: self.still_served(),
            left_out: self.left_out(),
        })
    }

    fn confirm(
        &self,
        accepted: &[Listed],
        newest: fleet_store::SnapshotId,
        refused: bool,
    ) -> Result<Option<Served>, Problem> {
        self.remember_listed(accepted.iter())?;
        if refused {
            return Ok(None);
        }
        let revision = self
            .base
            .as_ref()
            .map(|base| base.snapshot.meta().revision.clone())
            .unwrap_or_default();
        self.settle_unchanged(newest, revision).map(Some)
    }

    /// Fetches the indices of what is listed, and decides for every unit how it goes on.
    async fn stand(
        self: Arc<Self>,
        listed: BTreeMap<u16, Listed>,
        again: &Again,
        refusals: &Refusals,
    ) -> Result<Standing, Problem> {
        self.progress.phase(Phase::Verify);
        let mut refusals = refusals.clone();
        let mut advancing: BTreeMap<u16, Arc<Advance>> = BTreeMap::new();
        let (numbers, states): (Vec<u16>, Vec<Listed>) = listed.into_iter().unzip();
        let mut failed = Vec::new();
        for (unit, outcome) in numbers
            .into_iter()
            .zip(self.fetch_indices(states, &again.absent).await?)
        {
            match outcome {
                Ok(advance) => drop(advancing.insert(unit, Arc::new(advance))),
                Err((problem, listed)) => failed.push((unit, problem, listed)),
            }
        }
        for (unit, problem, listed) in failed {
            match self.once_more(unit, problem, &listed).await? {
                Ok(advance) => drop(advancing.insert(unit, Arc::new(advance))),
                Err(problem) => drop(refusals.insert(unit, problem)),
            }
        }
        let stances = (0..self.units.len()).map(|unit| match advancing.remove(&(unit as u16)) {
            Some(advance) => Stance::Advance(advance),
            None => self.stance_of_refused(unit),
        });
        Ok(Standing {
            stances: stances.collect(),
            refusals,
            lost: LostFiles::new(),
        })
    }

    /// The upstream may have published while we were reading: then its roots are new, and its indices fit them.
    async fn once_more(
        &self,
        unit: u16,
        problem: Problem,
        before: &Listed,
    ) -> Result<Result<Advance, Problem>, Problem> {
        if problem.ends_the_run() {
            return Err(problem);
        }
        let name = self
            .units
            .get(usize::from(unit))
            .map(String::as_str)
            .unwrap_or_default();
        let Ok(listed) = self.list_unit(name).await else {
            return Ok(Err(problem));
        };
        if listed.index.revision.digest == before.index.revision.digest {
            return Ok(Err(problem));
        }
        let outcome = self
            .fetch_indices(vec![listed], &BTreeSet::new())
            .await?
            .pop();
        Ok(outcome.map_or(Err(problem), |outcome| {
            outcome.map_err(|(problem, _)| problem)
        }))
    }

    fn stance_of_refused(&self, unit: usize) -> Stance {
        let known = self
            .units
            .get(unit)
            .zip(self.base.as_ref())
            .is_some_and(|(unit, base)| base.revision(unit).is_some());
        if known {
            Stance::Carry
        } else {
            Stance::LeaveOut
        }
    }

    fn refuse(&self, standing: &mut Standing, refusals: Refusals) {
        for (unit, problem) in refusals {
            if let Some(stance) = standing.stances.get_mut(usize::from(unit)) {
                *stance = self.stance_of_refused(usize::from(unit));
            }
            standing.refusals.entry(unit).or_insert(problem);
        }
    }

    /// Whether there is something to gain: a unit advances, and the first snapshot has all of them.
    fn worth_going_on(&self, standing: &Standing) -> bool {
        let advances = standing
            .stances
            .iter()
            .any(|stance| matches!(stance, Stance::Advance(_)));
        advances && (self.base.is_some() || standing.refusals.is_empty())
    }

    /// Plans, again and again without the units that turn out to be refused. None where nothing can be gained.
    async fn plan(self: Arc<Self>, standing: &mut Standing) -> Result<Option<Plan>, Problem> {
        loop {
            if !self.worth_going_on(standing) {
                return Ok(None);
            }
            self.progress.phase(Phase::Plan);
            let (run, stances) = (self.clone(), std::mem::take(&mut standing.stances));
            let lost = std::mem::take(&mut standing.lost);
            let (stances, lost, planned) = blocking(move || {
                let planned = run.plan_once(&stances, &lost);
                Ok((stances, lost, planned))
            })
            .await?;
            (standing.stances, standing.lost) = (stances, lost);
            let mut plan = planned?;
            if plan.refusals.is_empty() && plan.lost.is_empty() {
                for (unit, out) in &plan.omitted {
                    if let Some(unit) = self.units.get(usize::from(*unit)) {
                        self.note(unit, &out.note());
                    }
                }
                return Ok(Some(plan));
            }
            let refusals = std::mem::take(&mut plan.refusals);
            standing.lost.append(&mut plan.lost);
            self.refuse(standing, refusals);
        }
    }

    fn plan_once(&self, stances: &[Stance], lost: &LostFiles) -> Result<Plan, Problem> {
        let mut gather = Gather::new(self, lost);
        let mut refusals = Refusals::new();
        for ((number, name), stance) in self.units.iter().enumerate().zip(stances) {
            let number = number as u16;
            match gather.unit(number, name, stance) {
                Ok(()) => {}
                Err(problem) if problem.ends_the_run() || !matches!(stance, Stance::Advance(_)) => {
                    return Err(problem);
                }
                Err(problem) => drop(refusals.insert(number, problem)),
            }
        }
        let advances =
            |unit: u16| matches!(stances.get(usize::from(unit)), Some(Stance::Advance(_)));
        let gathered = gather.finish()?;
        self.plan_leaves_out(stances, gathered.left_out);
        let mut plan = judge(self, (gathered.wants, gathered.omitted), &advances)?;
        plan.refusals.extend(refusals);
        // With refusals there is another plan, which keeps what these units have.
        if plan.refusals.is_empty() && plan.lost.is_empty() {
            plan.refusals = self.shrunk(stances, &plan.wants, &plan.tally)?;
        }
        Ok(plan)
    }

    /// Fetches until what is left of the plan is complete, then publishes it.
    async fn fetch_and_publish(
        self: Arc<Self>,
        standing: &mut Standing,
    ) -> Result<Option<Served>, Problem> {
        let mut fetched: Vec<Sorted<Fetched>> = Vec::new();
        loop {
            let Some(plan) = self.clone().plan(standing).await? else {
                return Ok(None);
            };
            self.progress.planned(plan.fetch.files, plan.fetch.bytes);
            let room = self.reserve(&plan)?;
            self.progress.phase(Phase::Fetch);
            let Plan {
                wants,
                transfer,
                omitted,
                ..
            } = plan;
            let mut transferred = self.transfer(Arc::new(transfer), &room).await?;
            self.count_files(transferred.files);
            fetched.push(transferred.fetched);
            if transferred.refusals.is_empty() && transferred.lost.is_empty() {
                return self
                    .close_and_publish(wants, omitted, fetched, standing)
                    .await
                    .map(Some);
            }
            standing.lost.append(&mut transferred.lost);
            self.refuse(standing, transferred.refusals);
        }
    }

    async fn close_and_publish(
        self: Arc<Self>,
        wants: Sorted<super::want::Want>,
        omitted: Vec<(u16, OmittedIndex)>,
        fetched: Vec<Sorted<Fetched>>,
        standing: &mut Standing,
    ) -> Result<Served, Problem> {
        self.progress.phase(Phase::Check);
        let stances = std::mem::take(&mut standing.stances);
        blocking(move || {
            self.store_roots(&stances)?;
            let closed = check::close(&self, &wants, &fetched)?;
            self.stop.check()?;
            self.publish(closed, &stances, &omitted)
        })
        .await
    }

    /// Roots are in memory until here: only what is going to be served becomes a blob.
    fn store_roots(&self, stances: &[Stance]) -> Result<(), Problem> {
        let advancing = stances.iter().filter_map(|stance| match stance {
            Stance::Advance(advance) => Some(advance),
            _ => None,
        });
        let roots: Vec<_> = advancing
            .flat_map(|advance| &advance.listed.roots)
            .collect();
        let contents = roots.iter().map(|root| root.content.bytes.as_slice());
        self.shelves.keep(&contents.collect::<Vec<_>>())?;
        for root in roots {
            self.shelves.damage.arrived(&root.digest);
        }
        self.shelves.damage.arrivals_are_durable();
        Ok(())
    }

    pub(super) fn revision(&self, stances: &[Stance]) -> Vec<fleet_types::UnitRevision> {
        let of = |(unit, stance): (&String, &Stance)| match stance {
            Stance::Advance(advance) => Some(advance.listed.index.revision.clone()),
            Stance::Carry => self
                .base
                .as_ref()
                .and_then(|base| base.revision(unit).cloned()),
            Stance::LeaveOut => None,
        };
        let mut revision: Vec<_> = self.units.iter().zip(stances).filter_map(of).collect();
        revision.sort_by(|a, b| a.unit.cmp(&b.unit));
        revision
    }
}
