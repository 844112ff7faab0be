//! Images of regions that follow each other: who goes first, and what waits meanwhile.

use fleet_api::labels;
use fleet_plan::{SeenPod, Write};
use jiff::SignedDuration;

use super::serving;
use crate::model::{World, digest, render};

const REGIONS: [&str; 4] = ["eu", "us<eu", "asia<us", "sa<eu"];

/// The regions whose pods a plan would evict.
fn evicted(world: &World) -> Vec<String> {
    let evicted = world.plan().writes.into_iter();
    let evicted = evicted.filter_map(|write| match write {
        Write::Evict { part, .. } => Some(part),
        _ => None,
    });
    evicted.collect()
}

fn pod<'w>(world: &'w mut World, region: &str) -> &'w mut SeenPod {
    let mut pods = world.objects.pods.iter_mut();
    let pod = pods.find(|pod| pod.job.is_none() && pod.meta.region() == Some(region));
    pod.unwrap()
}

/// What a region's pod says that it reads.
fn reads(world: &mut World, region: &str, version: u32) {
    let name = pod(world, region).meta.name.clone();
    world.stores.get_mut(&name).unwrap().index_version = version;
}

/// Regions that serve and say what they read, as another image comes.
fn another_image(regions: &[&str], from: u32, to: u32) -> World {
    let mut world = serving(regions);
    for store in world.stores.values_mut() {
        store.index_version = from;
    }
    world.index_version = to;
    world.image = "mirrorfleet:2".to_owned();
    world.step();
    world
}

/// The order in which regions are restarted; each new pod says what its image reads.
fn restarts(world: &mut World) -> Vec<String> {
    let mut order = Vec::new();
    for _ in 0..40 {
        let now = evicted(world);
        assert!(now.len() < 2, "one at a time: {now:?}");
        world.step();
        for region in &now {
            reads(world, region, world.index_version);
        }
        order.extend(now);
        world.pass(5);
        world.kubernetes();
    }
    order
}

fn jobs_of(world: &World) -> Vec<String> {
    let jobs = world.objects.jobs.iter().filter(|job| job.end.is_none());
    jobs.map(|job| job.meta.region().unwrap().to_owned())
        .collect()
}

/// What `Reconciling` says: reason and message.
fn told(world: &World) -> (String, String) {
    let conditions = world.status().conditions.into_iter();
    let mut found = conditions.filter(|condition| condition.type_ == "Reconciling");
    let found = found.next();
    found.map_or_else(Default::default, |found| (found.reason, found.message))
}

#[test]
fn a_later_image_goes_from_the_leaves_to_the_hub() {
    for (from, to) in [(1, 2), (1, 1), (0, 1)] {
        let mut world = another_image(&REGIONS, from, to);
        let order = restarts(&mut world);
        assert_eq!(order, ["asia", "us", "sa", "eu"], "{from} to {to}");
        world.settle();
        let plan = world.plan();
        assert!(
            plan.writes.is_empty() && !plan.status_changed,
            "{}",
            render(&plan)
        );
    }
}

#[test]
fn an_image_that_writes_earlier_indices_goes_to_the_hub_first() {
    let mut world = another_image(&REGIONS, 2, 1);
    assert_eq!(restarts(&mut world), ["eu", "asia", "us", "sa"]);
}

#[test]
fn nobody_goes_before_the_hub_has_said_what_it_reads() {
    let mut world = another_image(&REGIONS, 2, 1);
    world.not_asked = true;
    assert_eq!(evicted(&world), [""; 0]);
    world.step();
    let (reason, message) = told(&world);
    assert_eq!(reason, "Progressing");
    assert!(
        message.contains("that of region eu has been asked"),
        "{message}"
    );
    world.not_asked = false;
    assert_eq!(evicted(&world), ["eu"]);
}

#[test]
fn a_region_that_waits_says_for_whom() {
    let mut world = another_image(&["eu", "us<eu"], 1, 2);
    world.step();
    let (_, message) = told(&world);
    assert!(
        message.contains("its serving pod is made anew after that of region us, which follows it"),
        "{message}"
    );
}

/// Its node is gone: the pod leaves and is never away.
#[test]
fn a_region_whose_pod_cannot_go_is_left_behind_after_a_while() {
    let mut world = another_image(&["eu", "us<eu", "asia<us"], 1, 1);
    let since = world.now;
    let lost = pod(&mut world, "asia");
    (lost.meta.deleting, lost.ready, lost.ready_changed_at) = (true, false, Some(since));
    for _ in 0..3 {
        world.step();
        assert_eq!(evicted(&world), [""; 0]);
    }
    let until = since + SignedDuration::from_mins(15);
    assert!(world.plan().wake_at.is_some_and(|wake| wake <= until));
    world.now = until;
    assert_eq!(evicted(&world), ["us"]);
    world.step();
    let (_, message) = told(&world);
    let expected = "region asia is left behind with image mirrorfleet:1: its serving pod has not been ready since";
    assert!(message.contains(expected), "{message}");
    assert_eq!(
        world.plan().rollouts,
        1,
        "it holds up no other Mirror either"
    );
    let lost = pod(&mut world, "asia").clone();
    world.kubernetes();
    // Its node is still gone.
    *pod(&mut world, "asia") = lost;
    assert_eq!(evicted(&world), ["eu"]);
}

#[test]
fn the_hub_writes_nothing_that_an_offered_region_cannot_read_for_a_while() {
    let mut world = serving(&["eu", "us<eu", "asia<eu"]);
    for (region, version) in [("eu", 2), ("us", 1), ("asia", 2)] {
        reads(&mut world, region, version);
    }
    let made = world.now;
    pod(&mut world, "eu").meta.created_at = Some(made);
    world.request("by a person");
    world.step();
    assert_eq!(jobs_of(&world), [""; 0]);
    let (reason, message) = told(&world);
    assert_eq!(reason, "IndexVersionTooNew");
    assert!(
        message.contains(
            "region eu would write indices of version 2, which 1 region (us) cannot read"
        ),
        "{message}"
    );
    let until = made + SignedDuration::from_mins(15);
    assert!(world.plan().wake_at.is_some_and(|wake| wake <= until));
    let said = world.plan();
    assert!(
        !said.status_changed && said.writes.is_empty(),
        "{}",
        render(&said)
    );
    // One that reads it holds up nothing, nor one that does not say.
    for of_us in [2, 0] {
        reads(&mut world, "us", of_us);
        let starts = |write: &Write| matches!(write, Write::Create(_));
        assert!(world.plan().writes.iter().any(starts), "{of_us}");
    }
    reads(&mut world, "us", 1);
    world.now = until;
    world.step();
    assert_eq!(jobs_of(&world), ["eu"], "nor is one for ever");
}

#[test]
fn nothing_is_copied_to_a_region_that_reads_less_and_the_others_go_on() {
    let mut world = serving(&["eu", "us<eu", "asia<eu"]);
    for (region, version) in [("eu", 2), ("us", 1), ("asia", 2)] {
        reads(&mut world, region, version);
    }
    // The hub's pod is older than others wait for.
    world.pass(3600);
    world.hub_prepares(0xbb);
    assert_eq!(jobs_of(&world), ["asia"]);
    let (reason, message) = told(&world);
    assert_eq!(reason, "IndexVersionTooNew");
    assert!(
        message.contains("region us reads indices up to version 1"),
        "{message}"
    );
    let report = world.report("Prepared");
    world.end_run(&report);
    for _ in 0..8 {
        world.round();
    }
    let served = |world: &mut World, region: &str| {
        let name = pod(world, region).meta.name.clone();
        world.stores[&name].snapshot.clone().unwrap()
    };
    let newer = digest(0xbb).to_string();
    assert_eq!(served(&mut world, "asia"), newer);
    assert_ne!(served(&mut world, "us"), newer);
    let regions = world.status().regions;
    assert!(regions[1].withdrawn_at.is_some(), "{regions:?}");
    assert_eq!(
        pod(&mut world, "us").meta.label(labels::OFFERED),
        Some("false")
    );
    // Its pod is made anew, and it catches up.
    reads(&mut world, "us", 2);
    world.settle();
    assert_eq!(served(&mut world, "us"), newer);
    assert!(world.status().regions[1].withdrawn_at.is_none());
}
