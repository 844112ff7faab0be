//! The decision itself: what is seen becomes a plan.

use fleet_api::mirror::Mirror;
use fleet_api::{ConditionType, MirrorStatus};
use jiff::Timestamp;

use crate::conditions::Facts;
use crate::fleet::{Fleet, Problem};
use crate::observed::Observed;
use crate::plan::{Plan, Write};
use crate::turn::Turn;
use crate::verdict::{conditions, stands, state_of_stalled};
use crate::view::RegionView;
use crate::{freshness, high_water, names, objects, runs, start, status, teardown, verdict};

/// Decides what to do about one Mirror. Every input has a plan; a wrong specification's is to touch nothing and say
/// what to change.
pub fn plan(mirror: &Mirror, seen: &Observed) -> Plan {
    if mirror.metadata.deletion_timestamp.is_some() {
        return teardown::plan(mirror, seen);
    }
    match Fleet::new(mirror, seen) {
        Ok(fleet) => carry_out(&fleet, seen),
        Err(problem) => stalled(mirror, seen, problem),
    }
}

/// The names under which our objects of this Mirror stand: whatever has one must be in [`Observed::objects`].
pub fn wanted_names(mirror: &Mirror) -> Vec<String> {
    let name = mirror.metadata.name.as_deref().unwrap_or_default();
    mirror
        .spec
        .regions
        .iter()
        .map(|region| names::child_name(name, &region.name))
        .collect()
}

fn carry_out(fleet: &Fleet, seen: &Observed) -> Plan {
    let before = fleet.status();
    let views: Vec<RegionView> = fleet
        .sites
        .iter()
        .map(|site| RegionView::new(site, &fleet.name, &before, seen))
        .collect();
    let objects = objects::converge(fleet, &views, seen);
    let mut runs: Vec<_> = views
        .iter()
        .zip(&objects.regions)
        .map(|(view, region)| runs::take_stock(view, &fleet.uid, seen.now, region.replacing))
        .collect();
    let mut marks = before.high_water.clone();
    let finished: Vec<_> = runs.iter().flat_map(|runs| runs.finished.clone()).collect();
    for report in finished.iter().filter_map(|run| run.report.as_ref()) {
        high_water::learn(&mut marks, report);
    }
    let starting = start::choose(fleet, &views, &mut runs, &objects, &marks, seen);
    let behind = freshness::remembered(&before.units);
    let facts: Vec<Facts> = views
        .iter()
        .zip(&runs)
        .zip(&objects.regions)
        .enumerate()
        .map(|(index, ((view, runs), objects))| Facts {
            view,
            runs,
            objects,
            freshness: freshness::of_region(fleet, view, &behind, seen.now),
            waiting: starting
                .waiting
                .as_ref()
                .filter(|(waiting, _)| *waiting == index)
                .map(|(_, words)| words.clone()),
        })
        .collect();
    let status = status::summarise(fleet, &facts, marks, seen, starting.next);
    let wake = [
        starting.look_again,
        objects.look_again,
        status::expires_at(fleet, &facts, &status, seen.now),
    ];
    let wake = wake
        .into_iter()
        .flatten()
        .chain(runs.iter().filter_map(|runs| runs.look_again));
    Plan {
        events: status::events(&before.conditions, &status, &finished),
        wake_at: wake.filter(|at| *at > seen.now).min(),
        // Serving wins: a Job leaves before its pod's StatefulSet changes.
        writes: runs
            .iter()
            .flat_map(|runs| runs.displace.clone())
            .chain(objects.writes)
            .chain(starting.write)
            .collect(),
        after_status: runs.iter().flat_map(|runs| runs.discard.clone()).collect(),
        status_changed: fleet.mirror.status.as_ref() != Some(&status),
        status,
        finished,
        turn: starting.turn,
        rollouts: objects.rollouts,
    }
}

/// Nothing is touched; what was true of the regions is left as it was said.
fn stalled(mirror: &Mirror, seen: &Observed, problem: Problem) -> Plan {
    let before = mirror.status.clone().unwrap_or_default();
    let generation = mirror.metadata.generation.unwrap_or(0);
    let stands = |kind| {
        (
            kind,
            stands(kind, &before.conditions, "nothing was done yet"),
        )
    };
    let reason = problem.reason;
    let mut verdicts = Vec::from(verdict::stalled(problem, &before.conditions));
    verdicts.extend([
        stands(ConditionType::Verified),
        stands(ConditionType::Fresh),
        stands(ConditionType::Serving),
        stands(ConditionType::StorageReady),
    ]);
    let conditions = conditions(verdicts, &before.conditions, generation, seen.now);
    let status = MirrorStatus {
        observed_generation: generation,
        state: Some(state_of_stalled(&conditions, reason)),
        next_sync_time: None,
        retained_claims: objects::retained_claims(mirror, seen),
        conditions,
        ..before.clone()
    };
    let running = status
        .replicas()
        .any(|(_, replica)| replica.current_run.is_some());
    Plan {
        writes: Vec::<Write>::new(),
        after_status: Vec::new(),
        events: status::events(&before.conditions, &status, &[]),
        finished: Vec::new(),
        turn: if running { Turn::Running } else { Turn::Idle },
        rollouts: 0,
        wake_at: None::<Timestamp>,
        status_changed: mirror.status.as_ref() != Some(&status),
        status,
    }
}
