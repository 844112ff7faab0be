//! What brings keys comes before anything is judged by them.

use std::sync::Arc;

use fleet_store::{RunSorter, Sorted};
use fleet_types::RepoPath;

use super::blocking::blocking;
use super::fetching::{Fetch, Fetched};
use super::judges::Judges;
use super::plan::Plan;
use super::room::Reservation;
use super::run::{Ground, Run};
use super::stages::Standing;
use super::transfer::transfer;
use super::vouching::KeyFiles;
use super::want::WantState;
use crate::Problem;

impl Run {
    /// Fetches what brings keys before anything is judged by them. None where another plan is to be made: with what came, or
    /// since what is here is judged by other keys now.
    pub(super) async fn take_keys(
        &self,
        plan: Plan,
        room: &Reservation,
        fetched: &mut Vec<Sorted<Fetched>>,
        standing: &mut Standing,
    ) -> Result<Option<Plan>, Problem> {
        let (ground, upstream) = (&self.ground, &self.upstream);
        if ground.rules.options.trust.keyring_package.is_none() {
            return Ok(Some(plan));
        }
        let at = ground.clone();
        let (plan, missing, is_new) = blocking(move || {
            let (missing, files) = key_packages(&at, &plan)?;
            let is_new = missing.is_empty() && at.vouching.learn_of(&at, &files);
            Ok((plan, missing, is_new))
        })
        .await?;
        if missing.is_empty() {
            // Of a first copy nothing is here yet.
            let is_judged_anew = is_new && ground.stock.base.is_some();
            return Ok(Some(plan).filter(|_| !is_judged_anew));
        }
        let (list, nothing) = (Arc::new(missing), Arc::new(Sorted::empty()));
        let judges = Judges::start(ground, &nothing);
        let mut came = transfer(ground, upstream, list, nothing, room, &judges).await?;
        ground.watch.count_files(came.files);
        fetched.push(came.fetched);
        standing.lost.append(&mut came.lost);
        self.refuse(standing, came.refusals);
        Ok(None)
    }
}

/// The payload of a plan that brings keys: what of it is to be fetched, and all of it that is known by its content.
fn key_packages(ground: &Ground, plan: &Plan) -> Result<(Sorted<Fetch>, KeyFiles), Problem> {
    let options = &ground.rules.options;
    let holds_keys = |path: &RepoPath| options.format.holds_keys(path, &options.trust);
    let mut missing = RunSorter::new(&ground.stock.shelves.spill_dir());
    for fetch in plan.transfer.iter() {
        let fetch = fetch?;
        if holds_keys(&fetch.path) {
            missing.push(&fetch)?;
        }
    }
    let mut files = KeyFiles::new();
    for want in plan.wants.iter() {
        let want = want?;
        let content = match want.state {
            _ if !holds_keys(&want.path) => None,
            WantState::Payload => want.sha256,
            WantState::Carried => ground.stock.entry(&want.path).map(|entry| entry.digest),
            _ => None,
        };
        if let Some(content) = content {
            files.insert(content, (want.unit, want.path));
        }
    }
    Ok((missing.finish()?, files))
}
