//! Situations of regions that follow another.

use fleet_types::Reason;

use super::{Situation, serving, situation};
use crate::model::World;

/// One that fetches, and two that follow it; something newer is being copied.
fn copying() -> World {
    let mut world = serving(&["eu", "us<eu", "asia<eu"]);
    world.hub_prepares(0xbb);
    world
}

fn without_pod(region: &str) -> World {
    let mut world = copying();
    let mut pods = world.objects.pods.iter_mut();
    let pod = pods.find(|pod| pod.job.is_none() && pod.meta.region() == Some(region));
    pod.unwrap().ready = false;
    world.pass(60);
    for _ in 0..4 {
        world.step();
    }
    world
}

/// The first copy that runs ends so.
fn copied(reason: &str) -> World {
    let mut world = copying();
    world.pass(20);
    let report = world.report(reason);
    world.end_run(&report);
    for _ in 0..4 {
        world.round();
    }
    world
}

pub const REGIONS: &[Situation] = &[
    situation(
        "regions copy the next snapshot",
        Some(Reason::Copying),
        copying,
    ),
    situation(
        "a region that follows is down",
        Some(Reason::PodNotReady),
        || without_pod("us"),
    ),
    situation(
        "the region that fetches is down",
        Some(Reason::PodNotReady),
        || without_pod("eu"),
    ),
    situation(
        "a copy from another region fails",
        Some(Reason::SourceUnreachable),
        || copied("SourceUnreachable"),
    ),
    situation(
        "the volume of a region that follows is full",
        Some(Reason::StorageFull),
        || copied("StorageFull"),
    ),
    situation(
        "a region is left out until it has caught up",
        Some(Reason::Joining),
        || {
            let mut world = copying();
            world.away = vec!["us".to_owned()];
            world.pass(20);
            for _ in 0..2 {
                let report = world.report("Prepared");
                world.end_run(&report);
            }
            for _ in 0..6 {
                world.round();
            }
            for (pod, store) in &mut world.stores {
                if pod.contains("us") {
                    store.kept.pop();
                }
            }
            world.away.clear();
            world.pass(61);
            for _ in 0..3 {
                world.round();
            }
            world.pass(30);
            world
        },
    ),
];
