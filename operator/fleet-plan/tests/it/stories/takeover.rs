//! Who fetches while the one that does cannot.

use fleet_api::labels;
use fleet_plan::observed::VolumePhase;
use fleet_plan::{Turn, Write};
use serde_json::json;

use super::serving;
use super::together::{FIRST, SECOND, id, running};
use crate::model::{World, render};

/// One that fetches, one that stands by, and one that follows the first.
fn three() -> World {
    let mut world = serving(&["eu", "us<eu", "asia<eu"]);
    world.edit(
        "/spec/regions",
        json!([
            {"name": "eu"},
            {"name": "us", "follows": "eu", "standby": true},
            {"name": "asia", "follows": "eu"},
        ]),
    );
    world.settle();
    world
}

fn fetcher(world: &World) -> Option<(String, u32, String)> {
    let fetcher = world.status().fetcher?;
    Some((fetcher.region, fetcher.replica, fetcher.reason.to_string()))
}

fn claim<'w>(world: &'w mut World, region: &str) -> &'w mut fleet_plan::SeenClaim {
    let mut claims = world.objects.claims.iter_mut();
    let is_first = |claim: &&mut fleet_plan::SeenClaim| {
        claim.meta.region() == Some(region) && claim.meta.replica() == 0
    };
    claims.find(is_first).unwrap()
}

fn pod<'w>(world: &'w mut World, region: &str) -> &'w mut fleet_plan::SeenPod {
    let mut pods = world.objects.pods.iter_mut();
    let serves =
        |pod: &&mut fleet_plan::SeenPod| pod.job.is_none() && pod.meta.region() == Some(region);
    pods.find(serves).unwrap()
}

/// A run of whoever fetches brings one more, and all that can have it do.
fn brings(world: &mut World, byte: u8) {
    world.request(&format!("one more: {byte}"));
    world.step();
    world.pass(10);
    let report = fleet_types::documents::Report {
        snapshot: Some(id(byte)),
        ..world.report("Prepared")
    };
    world.end_run(&report);
    world.settle_around();
}

#[test]
fn a_region_whose_pod_is_away_for_long_is_left_and_fetches_again_once_it_has_caught_up() {
    let mut world = three();
    let now = world.now;
    let hub = pod(&mut world, "eu");
    (hub.ready, hub.ready_changed_at) = (false, Some(now));
    world.pass(200);
    world.step();
    assert_eq!(fetcher(&world), None, "it may come back by itself");
    let wake = world.plan().wake_at.unwrap();
    assert!(wake.duration_since(now).as_secs() <= 300);
    world.pass(110);
    world.step();
    assert_eq!(
        fetcher(&world),
        Some(("us".to_owned(), 0, "PodNotReady".to_owned()))
    );
    brings(&mut world, SECOND);
    let served = |world: &World, region: &str| {
        let name = format!("{}-0", fleet_plan::names::child_name("debian", region));
        world.stores[&name].snapshot.clone()
    };
    for region in ["us", "asia"] {
        assert_eq!(served(&world, region), Some(id(SECOND)), "{region}");
    }
    assert_eq!(served(&world, "eu"), Some(id(FIRST)));
    let status = world.status();
    let roles = status
        .regions
        .iter()
        .map(|region| format!("{:?}", region.role.unwrap()));
    assert_eq!(roles.collect::<Vec<_>>(), ["Edge", "Hub", "Edge"]);
    pod(&mut world, "eu").ready = true;
    world.settle();
    assert_eq!(served(&world, "eu"), Some(id(SECOND)));
    assert_eq!(fetcher(&world), None);
    brings(&mut world, 0xcc);
    assert_eq!(served(&world, "asia"), Some(id(0xcc)));
}

#[test]
fn a_run_of_the_one_that_is_left_is_ended_and_never_do_two_ask_the_upstream() {
    let mut world = three();
    world.request("now");
    world.round();
    assert_eq!(running(&world), ["eu"]);
    claim(&mut world, "eu").phase = VolumePhase::Lost;
    world.step();
    assert_eq!(fetcher(&world).unwrap().0, "us");
    for _ in 0..3 {
        let plan = world.plan();
        let fetches = |job: &&fleet_plan::SeenJob| {
            job.end.is_none() && job.meta.label(labels::UPSTREAM).is_some()
        };
        assert!(
            world.objects.jobs.iter().filter(fetches).count() <= 1,
            "{}",
            render(&plan)
        );
        world.apply(&plan);
        world.kubernetes();
    }
    assert_eq!(
        running(&world),
        ["us"],
        "what a person asked for is asked for by it"
    );
    assert_eq!(world.plan().turn, Turn::Running);
}

#[test]
fn what_the_upstream_gave_and_was_refused_is_no_reason_and_what_only_one_side_meets_is() {
    for (reason, reached, taken) in [
        ("SignatureBad", "True", false),
        ("RollbackDetected", "True", false),
        ("UpstreamUnreachable", "False", false),
        ("UpstreamUnreachable", "True", true),
        ("StorageFull", "True", true),
    ] {
        let mut world = three();
        world.edit(
            "/spec/sync",
            json!({"schedule": "0 0 1 1 *", "retries": {"limit": 1, "backoff": "1s"}}),
        );
        world.settle();
        world.edit_upstream(
            "/status",
            json!({"observedGeneration": 1, "revision": [], "conditions": [{
                "type": "Reachable", "status": reached, "reason": "Reachable", "message": "as the test says",
                "lastTransitionTime": "2026-01-01T10:00:00Z", "observedGeneration": 1,
            }]}),
        );
        world.request("to fail");
        for _ in 0..2 {
            while running(&world).is_empty() {
                world.pass(5);
                world.round();
            }
            assert_eq!(running(&world), ["eu"], "{reason}");
            let report = world.report(reason);
            world.end_run(&report);
            world.step();
        }
        world.step();
        let wanted = taken.then(|| ("us".to_owned(), 0, reason.to_owned()));
        assert_eq!(fetcher(&world), wanted, "{reason} {reached}");
    }
}

#[test]
fn where_nobody_stands_by_the_next_replica_fetches() {
    let mut world = serving(&["eu*2", "us<eu"]);
    claim(&mut world, "eu").phase = VolumePhase::Lost;
    for _ in 0..3 {
        world.round();
    }
    let told = Some(("eu".to_owned(), 1, "VolumeUnreachable".to_owned()));
    assert_eq!(fetcher(&world), told);
    brings(&mut world, SECOND);
    let name = format!("{}-0", fleet_plan::names::child_name("debian", "us"));
    assert_eq!(world.stores[&name].snapshot, Some(id(SECOND)));
    let mut alone = serving(&["eu", "us<eu"]);
    claim(&mut alone, "eu").phase = VolumePhase::Lost;
    alone.step();
    assert_eq!(fetcher(&alone), None, "us does not stand by");
}

#[test]
fn one_region_stands_by_and_follows_the_one_that_fetches() {
    for regions in [
        json!([{"name": "eu", "standby": true}, {"name": "us", "follows": "eu"}]),
        json!([{"name": "eu"}, {"name": "us", "follows": "eu"}, {"name": "a", "follows": "us", "standby": true}]),
        json!([{"name": "eu"}, {"name": "us", "follows": "eu", "standby": true}, {"name": "a", "follows": "eu", "standby": true}]),
    ] {
        let mut world = World::new(&["eu"]);
        world.edit("/spec/regions", regions);
        let plan = world.plan();
        let refused = |write: &Write| !matches!(write, Write::Create(_));
        assert!(plan.writes.iter().all(refused), "{}", render(&plan));
        let mut conditions = plan.status.conditions.iter();
        let stalled = conditions.find(|it| it.type_ == "Stalled").unwrap();
        assert!(
            stalled.message.contains("standby is for one region"),
            "{}",
            stalled.message
        );
    }
}
