//! The decision itself: what is seen becomes a plan.

use fleet_api::mirror::Mirror;
use fleet_api::{ConditionType, MirrorStatus, ReplicaStatus};
use jiff::Timestamp;

use crate::fleet::{Fleet, Problem};
use crate::observed::Observed;
use crate::plan::{Plan, Write};
use crate::site::Site;
use crate::turn::Turn;
use crate::verdict::{conditions, stands, state_of_stalled};
use crate::{
    claims, freshness, high_water, names, objects, orders, rollout, start, status, takeover,
    teardown, verdict,
};

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
    let regions = mirror.spec.regions.iter();
    let children = regions.flat_map(|region| {
        let replicas = 0..region.count();
        replicas.map(|replica| names::replica_name(name, &region.name, replica))
    });
    children.chain([names::mirror_name(name)]).collect()
}

fn carry_out(fleet: &Fleet, seen: &Observed) -> Plan {
    let before = fleet.status();
    let behind = freshness::remembered(&before.units);
    let places = fleet.places.iter();
    let mut sites: Vec<Site> = places
        .map(|place| Site::new(fleet, place, &before, &behind, seen))
        .collect();
    let objects = objects::converge(fleet, &mut sites, seen);
    let mut marks = before.high_water.clone();
    for site in &mut sites {
        site.take_stock(seen.now);
        let reports = site.runs.finished.iter();
        for report in reports.filter_map(|run| run.report.as_ref()) {
            high_water::learn(&mut marks, report);
        }
    }
    rollout::compare(fleet, &mut sites);
    let ordering = orders::decide(fleet, &mut sites, &before, seen);
    let handing = takeover::decide(fleet, &mut sites, &before, seen.now);
    let told = start::Orders {
        hands_over: handing.fetcher != before.fetcher,
        marks: &marks,
        agreed: ordering.agreed.as_ref(),
        before: &before,
    };
    let starting = start::choose(fleet, &mut sites, told, seen);
    let fetcher = handing.fetcher.clone();
    let status = status::summarise(
        fleet,
        &sites,
        marks,
        &ordering,
        fetcher,
        seen,
        starting.next,
    );
    let of_all = [
        handing.look_again,
        starting.look_again,
        objects.look_again,
        ordering.look_again,
        fleet.list.look_again,
        status::expires_at(fleet, &sites, &status, seen.now),
    ];
    let mut plan = Plan {
        events: Vec::new(),
        wake_at: next_of(&of_all, &sites, seen.now),
        writes: Vec::new(),
        after_status: Vec::new(),
        status_changed: fleet.mirror.status.as_ref() != Some(&status),
        status,
        finished: Vec::new(),
        turn: starting.turn,
        rollouts: objects.rollouts,
        copies: starting.copies,
    };
    // Before all else: what is served must not wait for anything, and builds on nothing.
    plan.writes.extend(objects.orders);
    for site in sites {
        // Serving wins: first goes the Job that stands in its way.
        plan.writes.extend(site.runs.displace);
        plan.after_status.extend(site.runs.discard);
        plan.finished.extend(site.runs.finished);
    }
    plan.after_status.extend(ordering.audits.discard);
    plan.writes.extend(objects.writes);
    plan.writes.extend(starting.writes);
    plan.writes.extend(objects.routes);
    plan.writes.extend(ordering.audits.writes);
    plan.writes.extend(objects.of_all);
    plan.events = status::events(&before, &plan.status, &plan.finished);
    plan
}

/// When there is something to look at again: of all that is planned together, or of a replica.
fn next_of(of_all: &[Option<Timestamp>], sites: &[Site], now: Timestamp) -> Option<Timestamp> {
    let runs = sites.iter().map(|site| site.runs.look_again);
    let misfits = sites.iter().filter_map(|site| site.misfit.as_ref());
    let unheeded = sites.iter().filter_map(Site::unheeded);
    let of_all = of_all.iter().copied();
    let all = of_all
        .chain(runs)
        .chain(misfits.map(|misfit| misfit.until))
        .chain(unheeded.map(|unheeded| unheeded.look_again(now)));
    all.flatten().filter(|at| *at > now).min()
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
        retained_claims: claims::retained_claims(mirror, seen),
        conditions,
        ..before.clone()
    };
    let fetches = |replica: &ReplicaStatus| {
        let run = replica.current_run.as_ref();
        run.is_some_and(|run| run.copies.is_none())
    };
    let running = status.replicas().any(|(_, replica)| fetches(replica));
    let copies = seen.objects.jobs.iter().filter(|job| {
        let copies = job.meta.label(fleet_api::labels::FOLLOWS).is_some();
        copies && job.end.is_none()
    });
    Plan {
        writes: Vec::<Write>::new(),
        after_status: Vec::new(),
        events: status::events(&before, &status, &[]),
        finished: Vec::new(),
        turn: if running { Turn::Running } else { Turn::Idle },
        rollouts: 0,
        copies: u32::try_from(copies.count()).unwrap_or(u32::MAX),
        wake_at: None::<Timestamp>,
        status_changed: mirror.status.as_ref() != Some(&status),
        status,
    }
}
