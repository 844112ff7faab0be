//! Whether a run starts now, and in which region.

use fleet_api::{AcceptedUnit, Run};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_core::ResourceExt;

use crate::build::{self, Start};
use crate::due;
use crate::fleet::{Fleet, Source};
use crate::high_water;
use crate::observed::Observed;
use crate::orders;
use crate::plan::Write;
use crate::runs::whole;
use crate::site::Site;
use crate::timing::{self, Due};
use crate::turn::Turn;

/// What is to be started, and what waits.
#[derive(Debug)]
pub struct Starting {
    pub write: Option<Write>,
    pub turn: Turn,
    /// The earliest instant at which a run is due in some region.
    pub next: Option<Timestamp>,
    pub look_again: Option<Timestamp>,
}

/// Chooses what starts in each lane. There is one for each source, so that no region waits for a run of another source.
pub fn choose(
    fleet: &Fleet,
    sites: &mut [Site],
    marks: &[AcceptedUnit],
    seen: &Observed,
) -> Starting {
    let mut starting = Starting {
        write: None,
        turn: Turn::Idle,
        next: None,
        look_again: None,
    };
    let mut fetching = Vec::new();
    for site in sites {
        let due = site.due();
        let at = due.as_ref().map(|due| due.at);
        let later = at.filter(|at| *at > seen.now);
        starting.next = starting.next.into_iter().chain(at).min();
        starting.look_again = starting.look_again.into_iter().chain(later).min();
        match site.view.place.source {
            Source::Upstream => fetching.push((site, due)),
        }
    }
    starting.fetch(fleet, fetching, marks, seen);
    starting
}

impl Starting {
    /// The lane of the Upstream: at most one run of the Mirror, in the region that has been due for longest of those that
    /// could start at once, and only in its turn.
    fn fetch(
        &mut self,
        fleet: &Fleet,
        lane: Vec<(&mut Site, Option<Due>)>,
        marks: &[AcceptedUnit],
        seen: &Observed,
    ) {
        if lane.iter().any(|(site, _)| site.is_running()) {
            self.turn = Turn::Running;
            return;
        }
        if lane.iter().any(|(site, _)| site.runs.occupied) {
            return;
        }
        let due_now = lane.into_iter().filter_map(|(site, due)| {
            let due = due.filter(|due| due.at <= seen.now && site.is_able())?;
            Some((site, due))
        });
        let Some((site, due)) = due_now.min_by_key(|(_, due)| due.at) else {
            return;
        };
        if !seen.line.lets_start(&fleet.name, due.at) {
            self.turn = Turn::Waiting(due.at);
            site.waiting = Some(waits_for(fleet, seen));
            return;
        }
        self.turn = Turn::Running;
        self.write = site.start(&due, marks, seen);
    }
}

/// Who goes first: whoever runs, else whoever has waited for longest.
fn waits_for(fleet: &Fleet, seen: &Observed) -> String {
    let upstream = &fleet.spec.upstream_ref.name;
    match (&seen.line.running, &seen.line.first) {
        (Some(mirror), _) => format!(
            "waits for its turn: Mirror {mirror} is being synced from Upstream {upstream}, which gives to one at a time"
        ),
        (None, Some((_, mirror))) => format!(
            "waits for its turn: Mirror {mirror} has waited for Upstream {upstream} for longer"
        ),
        (None, None) => "waits for its turn: other runs go first".to_owned(),
    }
}

impl Site<'_> {
    /// Its next run.
    fn due(&self) -> Option<Due> {
        let claim = self.view.claim;
        let volume_since = claim.and_then(|claim| claim.meta.created_at);
        due::next(self.fleet, &self.runs.status, volume_since)
    }

    fn is_running(&self) -> bool {
        self.runs.status.current_run.is_some()
    }

    /// A Job is made only beside a serving pod that is bound and stays.
    fn is_able(&self) -> bool {
        let claim = self.view.claim.is_some_and(|claim| !claim.meta.deleting);
        let pod = self.view.pod.is_some_and(|pod| pod.holds_its_node());
        claim && pod && !self.objects.evicting
    }

    fn start(&mut self, due: &Due, marks: &[AcceptedUnit], seen: &Observed) -> Option<Write> {
        let (fleet, pod, served) = (self.fleet, self.view.pod?, self.view.served());
        let start = Start {
            trigger: due.trigger,
            retry: due.retry,
            occasion: due.occasion.clone(),
            image: pod.image.as_deref().unwrap_or(&seen.settings.image),
            node: pod.node.as_deref()?,
            high_water: high_water::argument(marks),
            damaged: served.map_or_else(Vec::new, |served| served.damaged.clone()),
            ordered: pod.takes_orders.then(|| orders::of_run(self, seen.now)),
        };
        let job = build::job(fleet, self.view.place, &start);
        let now = Time(whole(seen.now));
        let status = &mut self.runs.status;
        if timing::begins_round(due.trigger) {
            status.round_started_at = Some(now.clone());
        }
        // Whatever it was started for, a run that begins after a request answers it.
        status.handled_sync_request = fleet.request.clone();
        status.current_run = Some(Run {
            job: job.name_any(),
            trigger: due.trigger,
            retry: due.retry,
            started_at: now,
            inputs: fleet.inputs.snapshot.clone(),
            snapshots_inputs: fleet.inputs.snapshots.clone(),
        });
        Some(Write::Create(job.into()))
    }
}
