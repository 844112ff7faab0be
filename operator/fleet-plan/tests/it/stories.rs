//! The planner's behaviour as stories: a few verbs build a world, and the plan is compared as text.

mod allowed;
mod objects;
mod pods;
mod rollout;
mod runs;
mod status;
mod trouble;

use crate::model::{World, at};
use fleet_plan::{Turn, Write};

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
        Write::CreateJob(job) => {
            Some(job.metadata.annotations.as_ref().unwrap()["mirrorfleet.dev/trigger"].clone())
        }
        _ => None,
    })
}

fn last_reason(world: &World) -> String {
    world.status().regions[0]
        .last_attempt
        .as_ref()
        .unwrap()
        .reason
        .clone()
}
