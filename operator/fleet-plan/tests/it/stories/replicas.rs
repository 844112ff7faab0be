//! Regions with several replicas: where they copy from, which Services lead to them, and how they come and go.

use fleet_api::{RegionState, labels};
use fleet_plan::observed::VolumePhase;
use fleet_plan::{Object, Owned, SeenApplied, Write};
use serde_json::{Value, json};

use super::serving;
use super::together::{FIRST, SECOND, id, jobs, routed, running};
use crate::model::{World, regions, render};

mod lost;
mod number;

/// The upstream's region with two replicas, and one that follows it with two.
fn four() -> World {
    serving(&["eu*2", "us<eu*2"])
}

fn child(region: &str, replica: u32) -> String {
    fleet_plan::names::replica_name("debian", region, replica)
}

pub fn store(world: &World, region: &str, replica: u32) -> Option<String> {
    let store = world.stores.get(&format!("{}-0", child(region, replica)))?;
    store.snapshot.clone()
}

fn service<'w>(world: &'w World, region: &str) -> &'w SeenApplied {
    let mut services = world.objects.services.iter();
    let name = child(region, 0);
    services.find(|it| it.meta.name == name).unwrap()
}

/// The pods to which a region's own Service leads.
fn led_to(world: &World, region: &str) -> Vec<String> {
    let (mut slices, name) = (world.objects.slices.iter(), child(region, 0));
    let slice = slices.find(|slice| slice.service() == Some(&name));
    slice.unwrap().pods.clone()
}

pub fn sources(world: &World) -> Vec<(String, Option<String>)> {
    let jobs = world.objects.jobs.iter().filter(|job| job.end.is_none());
    let source = |job: &fleet_plan::SeenJob| {
        let title = format!("{}/{}", job.meta.region().unwrap(), job.meta.replica());
        (title, job.meta.label(labels::FOLLOWS).map(str::to_owned))
    };
    jobs.map(source).collect()
}

fn withdrawn(world: &World) -> Vec<String> {
    let status = world.status();
    let all = status.regions.iter().flat_map(|region| {
        let numbers = 0..region.replicas.len();
        let out = numbers.filter(|number| region.withdrawn(*number).is_some());
        out.map(|number| region.title(number)).collect::<Vec<_>>()
    });
    all.collect()
}

fn spec(of: &SeenApplied) -> Value {
    serde_json::from_str(&of.spec).unwrap()
}

#[test]
fn each_replica_has_a_volume_and_a_pod_and_the_upstream_is_asked_once() {
    let mut world = four();
    let mut claims: Vec<_> = world
        .objects
        .claims
        .iter()
        .map(|it| &it.meta.name)
        .collect();
    claims.sort();
    let mut wanted = [
        child("eu", 0),
        child("eu", 1),
        child("us", 0),
        child("us", 1),
    ];
    wanted.sort();
    assert_eq!(claims, wanted.iter().collect::<Vec<_>>());
    assert_eq!(world.objects.stateful_sets.len(), 4);
    assert_eq!(world.objects.disruption_budgets.len(), 2, "one a region");
    assert_eq!(
        world.objects.services.len(),
        3,
        "one a region and one for all"
    );
    for (region, replica) in [("eu", 0), ("eu", 1), ("us", 0), ("us", 1)] {
        assert_eq!(store(&world, region, replica), Some(id(FIRST)));
    }
    assert_eq!(withdrawn(&world), [""; 0]);
    assert_eq!(routed(&world), 4);
    assert_eq!(
        (led_to(&world, "eu").len(), led_to(&world, "us").len()),
        (2, 2)
    );
    let status = world.status();
    assert_eq!(status.regions_ready.as_deref(), Some("2/2"));
    assert_eq!(status.regions.len(), 2);
    assert!(
        status
            .regions
            .iter()
            .all(|region| region.replicas.len() == 2)
    );
    // The one that fetches, then the others from the first of their region, and that from the region that is followed.
    world.request("one more");
    world.step();
    assert_eq!(sources(&world), [("eu/0".to_owned(), None)]);
    world.pass(10);
    let mut told = Vec::new();
    for _ in 0..4 {
        let report = world.report("Prepared");
        let report = fleet_types::documents::Report {
            snapshot: Some(id(SECOND)),
            ..report
        };
        world.end_run(&report);
        for _ in 0..3 {
            world.round();
        }
        told.extend(sources(&world));
    }
    told.sort();
    told.dedup();
    let eu = |title: &str| (title.to_owned(), Some("eu".to_owned()));
    let us = ("us/1".to_owned(), Some("us".to_owned()));
    assert_eq!(told, [eu("eu/1"), eu("us/0"), us]);
    world.settle();
    assert_eq!(store(&world, "us", 1), Some(id(SECOND)));
}

#[test]
fn a_replica_is_asked_at_its_own_address_since_its_service_leads_to_several() {
    let mut world = four();
    world.hub_prepares(SECOND);
    world.objects.jobs.clear();
    for region in &mut world.mirror.status.as_mut().unwrap().regions {
        for replica in &mut region.replicas {
            replica.current_run = None;
        }
    }
    let plan = world.plan();
    let hub = format!("{}-0", child("eu", 0));
    let mut pods = world.objects.pods.iter();
    let ip = pods.find(|pod| pod.meta.name == hub).unwrap().ip.clone();
    let wanted = format!("http://{}:8081/.mirrorfleet/follow/debian", ip.unwrap());
    for job in jobs(&plan.writes) {
        let pod = job.spec.unwrap().template.spec.unwrap();
        let arguments = pod.containers[0].args.clone().unwrap();
        assert!(arguments.contains(&wanted), "{arguments:?}");
        assert!(!arguments.contains(&"--refs".to_owned()));
    }
}

#[test]
fn replicas_are_kept_apart_and_a_budget_counts_those_that_clients_are_led_to() {
    let world = four();
    for set in &world.objects.stateful_sets {
        let spec = spec(set);
        let apart = &spec["template"]["spec"]["topologySpreadConstraints"];
        let keys: Vec<_> = (apart.as_array().unwrap().iter())
            .map(|one| one["topologyKey"].as_str().unwrap())
            .collect();
        assert_eq!(
            keys,
            ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
        );
        let selected = &apart[0]["labelSelector"]["matchLabels"];
        assert!(selected.get(labels::REPLICA).is_none(), "{selected}");
    }
    for budget in &world.objects.disruption_budgets {
        let spec = spec(budget);
        assert_eq!(spec["minAvailable"], 1);
        assert_eq!(spec["selector"]["matchLabels"][labels::ROUTED], "true");
    }
    let single = spec(&serving(&["eu"]).objects.disruption_budgets[0]);
    assert_eq!(single["maxUnavailable"], 1);
}

#[test]
fn a_replica_that_does_not_serve_what_its_region_serves_is_led_to_by_nobody() {
    let mut world = four();
    world.hub_prepares(SECOND);
    world.away = vec!["us/1".to_owned()];
    world.settle_around();
    assert_eq!(store(&world, "us", 0), Some(id(SECOND)));
    assert_eq!(store(&world, "us", 1), Some(id(FIRST)));
    assert_eq!(withdrawn(&world), ["us/1"]);
    assert_eq!(led_to(&world, "us"), [format!("{}-0", child("us", 0))]);
    let status = world.status();
    assert!(
        status.regions[1].withdrawn_at.is_none(),
        "the region is not left out"
    );
    assert_eq!(world.condition("Serving").unwrap().0, "True");
    world.away.clear();
    world.settle();
    assert_eq!(withdrawn(&world), [""; 0]);
    assert_eq!(led_to(&world, "us").len(), 2);
    assert_eq!(store(&world, "us", 1), Some(id(SECOND)));
}

#[test]
fn a_region_that_is_left_out_as_a_whole_goes_on_serving_its_own_clients() {
    let mut world = four();
    world.hub_prepares(SECOND);
    world.away = vec!["us".to_owned()];
    world.settle_around();
    assert_eq!(store(&world, "eu", 1), Some(id(SECOND)));
    assert_eq!(withdrawn(&world), ["us/0", "us/1"]);
    assert!(world.status().regions[1].withdrawn_at.is_some());
    assert_eq!((led_to(&world, "us").len(), routed(&world)), (2, 2));
    let text = serde_json::to_string(&world.status().regions[1]).unwrap();
    assert_eq!(text.matches("withdrawnAt").count(), 1, "said once: {text}");
    world.away.clear();
    world.settle();
    assert_eq!((led_to(&world, "us").len(), routed(&world)), (2, 4));
}

#[test]
fn images_go_one_replica_at_a_time_and_the_one_that_fetches_is_the_last() {
    let mut world = four();
    world.image = "mirrorfleet:2".to_owned();
    let mut order = Vec::new();
    for _ in 0..40 {
        let plan = world.plan();
        let evicted: Vec<_> = (plan.writes.iter())
            .filter_map(|write| match write {
                Write::Evict { name, .. } => Some(name.clone()),
                _ => None,
            })
            .collect();
        assert!(evicted.len() <= 1, "{}", render(&plan));
        order.extend(evicted);
        world.apply(&plan);
        world.kubernetes();
    }
    let pod = |region, replica| format!("{}-0", child(region, replica));
    assert_eq!(order.last(), Some(&pod("eu", 0)));
    assert_eq!(order[0], pod("us", 1), "{order:?}");
    assert_eq!(order.len(), 4);
}

#[test]
fn a_pod_that_is_gone_for_a_while_is_told_and_its_region_stays_ready() {
    let mut world = four();
    let name = format!("{}-0", child("us", 1));
    let mut pods = world.objects.pods.iter_mut();
    pods.find(|pod| pod.meta.name == name).unwrap().ready = false;
    world.step();
    assert_eq!(world.condition("Ready").unwrap().0, "True");
    assert_eq!(world.condition("Serving").unwrap().0, "True");
    let status = world.status();
    let told = |kind: &str| {
        let mut all = status.conditions.iter();
        let found = all.find(|it| it.type_ == kind).unwrap();
        found.message.clone()
    };
    assert!(
        told("Serving").contains("region us/1"),
        "{}",
        told("Serving")
    );
    assert!(
        told("Reconciling").contains("region us/1"),
        "{}",
        told("Reconciling")
    );
    assert_eq!(
        status.regions_ready.as_deref(),
        Some("1/2"),
        "as its worst replica"
    );
    assert_eq!(status.regions[1].state, RegionState::Unknown);
}

#[test]
fn replicas_that_are_too_many_or_of_regions_that_each_fetch_are_refused_in_words() {
    let mut world = World::new(&["eu"]);
    world.edit("/spec/regions", regions(&["eu*2", "us"]));
    let plan = world.plan();
    assert!(plan.writes.is_empty(), "{}", render(&plan));
    let status = plan.status;
    let mut conditions = status.conditions.iter();
    let stalled = conditions.find(|it| it.type_ == "Stalled").unwrap();
    assert!(
        stalled.message.contains("exactly one fetches"),
        "{}",
        stalled.message
    );
}

#[test]
fn somebody_elses_object_under_a_replicas_name_is_left_alone() {
    let mut world = serving(&["eu"]);
    let stranger = fleet_plan::SeenClaim {
        meta: fleet_plan::SeenMeta {
            name: child("eu", 1),
            ..fleet_plan::SeenMeta::default()
        },
        ..fleet_plan::SeenClaim::default()
    };
    world.objects.claims.push(stranger);
    world.edit("/spec/regions", regions(&["eu*2"]));
    let plan = world.plan();
    let touches = |write: &&Write| !matches!(write, Write::Apply(Object::Service(_)));
    assert_eq!(
        plan.writes.iter().filter(touches).count(),
        0,
        "{}",
        render(&plan)
    );
    let wanted = fleet_plan::wanted_names(&world.mirror);
    assert!(wanted.contains(&child("eu", 1)), "{wanted:?}");
}
