//! What regions copy, from whom, and when.

use super::*;

#[test]
fn a_run_that_follows_gets_no_keyring_no_credentials_and_no_turn() {
    let mut world = three();
    world.hub_prepares(SECOND);
    world.objects.jobs.clear();
    world.mirror.status.as_mut().unwrap().regions[1].replicas[0].current_run = None;
    world.line.running = Some("another Mirror".to_owned());
    let plan = world.plan();
    let [job] = jobs(&plan.writes).try_into().unwrap();
    let labels = job.metadata.labels.as_ref().unwrap();
    assert!(!labels.contains_key(labels::UPSTREAM));
    assert_eq!(labels[labels::FOLLOWS], "eu");
    assert_eq!(
        job.metadata.annotations.as_ref().unwrap()[labels::COPIES],
        id(SECOND)
    );
    let pod = job.spec.unwrap().template.spec.unwrap();
    let volumes = serde_json::to_string(&pod.volumes).unwrap();
    let names: Vec<_> = pod
        .volumes
        .iter()
        .flatten()
        .map(|volume| volume.name.as_str())
        .collect();
    assert_eq!(names, ["data", "run"], "{volumes}");
    assert!(
        !volumes.contains("secret") && !volumes.contains("configMap"),
        "{volumes}"
    );
    let arguments = pod.containers[0].args.clone().unwrap();
    let after = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag);
        arguments[at.unwrap() + 1].clone()
    };
    let hub = fleet_plan::names::child_name("debian", "eu");
    let url = format!("http://{hub}.ns.svc:8081/.mirrorfleet/follow/debian");
    assert_eq!(after("--follow"), url);
    assert_eq!(after("--snapshot"), id(SECOND));
    assert_eq!(after("--index"), INDEX.to_string());
    assert!(after("--confirmed").starts_with("2026-01-01T10:"));
    let keep = after("--keep");
    assert!(
        keep.contains(&id(FIRST)) && keep.contains(&id(SECOND)),
        "{keep}"
    );
    assert!(!arguments.contains(&"--refs".to_owned()));
    // The hub may have accepted something newer than what this run is told to copy.
    assert!(!world.status().high_water.is_empty());
    assert_eq!(after("--high-water"), "[]");
    assert_eq!(plan.turn, Turn::Idle, "the Upstream is not asked");
}

#[test]
fn a_copy_that_fails_is_tried_again_for_ever_and_at_once_where_another_source_may_help() {
    let mut world = serving(&["eu", "us<eu"]);
    world.edit("/spec/sync/schedule", json!("0 0 1 1 *"));
    world.hub_prepares(SECOND);
    let mut waits = Vec::new();
    for reason in std::iter::once("SnapshotGone").chain(["SyncInterrupted"; 9]) {
        assert_eq!(running(&world), ["us"]);
        world.pass(1);
        let report = world.report(reason);
        world.end_run(&report);
        world.round();
        let ended = world.now;
        while running(&world).is_empty() {
            world.now = world.plan().wake_at.unwrap();
            world.round();
        }
        waits.push(world.now.duration_since(ended).as_secs());
    }
    assert_eq!(waits[0], 5);
    let doubled = |(times, wait): (usize, &i64)| {
        let least = (240_i64 << times).min(3600);
        (least..=least + least / 4).contains(wait)
    };
    assert!(waits[1..].iter().enumerate().all(doubled), "{waits:?}");
    let attempt = world.status().regions[1].replicas[0]
        .last_attempt
        .clone()
        .unwrap();
    assert_eq!((attempt.retry, attempt.copies), (9, Some(id(SECOND))));
}

#[test]
fn a_region_copies_a_pinned_snapshot_that_it_lacks_from_whoever_has_it() {
    let mut world = three();
    world.hub_prepares(SECOND);
    world.settle();
    // Only asia still has the first.
    for (pod, store) in &mut world.stores {
        if !pod.contains("asia") {
            store.kept.retain(|kept| kept.id == digest(SECOND));
        }
    }
    world.edit("/spec/snapshots", json!({"pinned": &id(FIRST)[..12]}));
    for _ in 0..3 {
        world.round();
    }
    assert_eq!(served(&world)[2], Some(id(FIRST)), "at once where it is");
    assert_eq!(withdrawn(&world), ["eu", "us"]);
    assert_eq!(running(&world), ["us"], "the hub copies from nobody");
    world.settle();
    assert_eq!(served(&world)[1..], vec![Some(id(FIRST)); 2]);
    assert_eq!(withdrawn(&world), ["eu"]);
    world.edit("/spec/snapshots", json!({"pinned": ""}));
    world.settle();
    assert_eq!(served(&world), vec![Some(id(SECOND)); 3]);
}

#[test]
fn from_one_source_four_copy_at_once_and_from_all_together_so_many_as_the_cluster_lets() {
    let edges = ["a<eu", "b<eu", "c<eu", "d<eu", "e<eu", "f<eu"];
    let regions: Vec<&str> = std::iter::once("eu").chain(edges).collect();
    let mut world = serving(&regions);
    world.hub_prepares(SECOND);
    assert_eq!(running(&world).len(), 4);
    assert_eq!(world.plan().copies, 4);
    assert!(world.plan().wake_at.is_some());
    let report = world.report("Prepared");
    world.end_run(&report);
    world.round();
    assert_eq!(running(&world).len(), 4);
    let mut world = serving(&regions);
    world.copies_elsewhere = 62;
    world.hub_prepares(SECOND);
    assert_eq!(running(&world).len(), 2);
}

#[test]
fn regions_go_on_copying_while_the_upstream_is_left_alone() {
    let mut world = three();
    world.hub_prepares(SECOND);
    world.edit("/spec/suspend", json!(true));
    world.settle();
    assert_eq!(served(&world), vec![Some(id(SECOND)); 3]);
}
