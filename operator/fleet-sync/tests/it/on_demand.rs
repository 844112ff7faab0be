//! Runs that leave payload to who fetches it on demand.

use fleet_store::{EntryState, Inserter};
use fleet_sync::{Payload, RunResult, Shrink, SyncOptions};
use fleet_types::{Digest, Expected, Reason, Sha256};
use sha2::Digest as _;

use crate::support::archive::Release;
use crate::support::{World, plan, sync, told};

fn on_demand(world: &World) -> SyncOptions {
    SyncOptions {
        payload: Payload::OnDemand,
        ..world.options(&["stable"])
    }
}

/// As if a client had asked for it.
fn fill(world: &World, content: &[u8]) {
    let inserter = Inserter::open(&world.store()).unwrap();
    let expected = Expected {
        size: content.len() as u64,
        digest: Digest::Sha256(Sha256(sha2::Sha256::digest(content).into())),
    };
    let staged = inserter.put(&expected, content).unwrap();
    inserter.insert(&staged).unwrap();
}

fn payload_requests(world: &World) -> usize {
    let seen = world.server.take_seen();
    seen.iter()
        .filter(|seen| seen.path.contains("pool/"))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_publishes_what_is_listed_and_fetches_no_payload() {
    let world = World::new(&["stable"]).await;
    let options = on_demand(&world);
    let foreseen = plan(&options).await;
    let bytes: u64 = world
        .packages
        .iter()
        .map(|package| package.size as u64)
        .sum();
    assert_eq!(
        (foreseen.on_demand.files, foreseen.on_demand.bytes),
        (3, bytes),
        "{foreseen:?}"
    );
    assert_eq!(foreseen.fetch.files, 0);
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::Published),
        "{report:?}"
    );
    assert_eq!(payload_requests(&world), 0);
    for package in &world.packages {
        assert_eq!(
            world.state_of(&package.path),
            Some(EntryState::NotYetFetched)
        );
    }
    assert_eq!(
        world.state_of("dists/stable/InRelease"),
        Some(EntryState::Present)
    );
    let again = sync(&options).await;
    assert_eq!(told(&again).0, RunResult::Unchanged, "{again:?}");
    // What came meanwhile changes nothing of the snapshot.
    fill(&world, b"alpha 1");
    let packages = &world.packages[..2];
    world
        .archive
        .publish("stable", packages, &Release::of(world.date + 10));
    let next = sync(&options).await;
    assert_eq!(told(&next).0, RunResult::Published, "{next:?}");
    assert_eq!(
        world.state_of(&world.packages[0].path),
        Some(EntryState::NotYetFetched)
    );
    assert_eq!(world.served(&world.packages[0].path), b"alpha 1");
    assert_eq!(world.state_of(&world.packages[2].path), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_one_mode_to_the_other_and_back_only_what_lacks_is_fetched() {
    let world = World::new(&["stable"]).await;
    let (lazy, full) = (on_demand(&world), world.options(&["stable"]));
    sync(&lazy).await;
    fill(&world, b"alpha 1");
    world.server.take_seen();
    let report = sync(&full).await;
    assert_eq!(told(&report).0, RunResult::Published, "{report:?}");
    assert_eq!(payload_requests(&world), 2, "one of three was there");
    for package in &world.packages {
        assert_eq!(world.state_of(&package.path), Some(EntryState::Present));
        assert_eq!(
            world.served(&package.path),
            world.archive.read(&package.path)
        );
    }
    let report = sync(&lazy).await;
    assert_eq!(told(&report).0, RunResult::Published, "{report:?}");
    assert_eq!(payload_requests(&world), 0);
    for package in &world.packages {
        assert_eq!(
            world.state_of(&package.path),
            Some(EntryState::NotYetFetched)
        );
        assert_eq!(
            world.served(&package.path),
            world.archive.read(&package.path),
            "it stays"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_about_new_states_hold_for_what_was_never_fetched() {
    let world = World::new(&["stable"]).await;
    let options = on_demand(&world);
    sync(&options).await;
    let mut packages = world.packages.clone();
    packages[0] = world.archive.package("alpha", b"alpha 1, and not the same");
    world
        .archive
        .publish("stable", &packages, &Release::of(world.date + 10));
    let mutated = sync(&options).await;
    assert_eq!(
        told(&mutated),
        (RunResult::Failed, Reason::ContentMutated),
        "{mutated:?}"
    );
    let many = world.archive.many_packages(40);
    world
        .archive
        .publish("stable", &many, &Release::of(world.date + 20));
    let allowed = SyncOptions {
        verification: fleet_sync::Verification {
            allow_mutation: true,
            ..options.verification.clone()
        },
        ..options.clone()
    };
    let report = sync(&allowed).await;
    assert_eq!(told(&report).0, RunResult::Published, "{report:?}");
    world
        .archive
        .publish("stable", &many[..10], &Release::of(world.date + 30));
    let strict = SyncOptions {
        verification: fleet_sync::Verification {
            shrink: Shrink::default(),
            ..options.verification.clone()
        },
        ..options
    };
    let shrunk = sync(&strict).await;
    assert_eq!(
        told(&shrunk),
        (RunResult::Failed, Reason::ShrinkRefused),
        "{shrunk:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_gives_up_what_nothing_lists_and_a_rotten_file_is_no_matter_of_its() {
    let world = World::new(&["stable"]).await;
    let mut options = on_demand(&world);
    options.retention.keep = 1;
    sync(&options).await;
    fill(&world, b"alpha 1");
    fill(&world, b"c++ 1");
    let store = world.store();
    let blob = |n: usize| store.blob_path(&world.packages[n].sha256.parse().unwrap());
    // Something that the server, or a check, found damaged.
    store.suspect(&world.packages[0].sha256.parse().unwrap());
    world.archive.publish(
        "stable",
        &world.packages[..2],
        &Release::of(world.date + 10),
    );
    let report = sync(&options).await;
    assert_eq!(told(&report).0, RunResult::Published, "{report:?}");
    assert!(!blob(2).exists(), "nothing lists it any more");
    assert!(
        !blob(0).exists(),
        "it is fetched again when somebody asks for it"
    );
    let again = sync(&options).await;
    assert_eq!(told(&again).0, RunResult::Unchanged, "{again:?}");
}
