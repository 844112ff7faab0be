//! Who fetches: the first replica of the region that follows none, or another one in its place while it cannot for a reason of
//! its own side. Only one does at a time. What the upstream gave and was refused is no such reason: another one would see
//! the same.

use fleet_api::{ConditionStatus, ConditionType, Fetcher, MirrorStatus};
use fleet_types::{Outcome, Reason};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::fleet::{Fleet, Source};
use crate::place::fetchers;
use crate::runs::whole;
use crate::schedule::later;
use crate::site::Site;
use crate::verdict::said;

/// A pod that is away for less comes back, as a rule.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

/// One that may fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Candidate {
    /// Why it cannot fetch, by its own fault.
    fault: Option<Reason>,
    /// Whether it has what is served and could begin.
    is_well: bool,
    /// Whether it asks the upstream right now.
    is_busy: bool,
}

/// What was decided.
#[derive(Debug)]
pub struct Handing {
    /// Who fetches in the place of the first of those who may.
    pub fetcher: Option<Fetcher>,
    /// When time alone changes this.
    pub look_again: Option<Timestamp>,
}

/// Decides who fetches from the next plan on, and hands over what its runs must know of those before.
pub fn decide(fleet: &Fleet, sites: &mut [Site], before: &MirrorStatus, now: Timestamp) -> Handing {
    let all = match fleet.is_together() {
        true => fetchers(&fleet.places),
        false => Vec::new(),
    };
    let fetches =
        |at: &usize| (fleet.places.get(*at)).is_some_and(|it| it.source == Source::Upstream);
    let Some(active) = all.iter().position(fetches) else {
        return Handing {
            fetcher: None,
            look_again: None,
        };
    };
    let sites_of = || all.iter().filter_map(|at| sites.get(*at));
    let candidates: Vec<Candidate> = sites_of().map(|site| site.as_fetcher(fleet)).collect();
    let left_for = before.fetcher.as_ref().map(|fetcher| fetcher.reason);
    let next = next(&candidates, active, left_for);
    let look_again = sites_of().filter_map(|site| site.is_away_at(now)).min();
    let (old, new) = (all.get(active).copied(), all.get(next).copied());
    if let Some((old, new)) = old.zip(new).filter(|(old, new)| old != new) {
        let is_busy = candidates.get(active).is_some_and(|it| it.is_busy);
        let status = &sites[old].runs.status;
        let round = status.round_started_at.clone();
        // A run that is under way is ended with the next plan, and answers nobody.
        let request = status.handled_sync_request.clone().filter(|_| !is_busy);
        let status = &mut sites[new].runs.status;
        (status.round_started_at, status.handled_sync_request) = (round, request);
    }
    let known = before.fetcher.clone().filter(|_| next == active);
    let of_new = || {
        let place = fleet.places.get(new?)?;
        Some(Fetcher {
            region: place.region.name.clone(),
            replica: place.replica,
            since: Time(whole(now)),
            reason: candidates.get(active)?.fault.unwrap_or(Reason::Unknown),
        })
    };
    Handing {
        fetcher: match next {
            0 => None,
            _ => known.or_else(of_new),
        },
        look_again,
    }
}

/// Who fetches next: the first that can, once the one that does cannot; and who comes before it again, once that can, and it
/// was seen that it can.
fn next(candidates: &[Candidate], active: usize, left_for: Option<Reason>) -> usize {
    let able = |at: &usize| {
        let candidate = candidates.get(*at);
        candidate.is_some_and(|it| it.is_well && it.fault.is_none())
    };
    let now = candidates.get(active);
    if now.is_some_and(|now| now.fault.is_some()) {
        let mut others = (0..candidates.len()).filter(|at| *at != active);
        return others.find(able).unwrap_or(active);
    }
    // Whether it reaches the upstream from where it is, only a run of its own could tell.
    let is_seen = left_for != Some(Reason::UpstreamUnreachable);
    let is_idle = now.is_some_and(|now| !now.is_busy);
    let mut earlier = (0..active).filter(|_| is_seen && is_idle);
    earlier.find(able).unwrap_or(active)
}

impl Site<'_> {
    fn as_fetcher(&self, fleet: &Fleet) -> Candidate {
        let run = self.runs.status.current_run.as_ref();
        Candidate {
            fault: self.fault_of_its_own(fleet),
            is_well: self.has_what_is_served(),
            is_busy: run.is_some_and(|run| run.copies.is_none()),
        }
    }

    fn fault_of_its_own(&self, fleet: &Fleet) -> Option<Reason> {
        let lost = self.view.is_lost();
        let away =
            || (self.unready_since()).is_some_and(|since| later(since, PATIENCE) <= self.now);
        match (lost, away()) {
            (true, _) => Some(Reason::VolumeUnreachable),
            (false, true) => Some(Reason::PodNotReady),
            (false, false) => self.failing_by_itself(fleet),
        }
    }

    /// Its runs that ask the upstream, where all retries are used up.
    fn failing_by_itself(&self, fleet: &Fleet) -> Option<Reason> {
        let spent = u32::try_from(self.runs.status.consecutive_failures).unwrap_or(0);
        let spent = spent > fleet.timing.retries.limit;
        let last = self.last().filter(|last| spent && last.copies.is_none())?;
        let at_fault = match last.reason.outcome() {
            Outcome::Storage | Outcome::Cluster => true,
            // The controller reaches it, so it is there.
            Outcome::Upstream => last.reason == Reason::UpstreamUnreachable && is_reached(fleet),
            Outcome::Good | Outcome::Manifest | Outcome::Refused => false,
        };
        at_fault.then_some(last.reason)
    }

    /// Since when its pod has not been ready.
    fn unready_since(&self) -> Option<Timestamp> {
        let pod = self.view.pod.filter(|pod| !pod.ready)?;
        pod.ready_changed_at.or(pod.meta.created_at)
    }

    /// When that counts, if it is to come.
    fn is_away_at(&self, now: Timestamp) -> Option<Timestamp> {
        let at = later(self.unready_since()?, PATIENCE);
        (now < at).then_some(at)
    }
}

/// Whether the controller reaches the authority.
fn is_reached(fleet: &Fleet) -> bool {
    let status = fleet.upstream.status.as_ref();
    let said = status.and_then(|status| said(ConditionType::Reachable, &status.conditions));
    said.is_some_and(|said| said.is(ConditionStatus::True))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Candidate = Candidate {
        fault: None,
        is_well: true,
        is_busy: false,
    };

    fn faulty(reason: Reason) -> Candidate {
        Candidate {
            fault: Some(reason),
            is_well: false,
            ..WELL
        }
    }

    #[test]
    fn who_cannot_fetch_by_its_own_fault_is_left_for_the_first_that_can() {
        let lost = faulty(Reason::VolumeUnreachable);
        assert_eq!(next(&[WELL, WELL], 0, None), 0);
        assert_eq!(next(&[lost, WELL, WELL], 0, None), 1);
        assert_eq!(next(&[lost, lost, WELL], 0, None), 2);
        let behind = Candidate {
            is_well: false,
            ..WELL
        };
        assert_eq!(
            next(&[lost, behind], 0, None),
            0,
            "nobody has what is served"
        );
    }

    #[test]
    fn who_comes_first_fetches_again_once_it_can_and_nobody_is_interrupted() {
        let why = Some(Reason::PodNotReady);
        assert_eq!(next(&[WELL, WELL], 1, why), 0);
        let busy = Candidate {
            is_busy: true,
            ..WELL
        };
        assert_eq!(next(&[WELL, busy], 1, why), 1);
        let behind = Candidate {
            is_well: false,
            ..WELL
        };
        assert_eq!(next(&[behind, WELL], 1, why), 1);
        // Nobody sees from there whether it reaches the upstream: it would be left again, and so on.
        let unreached = Some(Reason::UpstreamUnreachable);
        assert_eq!(next(&[WELL, WELL], 1, unreached), 1);
        let lost = faulty(Reason::VolumeUnreachable);
        assert_eq!(next(&[WELL, lost], 1, unreached), 0);
    }
}
