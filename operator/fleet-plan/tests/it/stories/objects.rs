//! Which objects there are, whose they are, and what becomes of them.

use fleet_plan::{Object, SeenMeta, Write};
use serde_json::json;

use super::{running, serving};
use crate::model::{World, render};

#[test]
fn a_new_mirror_gets_its_objects_then_its_first_run() {
    let mut world = World::new(&["eu"]);
    insta::assert_snapshot!("new_mirror", render(&world.plan()));
    world.step();
    world.kubernetes();
    insta::assert_snapshot!("first_run", render(&world.plan()));
    world.settle();
    insta::assert_snapshot!("at_rest", render(&world.plan()));
}

#[test]
fn the_objects_are_these() {
    let mut world = World::new(&["eu"]);
    world.edit("/spec/serving", json!({"tls": {"secretName": "tls"}}));
    let plan = world.plan();
    world.apply(&plan);
    world.kubernetes();
    for write in plan.writes.iter().chain(&world.plan().writes) {
        let (name, value) = match write {
            Write::Create(object) | Write::Apply(object) => named(object),
            other => panic!("{other:?}"),
        };
        insta::assert_snapshot!(name, value.unwrap());
    }
}

#[test]
fn a_lazy_mirror_has_a_container_that_fetches_and_only_that_one_has_the_credentials() {
    let mut world = World::new(&["eu"]);
    world.edit("/spec/mode", json!("PullThrough"));
    world.edit_upstream("/spec/access", json!({"credentialsRef": {"name": "login"}}));
    let plan = world.plan();
    let set = plan.writes.iter().find_map(|write| match write {
        Write::Create(Object::StatefulSet(set)) | Write::Apply(Object::StatefulSet(set)) => {
            Some(set)
        }
        _ => None,
    });
    insta::assert_snapshot!(
        "lazy_stateful_set",
        serde_json::to_string_pretty(set.unwrap()).unwrap()
    );
    let mut world = World::new(&["eu", "us"]);
    world.edit("/spec/mode", json!("PullThrough"));
    world.edit_upstream("/spec/politeness", json!({"maxConnections": 3}));
    world.step();
    assert_eq!(world.condition("Stalled").unwrap().1, "InvalidSpec");
}

/// An object's snapshot: its name and its text.
fn named(object: &Object) -> (&'static str, serde_json::Result<String>) {
    match object {
        Object::Claim(object) => ("claim", serde_json::to_string_pretty(object)),
        Object::Service(object) => ("service", serde_json::to_string_pretty(object)),
        Object::StatefulSet(object) => ("stateful_set", serde_json::to_string_pretty(object)),
        Object::DisruptionBudget(object) => {
            ("disruption_budget", serde_json::to_string_pretty(object))
        }
        Object::Ingress(object) => ("ingress", serde_json::to_string_pretty(object)),
        Object::HttpRoute(object) => ("http_route", serde_json::to_string_pretty(object)),
        Object::Job(object) => ("job", serde_json::to_string_pretty(object)),
    }
}

#[test]
fn a_stranger_under_our_name_is_never_written() {
    let mut world = World::new(&["eu"]);
    let name = fleet_plan::wanted_names(&world.mirror)[0].clone();
    let stranger = SeenMeta {
        name,
        uid: "x".to_owned(),
        ..SeenMeta::default()
    };
    world.objects.services.push(fleet_plan::SeenApplied {
        meta: stranger,
        spec: "{}".into(),
        pending: false,
    });
    insta::assert_snapshot!("name_conflict", render(&world.plan()));
}

#[test]
fn a_claim_of_another_repository_is_never_adopted() {
    let mut world = serving(&["eu"]);
    world.edit_upstream(
        "/spec/authority/url",
        json!("https://elsewhere.example.org/debian/"),
    );
    let plan = world.plan();
    assert!(plan.writes.is_empty());
    world.apply(&plan);
    assert_eq!(world.condition("Stalled").unwrap().1, "StoreMismatch");
    assert_eq!(
        world.condition("Ready").unwrap().0,
        "True",
        "what is served stays served"
    );
}

#[test]
fn what_crosses_objects_is_said_with_what_to_change() {
    let mut world = World::new(&["eu"]);
    world.upstream = None;
    insta::assert_snapshot!("no_upstream", render(&world.plan()));
    let mut world = World::new(&[]);
    world.step();
    assert_eq!(
        world.condition("Stalled").unwrap().1,
        "InvalidSpec",
        "no region"
    );
}

#[test]
fn a_region_that_is_no_longer_declared_leaves_only_its_claim() {
    let mut world = serving(&["eu", "us"]);
    world.edit("/spec/regions", json!([{"name": "eu"}]));
    world.settle();
    let names: Vec<_> = world
        .objects
        .claims
        .iter()
        .map(|claim| claim.meta.name.clone())
        .collect();
    assert_eq!(world.status().retained_claims, names[1..]);
    assert_eq!(
        (
            world.objects.stateful_sets.len(),
            world.objects.services.len()
        ),
        (1, 1)
    );
}

#[test]
fn deleting_a_mirror_deletes_its_data_only_if_its_last_manifest_says_so() {
    for (policy, claims_left) in [("Retain", 1), ("Delete", 0)] {
        let mut world = serving(&["eu"]);
        world.edit("/spec/storage/reclaimPolicy", json!("Delete"));
        world.settle();
        assert!(
            world
                .mirror
                .metadata
                .finalizers
                .as_ref()
                .is_some_and(|all| all.len() == 1)
        );
        world.edit("/spec/storage/reclaimPolicy", json!(policy));
        world.mirror.metadata.deletion_timestamp = Some(
            k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.now),
        );
        world.step();
        assert_eq!(world.objects.claims.len(), claims_left, "{policy}");
        assert_eq!(world.mirror.metadata.finalizers, None);
        assert!(world.plan().writes.is_empty());
    }
}

#[test]
fn a_mirror_made_anew_takes_its_volume_up_again() {
    let mut world = serving(&["eu"]);
    let claims = world.objects.claims.clone();
    let stores = world.stores.clone();
    let mut again = World::new(&["eu"]);
    again.mirror.metadata.uid = Some("another-uid".to_owned());
    again.objects.claims = claims.clone();
    again.stores = stores;
    again.settle();
    assert_eq!(again.objects.claims, claims, "nothing was written to it");
    assert_eq!(again.condition("Ready").unwrap().0, "True");
    world.mirror.metadata.deletion_timestamp = Some(
        k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.now),
    );
    assert!(world.plan().writes.is_empty());
}

#[test]
fn a_kept_job_does_not_keep_a_volume_that_a_person_deletes() {
    let mut world = running();
    let report = world.report("UpstreamUnreachable");
    world.end_run(&report);
    world.step();
    assert_eq!(world.objects.jobs.len(), 1);
    world.objects.claims[0].meta.deleting = true;
    let plan = world.plan();
    world.apply(&plan);
    assert!(world.objects.jobs.is_empty(), "{}", render(&plan));
}

/// What a Kubernetes 1.34.4 API server made of our objects, its defaults filled in, is still what we want.
#[test]
fn objects_as_a_real_api_server_returns_them_need_no_write() {
    let mut world = World::new(&["eu"]);
    world.edit("/spec/serving", json!({"tls": {"secretName": "tls"}}));
    world.step();
    let live = |text: &str| -> fleet_plan::SeenApplied {
        let object: serde_json::Value = serde_json::from_str(text).unwrap();
        let meta = serde_json::from_value(object["metadata"].clone()).unwrap();
        fleet_plan::SeenApplied::of(&meta, &object["spec"])
    };
    world.objects.services = vec![live(include_str!("../../live/service.json"))];
    world.objects.stateful_sets = vec![live(include_str!("../../live/stateful_set.json"))];
    world.objects.disruption_budgets =
        vec![live(include_str!("../../live/disruption_budget.json"))];
    assert!(world.plan().writes.is_empty(), "{}", render(&world.plan()));
    let edited = world.objects.services[0].spec.replace("443", "444");
    world.objects.services[0].spec = edited.into();
    assert!(matches!(
        world.plan().writes.as_slice(),
        [Write::Apply(Object::Service(_))]
    ));
}
