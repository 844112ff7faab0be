//! Volumes that are lost.

use super::*;

/// The volume of one replica is lost.
fn loses(world: &mut World, region: &str, replica: u32) {
    let name = child(region, replica);
    let mut claims = world.objects.claims.iter_mut();
    let claim = claims.find(|claim| claim.meta.name == name).unwrap();
    claim.phase = VolumePhase::Lost;
}

#[test]
fn a_lost_volume_is_replaced_where_the_manifest_says_so_and_filled_from_another_replica() {
    for replica in [0, 1] {
        let mut world = four();
        let claim = |world: &World| {
            let mut claims = world.objects.claims.iter();
            let claim = claims.find(|claim| claim.meta.name == child("eu", replica));
            claim.map(|claim| claim.meta.uid.clone())
        };
        let before = claim(&world);
        loses(&mut world, "eu", replica);
        for _ in 0..5 {
            world.round();
        }
        assert_eq!(claim(&world), before, "a person's business");
        assert_eq!(world.condition("StorageReady").unwrap().0, "False");
        world.edit("/spec/storage", json!({"onVolumeLost": "Replace"}));
        let mut fetched = 0;
        for _ in 0..30 {
            world.pass(5);
            let plan = world.plan();
            let started = jobs(&plan.writes).into_iter();
            fetched += started
                .filter(|job| {
                    let labels = job.metadata.labels.as_ref().unwrap();
                    labels.contains_key(labels::UPSTREAM)
                })
                .count();
            world.apply(&plan);
            world.kubernetes();
            if !running(&world).is_empty() {
                let report = world.report("Prepared");
                world.end_run(&report);
            }
        }
        assert_ne!(claim(&world), before);
        assert_eq!(store(&world, "eu", replica), Some(id(FIRST)));
        assert_eq!(fetched, 0, "the upstream was asked for what is here");
        assert_eq!(withdrawn(&world), [""; 0]);
        assert_eq!(world.condition("StorageReady").unwrap().0, "True");
        // It fetches again, as it did.
        world.request("again");
        world.round();
        assert_eq!(running(&world), ["eu"]);
    }
}

#[test]
fn the_last_copy_is_never_replaced() {
    let mut world = four();
    world.edit("/spec/storage", json!({"onVolumeLost": "Replace"}));
    for (region, replica) in [("eu", 0), ("eu", 1), ("us", 0), ("us", 1)] {
        loses(&mut world, region, replica);
    }
    let deletes = |world: &World| {
        let plan = world.plan();
        let deletes = |write: &&Write| {
            matches!(
                write,
                Write::Delete {
                    kind: Owned::Claim,
                    ..
                }
            )
        };
        plan.writes.iter().filter(deletes).count()
    };
    assert_eq!(deletes(&world), 0);
    let mut claims = world.objects.claims.iter_mut();
    let name = child("us", 1);
    claims.find(|claim| claim.meta.name == name).unwrap().phase = VolumePhase::Bound;
    assert_eq!(deletes(&world), 3);
    world.away = vec!["us/1".to_owned()];
    assert_eq!(deletes(&world), 0, "it does not say that it has it");
    let mut alone = serving(&["eu"]);
    alone.edit("/spec/storage", json!({"onVolumeLost": "Replace"}));
    loses(&mut alone, "eu", 0);
    assert_eq!(deletes(&alone), 0);
}
