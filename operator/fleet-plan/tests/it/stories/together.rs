//! Regions that follow another: what they copy, and that all publish together.

use fleet_api::{PublicationPhase, RegionState, labels};
use fleet_plan::{Object, Plan, Turn, Write};
use k8s_openapi::api::batch::v1::Job;
use serde_json::json;

use super::serving;
use crate::model::{INDEX, World, digest, render};

mod copies;

pub const FIRST: u8 = 0xaa;
pub const SECOND: u8 = 0xbb;

pub fn id(byte: u8) -> String {
    digest(byte).to_string()
}

/// One that fetches, one that follows it, and one that follows that.
fn three() -> World {
    serving(&["eu", "us<eu", "asia<us"])
}

pub fn served(world: &World) -> Vec<Option<String>> {
    let regions = world.mirror.spec.regions.iter();
    let child = |name: &str| fleet_plan::names::child_name("debian", name);
    let stores = regions.map(|region| &world.stores[&format!("{}-0", child(&region.name))]);
    stores.map(|store| store.snapshot.clone()).collect()
}

pub fn jobs(writes: &[Write]) -> Vec<Job> {
    let jobs = writes.iter().filter_map(|write| match write {
        Write::Create(Object::Job(job)) => Some((**job).clone()),
        _ => None,
    });
    jobs.collect()
}

pub fn running(world: &World) -> Vec<String> {
    let jobs = world.objects.jobs.iter().filter(|job| job.end.is_none());
    jobs.map(|job| job.meta.region().unwrap().to_owned())
        .collect()
}

fn withdrawn(world: &World) -> Vec<String> {
    let regions = world.status().regions.into_iter();
    let out = regions.filter(|region| region.withdrawn_at.is_some());
    out.map(|region| region.name).collect()
}

pub fn routed(world: &World) -> usize {
    let service = fleet_plan::names::mirror_name("debian");
    let slices = world.objects.slices.iter();
    let of_all = slices.filter(|slice| slice.service() == Some(&service));
    of_all.map(|slice| slice.pods.len()).sum()
}

pub fn phase(world: &World) -> PublicationPhase {
    world.status().publication.unwrap().phase.unwrap()
}

#[test]
fn the_first_snapshot_comes_to_all_regions_by_one_run_that_fetches() {
    let world = three();
    assert_eq!(served(&world), vec![Some(id(FIRST)); 3]);
    assert_eq!(withdrawn(&world), [""; 0]);
    assert_eq!(
        (routed(&world), phase(&world)),
        (3, PublicationPhase::Published)
    );
    let status = world.status();
    assert_eq!(status.state.as_deref(), Some("Serving"));
    assert_eq!(status.snapshots[0].index, Some(INDEX.to_string()));
    let roles = status
        .regions
        .iter()
        .map(|region| format!("{:?}", region.role.unwrap()));
    assert_eq!(roles.collect::<Vec<_>>(), ["Hub", "Edge", "Edge"]);
}

#[test]
fn nothing_is_served_before_all_have_it_and_the_hub_goes_one_ahead() {
    let mut world = three();
    world.hub_prepares(SECOND);
    assert_eq!(served(&world), vec![Some(id(FIRST)); 3]);
    assert_eq!(running(&world), ["us"], "asia takes it from us");
    assert_eq!(phase(&world), PublicationPhase::Preparing);
    let preparing = world.status().publication.unwrap().preparing.unwrap();
    assert_eq!(preparing.snapshot, id(SECOND));
    assert_eq!(preparing.waiting_for, ["us", "asia"]);
    // The upstream goes on, and the target stays. No run of the hub gives it up.
    world.request("another");
    world.round();
    let mut jobs = world.objects.jobs.iter();
    let fetching = jobs.find(|job| job.meta.region() == Some("eu") && job.end.is_none());
    let keep = fetching.unwrap().meta.annotation(labels::KEEP).unwrap();
    assert!(keep.contains(&id(SECOND)), "{keep}");
    world.settle();
    assert_eq!(served(&world), vec![Some(id(SECOND)); 3]);
    assert_eq!(withdrawn(&world), [""; 0]);
}

#[test]
fn a_region_that_cannot_be_asked_is_left_out_first_and_comes_back() {
    let mut world = three();
    world.hub_prepares(SECOND);
    world.away = vec!["asia".to_owned()];
    let report = world.report("Prepared");
    world.end_run(&report);
    let told = |plan: &Plan| {
        let told = |write: &&Write| matches!(write, Write::Order { .. });
        plan.writes.iter().filter(told).count()
    };
    // The decision to leave it out, then its template and its label, and what all of them tell clients.
    world.step();
    assert_eq!(withdrawn(&world), ["asia"]);
    let plan = world.plan();
    assert!(
        matches!(
            plan.writes.as_slice(),
            [
                Write::Apply(Object::StatefulSet(_)),
                Write::Label { .. },
                Write::List { .. },
                Write::Apply(Object::StatefulSet(_)),
                Write::List { .. },
                Write::Apply(Object::StatefulSet(_)),
                Write::List { .. }
            ]
        ),
        "{}",
        render(&plan)
    );
    world.apply(&plan);
    // Clients are led there still.
    assert_eq!((routed(&world), told(&world.plan())), (3, 0));
    world.step();
    assert_eq!(phase(&world), PublicationPhase::Preparing);
    world.kubernetes();
    assert_eq!(routed(&world), 2);
    world.step();
    assert_eq!(told(&world.plan()), 2);
    for _ in 0..5 {
        world.round();
    }
    assert_eq!(served(&world)[..2], vec![Some(id(SECOND)); 2]);
    assert_eq!(served(&world)[2], Some(id(FIRST)));
    assert_eq!(routed(&world), 2);
    let region = &world.status().regions[2];
    assert_eq!(region.state, RegionState::Unknown);
    world.away.clear();
    world.round();
    assert_eq!(world.status().regions[2].state, RegionState::Joining);
    assert_eq!(world.status().state.as_deref(), Some("Serving,Joining"));
    assert_eq!(world.condition("Reconciling").unwrap().1, "Joining");
    world.settle();
    assert_eq!(served(&world), vec![Some(id(SECOND)); 3]);
    assert_eq!((routed(&world), withdrawn(&world).len()), (3, 0));
}

/// A pod is asked now and then, and a run that ended is known at once.
#[test]
fn what_a_run_brought_counts_before_its_pod_says_so() {
    let mut world = serving(&["eu", "us<eu"]);
    world.hub_prepares(SECOND);
    let before = world.stores.clone();
    let report = world.report("Prepared");
    world.end_run(&report);
    let after = std::mem::replace(&mut world.stores, before);
    for _ in 0..5 {
        world.step();
        world.pass(1);
        assert_eq!(withdrawn(&world), [""; 0]);
        assert_eq!(running(&world), [""; 0]);
    }
    let publication = world.status().publication.unwrap();
    assert_eq!(
        (publication.snapshot, publication.preparing),
        (id(SECOND), None)
    );
    world.stores = after;
    world.settle();
    assert_eq!(served(&world), vec![Some(id(SECOND)); 2]);
}

#[test]
fn a_slow_region_has_its_patience_and_a_full_one_none() {
    let mut world = three();
    world.edit("/spec", {
        let mut spec = serde_json::to_value(&world.mirror.spec).unwrap();
        spec["rollout"] = json!({"patience": "10m"});
        spec
    });
    world.hub_prepares(SECOND);
    world.pass(590);
    world.round();
    assert_eq!(withdrawn(&world), [""; 0]);
    world.pass(20);
    world.round();
    assert_eq!(withdrawn(&world), ["us", "asia"]);
    for _ in 0..4 {
        world.round();
    }
    assert_eq!(served(&world)[0], Some(id(SECOND)));
    assert_eq!(running(&world), ["us"], "its copy goes on");
    world.settle();
    assert_eq!(served(&world), vec![Some(id(SECOND)); 3]);
    world.hub_prepares(0xcc);
    let full = world.report("StorageFull");
    world.end_run(&full);
    for _ in 0..6 {
        world.round();
    }
    assert_eq!(withdrawn(&world), ["us"]);
    assert_eq!(running(&world), ["asia"], "it goes round us");
    assert_eq!(world.condition("StorageReady").unwrap().1, "StorageFull");
}

#[test]
fn what_the_hub_confirms_is_handed_down_without_a_run_for_each() {
    let mut world = three();
    let success = |world: &World, at: usize| {
        let replica = world.status().regions[at].replicas[0].clone();
        replica.last_success.unwrap().0
    };
    let before = success(&world, 2);
    world.request("look");
    world.round();
    world.pass(30);
    let report = world.report("Unchanged");
    world.end_run(&report);
    world.step();
    world.step();
    assert!(success(&world, 2) > before);
    assert_eq!(success(&world, 2), success(&world, 0));
    assert_eq!(world.objects.jobs.len(), 0, "no run was needed");
    let status = world.status();
    assert_eq!(status.last_sync_time.unwrap().0, success(&world, 0));
    // What a mirror tells of itself is written by runs: twice within the objective.
    world.edit("/spec/sync/schedule", json!("0 0 1 1 *"));
    world.settle();
    let renewed = |world: &mut World| {
        world.round();
        running(world)
    };
    world.pass(2 * 3600);
    assert_eq!(renewed(&mut world), [""; 0]);
    world.pass(3600 + 60);
    assert_eq!(renewed(&mut world), ["us", "asia"]);
}

#[test]
fn a_request_is_answered_by_the_hub_alone() {
    let mut world = three();
    world.request("now");
    world.round();
    assert_eq!(running(&world), ["eu"]);
    assert_eq!(
        world.status().last_handled_sync_request.as_deref(),
        Some("now")
    );
}

#[test]
fn regions_that_follow_wrongly_say_what_to_change() {
    for (regions, words) in [
        (
            json!([{"name": "eu"}, {"name": "us", "follows": "mars"}]),
            "names another region",
        ),
        (
            json!([{"name": "eu"}, {"name": "us", "follows": "us"}]),
            "names another region",
        ),
        (
            json!([{"name": "eu"}, {"name": "a", "follows": "b"}, {"name": "b", "follows": "a"}]),
            "circle",
        ),
        (
            json!([{"name": "eu"}, {"name": "a", "follows": "eu"}, {"name": "b", "follows": "a"}, {"name": "c", "follows": "b"}]),
            "one step or two",
        ),
        (
            json!([{"name": "eu"}, {"name": "us"}, {"name": "a", "follows": "eu"}]),
            "exactly one",
        ),
    ] {
        let mut world = World::new(&["eu"]);
        world.edit("/spec/regions", regions);
        let plan = world.plan();
        assert!(plan.writes.is_empty());
        let status = plan.status;
        let stalled = status
            .conditions
            .iter()
            .find(|it| it.type_ == "Stalled")
            .unwrap();
        assert!(stalled.message.contains(words), "{}", stalled.message);
    }
}

#[test]
fn the_service_of_all_regions_comes_and_goes_with_the_first_that_follows() {
    let mut world = serving(&["eu", "us"]);
    let name = fleet_plan::names::mirror_name("debian");
    let there = |world: &World| world.objects.services.iter().any(|it| it.meta.name == name);
    assert!(!there(&world));
    world.edit(
        "/spec/regions",
        json!([{"name": "eu"}, {"name": "us", "follows": "eu"}]),
    );
    world.settle();
    assert!(there(&world));
    assert_eq!(routed(&world), 2);
    world.edit("/spec/regions", json!([{"name": "eu"}, {"name": "us"}]));
    world.settle();
    assert!(!there(&world));
}

#[test]
fn a_region_may_have_a_volume_of_its_own_size_and_class() {
    let mut world = World::new(&["eu"]);
    let own = json!({"size": "3Ti", "storageClassName": "fast"});
    world.edit(
        "/spec/regions",
        json!([{"name": "eu"}, {"name": "us", "follows": "eu", "storage": own}]),
    );
    let classes: Vec<Option<String>> = (world.plan().writes.iter())
        .filter_map(|write| match write {
            Write::Create(Object::Claim(claim)) => claim.spec.clone(),
            _ => None,
        })
        .map(|claim| claim.storage_class_name)
        .collect();
    assert_eq!(
        classes,
        [Some("fast".to_owned()), None],
        "the furthest from the hub goes first"
    );
    world.settle();
    let claim = |region: &str| {
        let mut claims = world.objects.claims.iter();
        claims
            .find(|claim| claim.meta.region() == Some(region))
            .unwrap()
            .clone()
    };
    assert_eq!(claim("eu").requested, Some(100 << 30));
    assert_eq!(claim("us").requested, Some(3 << 40));
}
