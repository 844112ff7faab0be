//! Whether a run starts now, and in which region.

use fleet_api::{AcceptedUnit, Run};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_core::ResourceExt;

use crate::build::{self, Start};
use crate::due;
use crate::fleet::Fleet;
use crate::high_water;
use crate::objects::Objects;
use crate::observed::Observed;
use crate::plan::Write;
use crate::runs::{Runs, whole};
use crate::timing::{self, Due};
use crate::turn::Turn;
use crate::view::RegionView;

/// What is to be started, and what waits.
#[derive(Debug)]
pub struct Starting {
    pub write: Option<Write>,
    pub turn: Turn,
    /// The region whose run could start but for its turn, and for whom it waits, as the end of a sentence.
    pub waiting: Option<(usize, String)>,
    /// The earliest instant at which a run is due in some region.
    pub next: Option<Timestamp>,
    pub look_again: Option<Timestamp>,
}

/// Chooses at most one region: that which has been due for longest of those that could start at once.
pub fn choose(
    fleet: &Fleet,
    views: &[RegionView],
    runs: &mut [Runs],
    objects: &Objects,
    marks: &[AcceptedUnit],
    seen: &Observed,
) -> Starting {
    let dues: Vec<Option<Due>> = views
        .iter()
        .zip(runs.iter())
        .map(|(view, runs)| {
            due::next(
                fleet,
                &runs.status,
                view.claim.and_then(|claim| claim.meta.created_at),
            )
        })
        .collect();
    let next = dues.iter().flatten().map(|due| due.at).min();
    let look_again = dues
        .iter()
        .flatten()
        .map(|due| due.at)
        .filter(|at| *at > seen.now)
        .min();
    let mut starting = Starting {
        write: None,
        turn: Turn::Idle,
        waiting: None,
        next,
        look_again,
    };
    if runs
        .iter()
        .any(|runs| runs.occupied || runs.status.current_run.is_some())
    {
        let running = runs.iter().any(|runs| runs.status.current_run.is_some());
        starting.turn = if running { Turn::Running } else { Turn::Idle };
        return starting;
    }
    let able =
        (0..views.len()).filter(|index| is_able(&views[*index], objects.regions[*index].replacing));
    let due_now = able.filter_map(|index| {
        dues[index]
            .as_ref()
            .filter(|due| due.at <= seen.now)
            .map(|due| (index, due))
    });
    let Some((index, due)) = due_now.min_by_key(|(_, due)| due.at) else {
        return starting;
    };
    if !seen.line.lets_start(&fleet.name, due.at) {
        starting.turn = Turn::Waiting(due.at);
        starting.waiting = Some((index, waits_for(fleet, seen)));
        return starting;
    }
    starting.turn = Turn::Running;
    starting.write = start(fleet, &views[index], &mut runs[index], due, marks, seen);
    starting
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

/// A Job is made only beside a serving pod that is bound and stays.
fn is_able(view: &RegionView, replacing: bool) -> bool {
    let claim = view.claim.is_some_and(|claim| !claim.meta.deleting);
    claim && !replacing && view.pod.is_some_and(|pod| pod.holds_its_node())
}

fn start(
    fleet: &Fleet,
    view: &RegionView,
    runs: &mut Runs,
    due: &Due,
    marks: &[AcceptedUnit],
    seen: &Observed,
) -> Option<Write> {
    let pod = view.pod?;
    let start = Start {
        trigger: due.trigger,
        retry: due.retry,
        occasion: due.occasion.clone(),
        image: pod.image.as_deref().unwrap_or(&seen.settings.image),
        node: pod.node.as_deref()?,
        high_water: high_water::argument(marks),
        damaged: view
            .served()
            .map(|served| served.damaged.clone())
            .unwrap_or_default(),
    };
    let job = build::job(fleet, view.site, &start);
    let now = Time(whole(seen.now));
    let status = &mut runs.status;
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
    Some(Write::CreateJob(Box::new(job)))
}
