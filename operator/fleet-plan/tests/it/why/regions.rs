//! Situations of regions that follow another.

use fleet_plan::summary::Program;
use fleet_types::Reason;
use serde_json::json;

use super::{Situation, explain, serving, situation};
use crate::model::{World, at};

/// One that fetches, and two that follow it; something newer is being copied.
fn copying() -> World {
    let mut world = serving(&["eu", "us<eu", "asia<eu"]);
    world.hub_prepares(0xbb);
    world
}

fn without_pod(region: &str, mut world: World) -> World {
    let now = world.now;
    let mut pods = world.objects.pods.iter_mut();
    let pod = pods.find(|pod| pod.job.is_none() && pod.meta.region() == Some(region));
    let pod = pod.unwrap();
    (pod.ready, pod.ready_changed_at) = (false, Some(now));
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

/// The one copy that there is fails, and once more.
fn copied_twice(reason: &str) -> World {
    let mut world = serving(&["eu", "us<eu"]);
    world.edit(
        "/spec/sync",
        json!({"schedule": "0 0 1 1 *", "retries": {"backoff": "1m"}}),
    );
    world.settle();
    world.hub_prepares(0xbb);
    for again in [true, false] {
        let report = world.report(reason);
        world.end_run(&report);
        world.round();
        while again && !world.is_running() {
            world.now = world.plan().wake_at.unwrap();
            world.round();
        }
    }
    world
}

/// Nobody looks after a Mirror whose hub is down when its sync is due.
fn due_without_the_hub() -> World {
    let mut world = without_pod("eu", serving(&["eu", "us<eu"]));
    // Its node is gone: nobody takes it away.
    let mut pods = world.objects.pods.iter_mut();
    let pod = pods.find(|pod| pod.meta.region() == Some("eu"));
    pod.unwrap().meta.deleting = true;
    world.now = at("2026-01-01T11:10:00Z");
    world.step();
    world
}

fn standing_by() -> World {
    let mut world = serving(&["eu", "us<eu"]);
    let regions = json!([{"name": "eu"}, {"name": "us", "follows": "eu", "standby": true}]);
    world.edit("/spec/regions", regions);
    world.settle();
    world
}

fn without_a_claim(region: &str) -> World {
    let mut world = serving(&["eu", "us<eu"]);
    let mut claims = world.objects.claims.iter_mut();
    let claim = claims.find(|claim| claim.meta.region() == Some(region));
    claim.unwrap().meta.deleting = true;
    world.step();
    world
}

/// What is told while all serve and a later image comes to them.
#[test]
fn why_tells_who_is_restarted_next() {
    let mut world = serving(&["eu", "us<eu"]);
    world.image = "mirrorfleet:2".to_owned();
    // Their templates; then the first is evicted.
    for _ in 0..2 {
        world.round();
    }
    let program = Program {
        name: "mirrorfleet".to_owned(),
        cluster: Vec::new(),
    };
    let (told, well) = explain(&world, &program);
    assert_eq!((told.reason, well), (Some(Reason::Progressing), true));
    let words = "made anew after that of region us, which follows it";
    assert!(told.wrong.contains(words), "{}", told.wrong);
    world.settle();
    assert_eq!(explain(&world, &program).0.reason, None);
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
        || without_pod("us", copying()),
    ),
    situation(
        "the region that fetches is down",
        Some(Reason::PodNotReady),
        || without_pod("eu", copying()),
    ),
    situation(
        "the region that fetches is down, and another one stands by",
        Some(Reason::PodNotReady),
        || without_pod("eu", standing_by()),
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
        "a copy fails again and again",
        Some(Reason::SyncInterrupted),
        || copied_twice("SyncInterrupted"),
    ),
    situation(
        "the region that fetches is down, and its sync is due",
        Some(Reason::PodNotReady),
        due_without_the_hub,
    ),
    situation(
        "somebody deletes the claim of a region that follows",
        Some(Reason::VolumePending),
        || without_a_claim("us"),
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
