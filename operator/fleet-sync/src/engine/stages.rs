//! One run from listing to collecting, with the units that are refused on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;

use fleet_store::{SnapshotId, Sorted};
use futures::future::{Either, select};

use super::blocking::blocking;
use super::check;
use super::endorse::{Arrived, Endorsed, Judged, endorse};
use super::fetching::{Fetched, Signatures};
use super::gather::Stance;
use super::holes::{Again, ask_again};
use super::indices::{Advance, fetch_indices};
use super::judges::Judges;
use super::left_out::left_out;
use super::list::Listed;
use super::lost::LostFiles;
use super::memory::OmittedIndex;
use super::outcome::Outcomes;
use super::own_files::noting_upstreams_word;
use super::plan::{Foreseen, Plan, Refusals, plan_once};
use super::preflight::{foreseen_room, reserve};
use super::publish::{Served, publish, revision, settle_unchanged};
use super::remember::remember_listed;
use super::repair::repair;
use super::run::{Ending, Ground, Run};
use super::shelves::Shelves;
use super::states::nothing_new;
use super::transfer::transfer;
use super::updating::blame_update;
use super::want::Want;
use crate::{Phase, Problem};

/// How far a run has come: which units can advance.
pub(super) struct Standing {
    pub(super) stances: Vec<Stance>,
    pub(super) refusals: Refusals,
    /// What cannot be had, and is left out where it can be.
    pub(super) lost: LostFiles,
    /// The signatures that came so far.
    arrived: Arrived,
}

impl Run {
    pub(super) async fn execute(&self) -> Outcomes {
        let Ground {
            rules,
            stock,
            watch,
            ..
        } = &self.ground;
        let mut refusals = Refusals::new();
        let advanced = self.advance(&mut refusals).await;
        if advanced.is_ok() {
            let format = rules.options.format.as_ref();
            blame_update(format, &self.upstream, &mut refusals).await;
        }
        let (units, still) = (&rules.units, stock.still_served());
        let outcomes = match advanced {
            Ok(served) => Outcomes::of(units, refusals, served, &still),
            Err(problem) => Outcomes::stopped(units, refusals, problem).and(&still),
        };
        outcomes
            .with_files(watch.files())
            .with_key_expiry(watch.key_expiry())
            .with_notes(&watch.notes())
            .with_left_out(&left_out(&self.ground))
    }

    async fn advance(&self, refusals: &mut Refusals) -> Result<Option<Served>, Problem> {
        repair(&self.ground, &self.upstream).await?;
        let served = self.bring_up(refusals).await;
        // What was fetched for the next snapshot may have been what was damaged.
        let shelves = self.ground.stock.shelves.clone();
        blocking(move || shelves.settle_damage()).await?;
        served
    }

    async fn bring_up(&self, refusals: &mut Refusals) -> Result<Option<Served>, Problem> {
        let listed = self.lister().list(refusals).await?;
        let again = ask_again(&self.ground, &self.upstream, &listed).await?;
        if let Some(newest) = nothing_new(&self.ground, &listed).filter(|_| !again.arrived) {
            let accepted: Vec<Listed> = listed.into_values().collect();
            let (ground, refused) = (self.ground.clone(), !refusals.is_empty());
            let confirmed = blocking(move || confirm(&ground, &accepted, newest, refused)).await?;
            if confirmed.is_some() {
                let _ = self.ending.set(Ending::NothingNew);
            }
            return Ok(confirmed);
        }
        let mut standing = self.stand(listed, &again, refusals).await?;
        let publishing = self.fetch_and_publish(&mut standing);
        let served = noting_upstreams_word(&self.ground, &self.upstream, publishing).await;
        *refusals = standing.refusals;
        served
    }

    /// What a run would do, without payload and without a change.
    pub(super) async fn foresee(&self) -> Result<Foreseen, Problem> {
        let mut refusals = Refusals::new();
        let listed = self.lister().list(&mut refusals).await?;
        let again = ask_again(&self.ground, &self.upstream, &listed).await?;
        if nothing_new(&self.ground, &listed).is_some() && !again.arrived {
            return Ok(Foreseen {
                refusals,
                plan: None,
                room: None,
                shortage: None,
                revision: self.ground.stock.revision(),
                still: self.ground.stock.still_served(),
                left_out: left_out(&self.ground),
            });
        }
        let mut standing = self.stand(listed, &again, &refusals).await?;
        let plan = self.plan(&mut standing).await?;
        let foreseen = plan.as_ref().map(|plan| foreseen_room(&self.ground, plan));
        let (room, shortage) = foreseen.transpose()?.unzip();
        let revision = revision(&self.ground, &standing.stances);
        Ok(Foreseen {
            refusals: standing.refusals,
            plan,
            room,
            shortage: shortage.flatten(),
            revision,
            still: self.ground.stock.still_served(),
            left_out: left_out(&self.ground),
        })
    }

    /// Fetches the indices of what is listed, and decides for every unit how it goes on.
    pub(super) async fn stand(
        &self,
        listed: BTreeMap<u16, Listed>,
        again: &Again,
        refusals: &Refusals,
    ) -> Result<Standing, Problem> {
        self.ground.watch.progress.phase(Phase::Verify);
        let mut refusals = refusals.clone();
        let mut advancing: BTreeMap<u16, Arc<Advance>> = BTreeMap::new();
        let (numbers, states): (Vec<u16>, Vec<Listed>) = listed.into_iter().unzip();
        let mut failed = Vec::new();
        for (unit, outcome) in numbers
            .into_iter()
            .zip(fetch_indices(&self.ground, &self.upstream, states, &again.absent).await?)
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
        let stances =
            (0..self.ground.rules.units.len()).map(|unit| match advancing.remove(&(unit as u16)) {
                Some(advance) => Stance::Advance(advance),
                None => self.stance_of_refused(unit),
            });
        Ok(Standing {
            stances: stances.collect(),
            refusals,
            lost: LostFiles::new(),
            arrived: Arrived::default(),
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
        let name = self.ground.rules.name(unit);
        let Ok(listed) = self.lister().list_unit(name).await else {
            return Ok(Err(problem));
        };
        if listed.index.revision.digest == before.index.revision.digest {
            return Ok(Err(problem));
        }
        let nothing = BTreeSet::new();
        let mut outcomes =
            fetch_indices(&self.ground, &self.upstream, vec![listed], &nothing).await?;
        let outcome = outcomes.pop();
        Ok(outcome.map_or(Err(problem), |outcome| {
            outcome.map_err(|(problem, _)| problem)
        }))
    }

    fn stance_of_refused(&self, unit: usize) -> Stance {
        let Ground { rules, stock, .. } = &self.ground;
        let name = rules.units.get(unit);
        match name.is_some_and(|name| stock.state_of(name).is_some()) {
            true => Stance::Carry,
            false => Stance::LeaveOut,
        }
    }

    pub(super) fn refuse(&self, standing: &mut Standing, refusals: Refusals) {
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
        advances && (self.ground.stock.base.is_some() || standing.refusals.is_empty())
    }

    /// Plans. None where nothing can be gained.
    async fn plan(&self, standing: &mut Standing) -> Result<Option<Plan>, Problem> {
        self.plan_while(standing, &|standing| self.worth_going_on(standing))
            .await
    }

    /// Plans, again and again without the units that turn out to be refused, as long as that is worth it.
    pub(super) async fn plan_while(
        &self,
        standing: &mut Standing,
        worth_going_on: &(dyn Fn(&Standing) -> bool + Sync),
    ) -> Result<Option<Plan>, Problem> {
        loop {
            if !worth_going_on(standing) {
                return Ok(None);
            }
            self.ground.watch.progress.phase(Phase::Plan);
            let (ground, stances) = (self.ground.clone(), std::mem::take(&mut standing.stances));
            let lost = std::mem::take(&mut standing.lost);
            let arrived = std::mem::take(&mut standing.arrived);
            let (stances, lost, arrived, planned) = blocking(move || {
                let planned = plan_once(&ground, &stances, &lost, &arrived);
                Ok((stances, lost, arrived, planned))
            })
            .await?;
            (standing.stances, standing.lost, standing.arrived) = (stances, lost, arrived);
            let mut plan = planned?;
            if plan.refusals.is_empty() && plan.lost.is_empty() {
                for (unit, out) in &plan.omitted {
                    if let Some(unit) = self.ground.rules.units.get(usize::from(*unit)) {
                        self.ground.watch.note(unit, &out.note());
                    }
                }
                return Ok(Some(plan));
            }
            let refusals = std::mem::take(&mut plan.refusals);
            standing.lost.append(&mut plan.lost);
            self.refuse(standing, refusals);
        }
    }

    /// Plans. What a first copy will fetch by is opened meanwhile, as far as that takes no longer.
    async fn plan_and_open(&self, standing: &mut Standing) -> Result<Option<Plan>, Problem> {
        let size = |stance: &Stance| match stance {
            Stance::Advance(advance) if self.ground.stock.base.is_none() => advance.listing_bytes(),
            _ => 0,
        };
        let listing_bytes = standing.stances.iter().map(size).sum();
        let planning = pin!(self.plan(standing));
        let opening = pin!(self.upstream.open_for(listing_bytes));
        match select(planning, opening).await {
            Either::Left((plan, _)) => plan,
            Either::Right(((), planning)) => planning.await,
        }
    }

    /// Fetches until what is left of the plan is complete, then publishes it.
    async fn fetch_and_publish(&self, standing: &mut Standing) -> Result<Option<Served>, Problem> {
        let mut fetched: Vec<Sorted<Fetched>> = Vec::new();
        loop {
            let Some(plan) = self.plan_and_open(standing).await? else {
                return Ok(None);
            };
            let room = reserve(&self.ground, &plan)?;
            let Some(plan) = self.take_keys(plan, &room, &mut fetched, standing).await? else {
                continue;
            };
            self.ground
                .watch
                .progress
                .planned(plan.fetch.files, plan.fetch.bytes);
            self.ground.watch.progress.phase(Phase::Fetch);
            let Plan {
                wants,
                transfer: contents,
                omitted,
                signatures,
                ..
            } = plan;
            let (ground, upstream) = (&self.ground, &self.upstream);
            let Signatures { all, missing } = signatures;
            let (contents, missing) = (Arc::new(contents), Arc::new(missing));
            let judges = Judges::start(ground, &missing);
            let mut transferred =
                transfer(ground, upstream, contents, missing, &room, &judges).await?;
            ground.watch.count_files(transferred.files);
            let is_all_here = transferred.refusals.is_empty() && transferred.lost.is_empty();
            standing.lost.append(&mut transferred.lost);
            self.refuse(standing, transferred.refusals);
            let (at, mut arrived) = (ground.clone(), std::mem::take(&mut standing.arrived));
            let judging = move || {
                let came = transferred.fetched;
                let good = judges.finish();
                // Where what is signed did not come, there is another plan without it.
                let judged = match is_all_here {
                    true => endorse(&at, &all, &came, good)?,
                    false => Judged::default(),
                };
                if !is_all_here || !judged.is_good() {
                    arrived.add(&all, &came)?;
                }
                Ok((judged, came, arrived))
            };
            let (mut judged, came, arrived) = blocking(judging).await?;
            standing.arrived = arrived;
            fetched.push(came);
            if !is_all_here {
                continue;
            }
            if judged.is_good() {
                let closing =
                    self.close_and_publish(wants, omitted, fetched, judged.good, standing);
                return closing.await.map(Some);
            }
            standing.lost.append(&mut judged.lost);
            self.refuse(standing, judged.refusals);
        }
    }

    async fn close_and_publish(
        &self,
        wants: Sorted<Want>,
        omitted: Vec<(u16, OmittedIndex)>,
        fetched: Vec<Sorted<Fetched>>,
        endorsed: Endorsed,
        standing: &mut Standing,
    ) -> Result<Served, Problem> {
        self.ground.watch.progress.phase(Phase::Check);
        let stances = std::mem::take(&mut standing.stances);
        let ground = self.ground.clone();
        let (served, made) = blocking(move || {
            store_roots(&ground.stock.shelves, &stances)?;
            let closed = check::close(&ground, &wants, &fetched, &endorsed)?;
            // All of them that counts is in it, and it takes as much memory again until it is a snapshot.
            drop((wants, fetched, endorsed));
            ground.watch.stop.check()?;
            let published = publish(&ground, closed, &stances, &omitted)?;
            let is_all = |stance| matches!(stance, &Stance::Advance(_));
            ground.vouching.keep(&ground, stances.iter().all(is_all))?;
            Ok(published)
        })
        .await?;
        let ending = match made {
            Some(made) => Some(Ending::Made(made)),
            None => Some(Ending::NothingNew).filter(|_| standing.refusals.is_empty()),
        };
        // A run ends once.
        let _ = ending.map(|ending| self.ending.set(ending));
        Ok(served)
    }
}

fn confirm(
    ground: &Ground,
    accepted: &[Listed],
    newest: SnapshotId,
    refused: bool,
) -> Result<Option<Served>, Problem> {
    remember_listed(ground, accepted.iter())?;
    if refused {
        return Ok(None);
    }
    settle_unchanged(ground, newest, ground.stock.revision()).map(Some)
}

/// Roots are no blobs until here: only what is going to be served becomes a blob.
fn store_roots(shelves: &Shelves, stances: &[Stance]) -> Result<(), Problem> {
    let advancing = stances.iter().filter_map(|stance| match stance {
        Stance::Advance(advance) => Some(advance),
        _ => None,
    });
    let roots = advancing.flat_map(|advance| &advance.listed.roots);
    shelves.keep_roots(roots)
}
