//! Which Jobs stay after their result is in the status.

use fleet_api::{Attempt, Run};

use crate::observed::SeenJob;
use crate::view::RegionView;

pub fn ours(job: &SeenJob, owner: &str) -> bool {
    !job.meta.deleting && job.meta.owners.iter().any(|uid| uid == owner)
}

pub fn failed(last: &Attempt) -> bool {
    last.reason.outcome() != fleet_types::Outcome::Good
}

/// The same name may come again after its Job is gone; the instant of creation then differs.
pub fn is_same(last: &Attempt, run: &Run) -> bool {
    last.job == run.job && last.started_at == run.started_at
}

/// Whether it is the Job of the last run, which failed and which the status knows: it stays for its log and is in
/// nobody's way.
pub fn is_kept(view: &RegionView, job: &SeenJob, run: &Run) -> bool {
    let last = view.before.last_attempt.as_ref();
    job.end.is_some()
        && volume_stays(view)
        && last.is_some_and(|last| failed(last) && is_same(last, run))
}

/// A pod that has ended keeps a claim from being deleted all the same.
pub fn volume_stays(view: &RegionView) -> bool {
    view.claim.is_some_and(|claim| !claim.meta.deleting)
}
