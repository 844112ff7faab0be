//! The planner's behaviour as stories: a few verbs build a world, and the plan is compared as text.

mod allowed;
mod canary;
mod change;
mod claims;
mod gauges;
mod links;
mod lists;
mod objects;
mod orders;
mod pods;
mod registry;
mod replicas;
mod rollout;
mod rollout_of_regions;
mod routes;
mod runs;
mod status;
mod takeover;
mod together;
mod traces;
mod trouble;
mod upgrade;
mod withdrawal;

use crate::model::{World, at, render};
use fleet_plan::{Object, Turn, Write};

/// A world whose regions serve, an hour before the next slot.
fn serving(regions: &[&str]) -> World {
    let mut world = World::new(regions);
    world.settle();
    world
}

/// A world in which a scheduled run has just begun.
fn running() -> World {
    let mut world = serving(&["eu"]);
    world.now = at("2026-01-01T11:00:00Z");
    let plan = world.plan();
    world.apply(&plan);
    assert_eq!(plan.turn, Turn::Running);
    world
}

fn creates_job(world: &World) -> Option<String> {
    let plan = world.plan();
    plan.writes.iter().find_map(|write| match write {
        Write::Create(Object::Job(job)) => {
            Some(job.metadata.annotations.as_ref().unwrap()["mirrorfleet.dev/trigger"].clone())
        }
        _ => None,
    })
}

fn last_reason(world: &World) -> String {
    world.status().regions[0].replicas[0]
        .last_attempt
        .as_ref()
        .unwrap()
        .reason
        .to_string()
}

/// A world whose objects were made and whose serving pod is what `pod` makes of it.
fn begun(pod: impl FnOnce(&mut fleet_plan::SeenPod)) -> World {
    let mut world = World::new(&["eu"]);
    world.step();
    world.kubernetes();
    let serving = &mut world.objects.pods[0];
    serving.ready = false;
    serving.running = false;
    pod(serving);
    world
}

/// What `Ready` says once the plan is carried out: reason and message. Planning again has nothing to add.
fn not_ready(world: &mut World) -> (String, String) {
    world.step();
    let again = world.plan();
    assert!(!again.status_changed, "{}", render(&again));
    let status = world.status();
    let ready = status
        .conditions
        .iter()
        .find(|found| found.type_ == "Ready")
        .unwrap();
    assert_eq!(ready.status, "False");
    assert!(status.state.unwrap().starts_with(&ready.reason));
    (ready.reason.clone(), ready.message.clone())
}
