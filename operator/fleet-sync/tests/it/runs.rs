//! Whole runs with an upstream that is in order: what is copied, recorded, kept, and not asked for again.

use std::sync::Arc;
use std::time::Duration;

use fleet_store::EntryState;
use fleet_sync::{AllowedMutation, Publishing, RunResult, Unwatched};
use fleet_types::Reason;
use tokio_util::sync::CancellationToken;

use crate::support::archive::{Release, Signed, now};
use crate::support::server::{Fault, Server};
use crate::support::{World, set_content, sync, told};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_run_copies_everything_and_the_second_asks_for_the_roots_alone() {
    let world = World::new(&["stable", "updates"]).await;
    let options = world.options(&["stable", "updates"]);
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::Published),
        "{report:?}"
    );
    assert_eq!(report.requests as usize, world.server.take_seen().len());
    for package in &world.packages {
        assert_eq!(
            world.served(&package.path),
            world.archive.read(&package.path)
        );
    }
    assert_eq!(
        world.state_of("dists/stable/main/binary-amd64/Packages"),
        Some(EntryState::AbsentUpstream)
    );
    assert_eq!(
        world.state_of("dists/stable/main/binary-amd64/Packages.xz"),
        Some(EntryState::Present)
    );
    let before = report.snapshot;
    let expiry = report.key_expires_at.expect("the key expires").0;
    let in_years = |years: i64| now() + years * 365 * 86_400;
    assert!((in_years(2)..in_years(4)).contains(&expiry));

    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Unchanged, Reason::Unchanged),
        "{report:?}"
    );
    assert_eq!(report.key_expires_at.map(|at| at.0), Some(expiry));
    // InRelease of each, and whether there is a Release by now.
    assert_eq!(
        (world.server.take_seen().len(), report.snapshot),
        (4, before)
    );

    world.server.bare();
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Unchanged, Reason::Unchanged),
        "{report:?}"
    );
    assert_eq!(
        world.server.take_seen().len(),
        4,
        "without ETag and Last-Modified no request more"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_suite_with_all_its_roots_is_one_request_and_what_lacks_one_more() {
    for (signed, requests) in [
        (Signed::Both, 1),
        (Signed::Inline, 2),
        (Signed::Detached, 2),
    ] {
        let world = World::new(&[]).await;
        let release = Release {
            signed,
            ..Release::of(world.date)
        };
        world.archive.publish("stable", &world.packages, &release);
        let options = world.options(&["stable"]);
        assert_eq!(told(&sync(&options).await).0, RunResult::Published);
        world.server.take_seen();
        assert_eq!(
            told(&sync(&options).await),
            (RunResult::Unchanged, Reason::Unchanged)
        );
        let seen = world.server.take_seen();
        assert_eq!(seen.len(), requests, "{signed:?}: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_choices_count_as_a_change() {
    let world = World::new(&[]).await;
    let release = Release {
        architectures: vec!["amd64", "arm64"],
        ..Release::of(world.date)
    };
    let mut packages = world.packages.clone();
    packages.push(world.archive.package("delta-arm64", b"delta"));
    world.archive.publish("stable", &packages, &release);
    let mut options = world.options(&["stable"]);
    let first = sync(&options).await;
    assert_eq!(told(&first).0, RunResult::Published, "{first:?}");
    set_content(
        &mut options,
        serde_json::json!({"suites": ["stable"], "components": ["main"], "architectures": ["amd64", "arm64"]}),
    );
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::Published),
        "{report:?}"
    );
    assert_eq!(
        world.state_of("dists/stable/main/binary-arm64/Packages.xz"),
        Some(EntryState::Present)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_suite_is_carried_forward_while_the_other_advances() {
    let world = World::new(&["stable", "updates"]).await;
    let options = world.options(&["stable", "updates"]);
    assert_eq!(told(&sync(&options).await).0, RunResult::Published);
    let mut packages = world.packages.clone();
    packages.push(world.archive.package("delta", b"delta 1"));
    world
        .archive
        .publish("updates", &packages, &Release::of(world.date + 10));
    world
        .archive
        .publish("stable", &packages, &Release::of(world.date - 10));
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::RollbackDetected),
        "{report:?}"
    );
    assert_eq!(
        report
            .units
            .iter()
            .map(|suite| suite.reason)
            .collect::<Vec<_>>(),
        [Reason::RollbackDetected, Reason::Published]
    );
    assert_eq!(report.exit_code(), 3);
    assert_eq!(world.served("pool/main/d/delta_1_amd64.deb"), b"delta 1");
    assert_eq!(
        report
            .revision
            .iter()
            .map(|unit| unit.date)
            .collect::<Vec<_>>(),
        [world.date, world.date + 10]
    );

    world
        .archive
        .publish("stable", &packages, &Release::of(world.date + 20));
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::Published),
        "it heals without a person: {report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_snapshot_needs_all_suites() {
    let world = World::new(&["stable", "updates"]).await;
    world.archive.publish(
        "updates",
        &world.packages,
        &Release {
            valid_until: Some(world.date + 1),
            ..Release::of(world.date)
        },
    );
    let report = sync(&world.options(&["stable", "updates"])).await;
    assert_eq!(
        told(&report),
        (RunResult::Failed, Reason::IndexExpired),
        "{report:?}"
    );
    assert_eq!(
        (report.snapshot, world.store().snapshots().unwrap().len()),
        (None, 0)
    );
    assert!(
        !world
            .server
            .take_seen()
            .iter()
            .any(|seen| seen.path.contains("/pool/")),
        "no payload is fetched in vain"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_expires_although_nothing_changes() {
    let world = World::new(&[]).await;
    let options = world.options(&["stable"]);
    // A busy machine needs more than a moment for a run.
    let mut patience = 2;
    let (first, soon) = loop {
        let soon = now() + patience;
        let release = Release {
            valid_until: Some(soon),
            ..Release::of(world.date + patience)
        };
        world.archive.publish("stable", &world.packages, &release);
        let first = sync(&options).await;
        if told(&first) == (RunResult::Published, Reason::Published) {
            break (first, soon);
        }
        assert!(patience < 60, "{first:?}");
        patience *= 2;
    };
    while now() <= soon {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Failed, Reason::IndexExpired),
        "{report:?}"
    );
    assert_eq!(report.snapshot, first.snapshot, "what was served still is");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_bytes_under_a_known_name_need_a_persons_word() {
    let world = World::new(&["stable"]).await;
    let mut options = world.options(&["stable"]);
    let first = sync(&options).await;
    let mutated = world.archive.package("alpha", b"alpha X");
    let packages = [
        mutated.clone(),
        world.packages[1].clone(),
        world.packages[2].clone(),
    ];
    world
        .archive
        .publish("stable", &packages, &Release::of(world.date + 10));
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Failed, Reason::ContentMutated),
        "{report:?}"
    );
    assert!(
        report.message.contains(&mutated.path)
            && report.message.contains(&mutated.sha256)
            && report.message.contains(&world.packages[0].sha256),
        "{report:?}"
    );
    assert_eq!(report.snapshot, first.snapshot);
    options.verification.allow_mutations = vec![AllowedMutation {
        path: mutated.path.clone(),
        sha256: mutated.sha256.parse().unwrap(),
    }];
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::Published),
        "{report:?}"
    );
    assert_eq!(world.served(&mutated.path), b"alpha X");
}

#[tokio::test(flavor = "multi_thread")]
async fn excluded_payload_is_recorded_and_not_fetched() {
    let world = World::new(&["stable"]).await;
    let mut options = world.options(&["stable"]);
    options.exclude = vec!["pool/*/b/**".to_owned(), "dists/**".to_owned()];
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::Published),
        "{report:?}"
    );
    assert_eq!(
        world.state_of("pool/main/b/beta_1_amd64.deb"),
        Some(EntryState::Excluded)
    );
    assert_eq!(
        world.state_of("dists/stable/main/binary-amd64/Packages.xz"),
        Some(EntryState::Present)
    );
    assert!(
        !world
            .server
            .take_seen()
            .iter()
            .any(|seen| seen.path.contains("beta"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_in_the_manifest_holds_and_goes_with_the_manifest() {
    let world = World::new(&["stable"]).await;
    let mut options = world.options(&["stable"]);
    let first = sync(&options).await.snapshot.unwrap();
    options.publishing = Publishing::ByRun {
        pinned: Some(first[..12].to_owned()),
        skip: Vec::new(),
    };
    world.archive.publish(
        "stable",
        &world.packages[..2],
        &Release::of(world.date + 10),
    );
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Unchanged, Reason::Pinned),
        "{report:?}"
    );
    assert_eq!(report.snapshot.as_ref(), Some(&first));
    options.publishing = Publishing::ByRun {
        pinned: None,
        skip: Vec::new(),
    };
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::Published),
        "{report:?}"
    );
    assert_ne!(report.snapshot.as_ref(), Some(&first));
    options.publishing = Publishing::ByRun {
        pinned: Some("0123456789abcdef".to_owned()),
        skip: Vec::new(),
    };
    let report = sync(&options).await;
    assert_eq!(
        (told(&report), report.exit_code()),
        ((RunResult::Failed, Reason::SnapshotNotFound), 1),
        "{report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn payload_that_is_known_by_sha512_only_is_copied_and_kept() {
    let world = World::new(&[]).await;
    let release = Release {
        payload_sha512: true,
        ..Release::of(world.date)
    };
    world.archive.publish("stable", &world.packages, &release);
    let options = world.options(&["stable"]);
    assert_eq!(
        told(&sync(&options).await),
        (RunResult::Published, Reason::Published)
    );
    world.server.take_seen();
    world.archive.publish(
        "stable",
        &world.packages[..2],
        &Release {
            date: world.date + 10,
            ..release
        },
    );
    assert_eq!(
        told(&sync(&options).await),
        (RunResult::Published, Reason::Published)
    );
    assert!(
        !world
            .server
            .take_seen()
            .iter()
            .any(|seen| seen.path.contains("/pool/")),
        "what is there is not fetched again"
    );
    assert_eq!(
        world.served("pool/main/b/beta_1_amd64.deb"),
        vec![7; 300_000]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_happen_and_changes_nothing() {
    let world = World::new(&["stable"]).await;
    let options = world.options(&["stable"]);
    let plan = fleet_sync::plan(
        options.clone(),
        Arc::new(Unwatched),
        CancellationToken::new(),
    )
    .await;
    assert_eq!(
        (plan.result, plan.fetch.files),
        (RunResult::Published, 3),
        "{plan:?}"
    );
    assert!(!options.store_dir.exists(), "nothing is created");
    sync(&options).await;
    let plan = fleet_sync::plan(
        options.clone(),
        Arc::new(Unwatched),
        CancellationToken::new(),
    )
    .await;
    assert_eq!(
        (plan.result, plan.reason),
        (RunResult::Unchanged, Reason::Unchanged),
        "{plan:?}"
    );
    world.archive.publish(
        "stable",
        &world.packages[..2],
        &Release::of(world.date + 10),
    );
    let before = world.store().snapshots().unwrap();
    let plan = fleet_sync::plan(
        options.clone(),
        Arc::new(Unwatched),
        CancellationToken::new(),
    )
    .await;
    assert!(
        plan.fetch.files == 0 && plan.remove.sample.contains(&world.packages[2].path),
        "{plan:?}"
    );
    assert_eq!(world.store().snapshots().unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_an_upstream_too_and_credentials_stay_with_their_origin() {
    let world = World::new(&["stable"]).await;
    let mut options = world.options(&["stable"]);
    options.authority = url::Url::from_directory_path(world.archive.root()).unwrap();
    assert_eq!(
        told(&sync(&options).await),
        (RunResult::Published, Reason::Published)
    );
    assert_eq!(sync(&options).await.reason, Reason::Unchanged);

    let elsewhere = Server::start(world.archive.root()).await;
    let path = &world.packages[0].path;
    // A redirect is asked for twice: with others first, then alone, where it is followed.
    world.server.fault(
        path,
        2,
        Fault::Redirect(elsewhere.url.join(path).unwrap().to_string()),
    );
    let mut options = world.options(&["stable"]);
    options.store_dir = world.store.path().join("other");
    options.access.released_to = fleet_sync::Destination::read_all("http://127.0.0.1").unwrap();
    options.access.credentials = Some(fleet_sync::Credentials::Bearer {
        token: "secret".to_owned(),
    });
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::Published),
        "{report:?}"
    );
    let seen = world.server.take_seen();
    assert!(
        seen.iter()
            .all(|seen| seen.authorization.as_deref() == Some("Bearer secret"))
    );
    assert!(
        seen.iter()
            .all(|seen| seen.user_agent.as_deref()
                == Some("mirrorfleet/test (+mirrors@example.org)"))
    );
    let redirected = elsewhere.take_seen();
    assert!(
        redirected.len() == 1 && redirected[0].authorization.is_none(),
        "{redirected:?}"
    );
}
