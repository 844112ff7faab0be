//! Claims that somebody deletes by hand.

use fleet_plan::{Plan, Write};

use super::serving;
use crate::model::{World, digest};

fn delete_claim(world: &mut World, region: &str) {
    let mut claims = world.objects.claims.iter_mut();
    let claim = claims.find(|claim| claim.meta.region() == Some(region));
    claim.unwrap().meta.deleting = true;
}

fn evicted(plan: &Plan) -> Vec<String> {
    let evicted = plan.writes.iter().filter_map(|write| match write {
        Write::Evict { part, .. } => Some(part.clone()),
        _ => None,
    });
    evicted.collect()
}

fn said_of_storage(world: &World) -> (String, String) {
    let mut conditions = world.status().conditions.into_iter();
    let found = conditions.find(|condition| condition.type_ == "StorageReady");
    let found = found.unwrap();
    (format!("{} {}", found.status, found.reason), found.message)
}

fn snapshot(world: &World, region: &str) -> Option<String> {
    let child = fleet_plan::names::child_name("debian", region);
    world.stores[&format!("{child}-0")].snapshot.clone()
}

#[test]
fn a_claim_that_is_deleted_gives_way_where_another_region_has_what_it_holds() {
    for (lost, from) in [("us", "eu"), ("asia", "eu"), ("eu", "us")] {
        let mut world = serving(&["eu", "us<eu", "asia<us"]);
        delete_claim(&mut world, lost);
        assert_eq!(evicted(&world.plan()), [lost]);
        world.step();
        let (verdict, message) = said_of_storage(&world);
        assert_eq!(verdict, "False VolumePending");
        let words = format!("all is copied again from region {from}");
        assert!(message.contains(&words), "{message}");
        assert_eq!(evicted(&world.plan()), [""; 0], "it is asked once");
        world.settle();
        assert_eq!(snapshot(&world, lost), Some(digest(0xaa).to_string()));
        let claims = &world.objects.claims;
        assert!(claims.len() == 3 && claims.iter().all(|claim| !claim.meta.deleting));
        assert_eq!(said_of_storage(&world).0, "True VolumeBound");
    }
}

#[test]
fn a_pod_without_a_node_does_not_use_its_claim() {
    let mut world = serving(&["eu", "us<eu"]);
    delete_claim(&mut world, "us");
    let mut pods = world.objects.pods.iter_mut();
    let pod = pods.find(|pod| pod.meta.region() == Some("us")).unwrap();
    (pod.node, pod.ready) = (None, false);
    assert_eq!(evicted(&world.plan()), [""; 0]);
}

#[test]
fn the_last_copy_serves_on_and_it_is_said_what_would_end_that() {
    let mut alone = serving(&["eu"]);
    delete_claim(&mut alone, "eu");
    // By themselves: what is lost there, the upstream would have to give again.
    let mut apart = serving(&["eu", "us"]);
    delete_claim(&mut apart, "us");
    let mut without = serving(&["eu", "us<eu"]);
    delete_claim(&mut without, "eu");
    without.away = vec!["us".to_owned()];
    for mut world in [alone, apart, without] {
        assert_eq!(evicted(&world.plan()), [""; 0]);
        world.step();
        let (verdict, message) = said_of_storage(&world);
        assert_eq!(verdict, "False VolumePending");
        assert!(message.contains("delete its serving pod"), "{message}");
    }
}
