//! More of them, and fewer.

use super::*;

#[test]
fn one_replica_more_cuts_off_nobody_and_is_led_to_once_it_has_what_is_served() {
    let mut world = serving(&["eu"]);
    world.hub_prepares(SECOND);
    world.settle();
    let pod = world.serving_pod().meta.uid.clone();
    world.edit("/spec/regions", regions(&["eu*2"]));
    let mut rounds = 0;
    while running(&world).is_empty() {
        world.round();
        assert_eq!(
            led_to(&world, "eu")
                .iter()
                .filter(|it| **it == format!("{}-0", child("eu", 0)))
                .count(),
            1
        );
        let status = world.status();
        assert_eq!(
            world.condition("Ready").unwrap().0,
            "True",
            "{:?}",
            status.conditions
        );
        assert_ne!(world.condition("Fresh").unwrap().0, "Unknown");
        assert!(status.last_sync_time.is_some());
        rounds += 1;
        assert!(rounds < 20);
    }
    assert_eq!(led_to(&world, "eu"), [format!("{}-0", child("eu", 0))]);
    assert_eq!(
        spec(service(&world, "eu"))["selector"][labels::ROUTED],
        "true"
    );
    assert_eq!(spec(service(&world, "eu"))["sessionAffinity"], "ClientIP");
    assert_eq!(world.status().regions[0].state, RegionState::Syncing);
    assert_eq!(world.status().regions_ready.as_deref(), Some("0/1"));
    world.settle();
    assert_eq!(led_to(&world, "eu").len(), 2);
    assert_eq!(store(&world, "eu", 1), Some(id(SECOND)));
    assert_eq!(world.status().regions_ready.as_deref(), Some("1/1"));
    let mut pods = world.objects.pods.iter();
    assert!(
        pods.any(|it| it.meta.uid == pod),
        "the first was not restarted"
    );
}

#[test]
fn a_replica_less_goes_with_its_pod_and_its_claim_as_the_manifest_says_and_never_the_first() {
    for (policy, left) in [("Retain", 4), ("Delete", 2)] {
        let mut world = four();
        world.edit("/spec/storage/reclaimPolicy", json!(policy));
        world.settle();
        world.edit("/spec/regions", regions(&["eu*1", "us<eu*1"]));
        world.settle();
        assert_eq!(world.objects.stateful_sets.len(), 2, "{policy}");
        let mut claims: Vec<_> = world
            .objects
            .claims
            .iter()
            .map(|it| it.meta.name.clone())
            .collect();
        claims.sort();
        assert_eq!(claims.len(), left, "{policy}: {claims:?}");
        assert!(claims.contains(&child("eu", 0)) && claims.contains(&child("us", 0)));
        let retained = world.status().retained_claims;
        assert_eq!(retained.len(), left - 2, "{policy}: {retained:?}");
        assert!(
            spec(service(&world, "eu"))["selector"]
                .get(labels::ROUTED)
                .is_none()
        );
        assert_eq!((led_to(&world, "eu").len(), routed(&world)), (1, 2));
    }
}

#[test]
fn no_claim_goes_before_another_replica_of_its_region_has_what_is_served() {
    let mut world = four();
    world.edit("/spec/storage/reclaimPolicy", json!("Delete"));
    world.settle();
    world.away = vec!["eu/0".to_owned()];
    world.edit("/spec/regions", regions(&["eu*1", "us<eu*1"]));
    for _ in 0..8 {
        world.round();
    }
    let is_there =
        |world: &World, name: String| world.objects.claims.iter().any(|it| it.meta.name == name);
    assert!(
        is_there(&world, child("eu", 1)),
        "eu/0 does not say that it has it"
    );
    assert!(!is_there(&world, child("us", 1)));
    world.away.clear();
    world.settle();
    assert!(!is_there(&world, child("eu", 1)));
}
