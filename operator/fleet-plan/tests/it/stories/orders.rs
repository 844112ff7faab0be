//! What regions are told to serve: decided in the status first, then told, without a run.

use fleet_api::labels;
use fleet_plan::{Object, Plan, Write};
use fleet_types::documents::{KeptSnapshot, UnixSeconds};
use fleet_types::{Order, Sha256};
use serde_json::json;

use super::{creates_job, running, serving};
use crate::model::{World, digest, render};

const FIRST: u8 = 0xaa;

fn id(byte: u8) -> String {
    digest(byte).to_string()
}

/// A run has prepared one more in every region.
fn prepared(world: &mut World, byte: u8) {
    world.pass(60);
    let kept = KeptSnapshot {
        id: digest(byte),
        created: UnixSeconds(world.now.as_second()),
        date: None,
        superseded_at: None,
        index: None,
        changes: None,
        bytes: None,
    };
    for store in world.stores.values_mut() {
        store.kept.push(kept);
    }
}

fn pin(world: &mut World, pinned: &str) {
    world.edit("/spec/snapshots", json!({"pinned": pinned}));
}

/// A world with two snapshots, of which the newer is served.
fn two() -> World {
    let mut world = serving(&["eu"]);
    world.edit(
        "/spec/snapshots",
        json!({"keep": 3, "minAge": "48h", "pinned": ""}),
    );
    world.settle();
    prepared(&mut world, 0xbb);
    world.settle();
    world
}

fn orders(plan: &Plan) -> Vec<Order> {
    let writes = plan.writes.iter();
    let orders = writes.filter_map(|write| match write {
        Write::Order { order, .. } => Some(*order),
        _ => None,
    });
    orders.collect()
}

fn served(world: &World) -> Option<String> {
    world.stores.values().next().unwrap().snapshot.clone()
}

fn order(epoch: u64, byte: u8) -> Order {
    Order {
        epoch,
        snapshot: digest(byte),
    }
}

fn publication(world: &World) -> (i64, String, bool) {
    let publication = world.status().publication.unwrap();
    (publication.epoch, publication.snapshot, publication.pinned)
}

#[test]
fn what_a_run_prepared_is_served_by_order() {
    let world = serving(&["eu", "us"]);
    let (epoch, snapshot, pinned) = publication(&world);
    assert!(epoch > 0 && snapshot == id(FIRST) && !pinned);
    for (pod, store) in &world.stores {
        assert_eq!(store.snapshot, Some(id(FIRST)), "{pod}");
        assert!(store.order.is_some());
    }
    assert_eq!(world.status().snapshot, Some(id(FIRST)));
}

#[test]
fn a_decision_is_in_the_status_before_anybody_is_told_and_in_the_template_before_the_pod() {
    let mut world = two();
    let told = world.status().publication.unwrap().epoch;
    assert_eq!(served(&world), Some(id(0xbb)));
    pin(&mut world, &id(FIRST)[..12]);
    let decides = world.plan();
    assert!(
        decides.writes.is_empty() && decides.status_changed,
        "{}",
        render(&decides)
    );
    world.apply(&decides);
    assert_eq!(publication(&world), (told + 1, id(FIRST), true));
    let tells = world.plan();
    let epoch = u64::try_from(told + 1).unwrap();
    assert!(
        matches!(
            tells.writes.as_slice(),
            [Write::Apply(Object::StatefulSet(_)), Write::Order { order: given, .. }] if *given == order(epoch, FIRST)
        ),
        "{}",
        render(&tells)
    );
    assert_eq!(
        world.condition("Reconciling"),
        None,
        "nothing is being restarted"
    );
    world.apply(&tells);
    world.kubernetes();
    assert_eq!(served(&world), Some(id(FIRST)));
    let says = world.plan();
    assert!(says.writes.is_empty());
    assert!(
        says.events
            .iter()
            .any(|event| event.reason.as_str() == "Pinned"),
        "{}",
        render(&says)
    );
    world.apply(&says);
    assert!(!world.plan().status_changed);
    assert_eq!(
        creates_job(&world),
        None,
        "no run has anything to do with it"
    );
}

#[test]
fn pins_and_skips_act_beside_a_run_and_their_end_too() {
    let mut world = two();
    world.request("a run");
    world.step();
    assert!(world.status().regions[0].replicas[0].current_run.is_some());
    let acts = |world: &mut World| {
        for _ in 0..3 {
            world.step();
            world.kubernetes();
        }
        served(world).unwrap()
    };
    pin(&mut world, &id(FIRST));
    assert_eq!(acts(&mut world), id(FIRST));
    pin(&mut world, "");
    assert_eq!(acts(&mut world), id(0xbb));
    world.edit("/spec/snapshots", json!({"skip": [&id(0xbb)[..8]]}));
    assert_eq!(acts(&mut world), id(FIRST));
    assert_eq!(world.status().state.as_deref(), Some("Serving,RolledBack"));
    prepared(&mut world, 0xcc);
    world.objects.jobs.clear();
    assert_eq!(acts(&mut world), id(0xcc), "something newer ends it");
    assert!(world.objects.jobs.is_empty(), "no run was needed");
}

#[test]
fn what_a_run_may_give_up_is_not_ordered_before_it_has_ended() {
    let mut world = running();
    let kept: Vec<Sha256> = {
        let job = &world.objects.jobs[0];
        serde_json::from_str(job.meta.annotation(labels::KEEP).unwrap()).unwrap()
    };
    assert_eq!(kept, [digest(FIRST)]);
    // An older one that the run knows nothing of.
    for store in world.stores.values_mut() {
        let older = KeptSnapshot {
            id: digest(1),
            created: UnixSeconds(1),
            date: None,
            superseded_at: None,
            index: None,
            changes: None,
            bytes: None,
        };
        store.kept.insert(0, older);
    }
    world.edit("/spec/snapshots", json!({"pinned": id(1)}));
    world.step();
    assert_eq!(world.condition("Stalled").unwrap().1, "SnapshotNotFound");
    world.step();
    assert_eq!(served(&world), Some(id(FIRST)));
    let report = world.report("Unchanged");
    world.end_run(&report);
    world.settle();
    assert_eq!(served(&world), Some(id(1)));
}

#[test]
fn what_was_served_until_now_stays_for_clients_though_no_run_has_noted_that_it_was() {
    let mut world = serving(&["eu"]);
    world.edit("/spec/snapshots", json!({"keep": 1, "minAge": "48h"}));
    world.settle();
    prepared(&mut world, 0xbb);
    while served(&world) == Some(id(FIRST)) {
        world.step();
        world.kubernetes();
    }
    // The plan that first sees that nobody serves it any more starts a run, too.
    world.request("a run");
    world.step();
    let job = world.objects.jobs.iter().find(|job| job.end.is_none());
    let keep = job.unwrap().meta.annotation(labels::KEEP).unwrap();
    assert!(keep.contains(&id(FIRST)), "{keep}");
    // And so does each that starts later.
    let report = world.report("Unchanged");
    world.end_run(&report);
    world.settle();
    world.request("another");
    world.step();
    let job = world.objects.jobs.iter().find(|job| job.end.is_none());
    let keep = job.unwrap().meta.annotation(labels::KEEP).unwrap();
    assert!(keep.contains(&id(FIRST)), "{keep}");
}

#[test]
fn a_pod_that_does_not_follow_is_told_again_twice_and_then_no_more() {
    let mut world = two();
    let told = |plan: &Plan| {
        let writes = plan.writes.iter();
        let again = writes.filter_map(|write| match write {
            Write::Order { again, .. } => Some(again.clone()),
            _ => None,
        });
        again.collect::<Vec<_>>()
    };
    pin(&mut world, &id(FIRST));
    world.step();
    let plan = world.plan();
    assert_eq!(told(&plan), [None]);
    world.apply(&plan);
    let epoch = world.status().publication.unwrap().epoch;
    // Its kubelet has missed that.
    for (seconds, times) in [(3, 1), (3, 2)] {
        world.pass(seconds);
        let plan = world.plan();
        assert_eq!(told(&plan), [Some(format!("{epoch} {times}"))]);
        world.apply(&plan);
        assert_eq!(told(&world.plan()), [], "once each time");
    }
    world.pass(60);
    assert_eq!(told(&world.plan()), []);
    world.kubernetes();
    world.settle();
    assert_eq!(served(&world), Some(id(FIRST)));
    // The next decision is told as ever.
    pin(&mut world, "");
    world.step();
    assert_eq!(told(&world.plan()), [None]);
}

#[test]
fn a_pod_that_is_made_anew_without_a_controller_serves_what_was_decided() {
    let mut world = two();
    pin(&mut world, &id(FIRST));
    for _ in 0..2 {
        world.step();
    }
    // The controller is away from here on.
    world.objects.pods.clear();
    world.kubernetes();
    assert_eq!(served(&world), Some(id(FIRST)));
}

#[test]
fn a_pin_that_is_not_kept_says_so_and_moves_nothing() {
    let mut world = two();
    pin(&mut world, "0123456789abcdef");
    world.settle();
    assert_eq!(world.condition("Stalled").unwrap().1, "SnapshotNotFound");
    assert_eq!(served(&world), Some(id(0xbb)));
    assert_eq!(world.condition("Ready").unwrap().0, "True");
    pin(&mut world, "");
    world.settle();
    assert_eq!(world.condition("Stalled"), None);
}

#[test]
fn a_pod_that_somebody_told_otherwise_is_told_anew() {
    let mut world = two();
    let epoch = world.status().publication.unwrap().epoch;
    let other = order(u64::try_from(epoch).unwrap() + 7, FIRST);
    let annotations = &mut world.serving_pod().meta.annotations;
    annotations.insert(labels::SERVE.to_owned(), other.to_string());
    world.kubernetes();
    assert_eq!(served(&world), Some(id(FIRST)));
    world.settle();
    assert_eq!(served(&world), Some(id(0xbb)));
    assert_eq!(publication(&world).0, epoch + 8);
}

#[test]
fn a_pod_of_the_version_before_publishes_by_its_runs_and_is_told_nothing() {
    let mut world = World::new(&["eu"]);
    world.runs_publish = true;
    world.settle();
    assert_eq!(world.status().publication, None);
    assert!(orders(&world.plan()).is_empty());
    assert_eq!(served(&world), Some(id(FIRST)));
    // Made anew, it takes over what is served.
    world.runs_publish = false;
    world.objects.pods.clear();
    world.kubernetes();
    world.settle();
    assert_eq!(publication(&world), (1, id(FIRST), false));
    assert_eq!(served(&world), Some(id(FIRST)));
}

#[test]
fn a_pod_that_does_not_follow_is_told_of_and_made_anew() {
    let mut world = two();
    pin(&mut world, &id(FIRST));
    // What it is told does not get to the file.
    for _ in 0..3 {
        world.step();
    }
    assert_eq!(served(&world), Some(id(0xbb)));
    for _ in 0..3 {
        assert_eq!(
            world.condition("Serving").unwrap().0,
            "True",
            "it has its time, and is told again"
        );
        world.now = world.plan().wake_at.unwrap();
        world.step();
    }
    assert_eq!(world.condition("Serving").unwrap().1, "OrderNotTaken");
    assert!(world.plan().writes.is_empty());
    world.now = world.plan().wake_at.unwrap();
    let plan = world.plan();
    assert!(
        matches!(plan.writes.as_slice(), [Write::Evict { .. }]),
        "{}",
        render(&plan)
    );
    world.apply(&plan);
    world.kubernetes();
    world.settle();
    assert_eq!(served(&world), Some(id(FIRST)));
    assert_eq!(world.condition("Serving").unwrap().0, "True");
}
