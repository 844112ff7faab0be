//! Whole runs against a real HTTP server, a real store and real signatures.

mod support;

use std::sync::Arc;
use std::time::Duration;

use fleet_store::{EntryState, Store};
use fleet_sync::{AllowedMutation, Progress, Report, RunResult, SyncOptions, Unwatched};
use fleet_types::Reason;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use support::archive::{Release, now};
use support::server::{Fault, Server};
use support::{Archive, endpoint, options, set_content, sync};

/// An archive with one suite of three packages, a server for it and an empty store.
struct World {
    archive: Archive,
    server: Server,
    store: TempDir,
    packages: Vec<support::archive::Package>,
    date: i64,
}

impl World {
    async fn new(suites: &[&str]) -> World {
        let archive = Archive::new();
        let packages = vec![
            archive.package("alpha", b"alpha 1"),
            archive.package("beta", &[7; 300_000]),
            archive.package("c++", b"c++ 1"),
        ];
        let date = now() - 3600;
        for suite in suites {
            archive.publish(suite, &packages, &Release::of(date));
        }
        let server = Server::start(archive.root()).await;
        World {
            archive,
            server,
            store: TempDir::new().unwrap(),
            packages,
            date,
        }
    }

    fn options(&self, suites: &[&str]) -> SyncOptions {
        options(
            self.archive.keyring(),
            &self.server.url,
            &self.store.path().join("test"),
            suites,
        )
    }

    fn store(&self) -> Store {
        Store::open(&self.store.path().join("test")).unwrap()
    }

    fn state_of(&self, path: &str) -> Option<EntryState> {
        self.store()
            .current_snapshot()
            .unwrap()?
            .get(path)
            .map(|entry| entry.state)
    }

    fn served(&self, path: &str) -> Vec<u8> {
        let store = self.store();
        let entry = store
            .current_snapshot()
            .unwrap()
            .unwrap()
            .get(path)
            .unwrap();
        std::fs::read(store.blob_path(&entry.digest)).unwrap()
    }
}

fn told(report: &Report) -> (RunResult, Reason) {
    (report.result, report.reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_run_copies_everything_and_the_second_asks_once_a_suite() {
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

    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Unchanged, Reason::Unchanged),
        "{report:?}"
    );
    assert_eq!(
        (world.server.take_seen().len(), report.snapshot),
        (2, before)
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
        2,
        "without ETag and Last-Modified it is still one request a suite"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_with_a_detached_signature_is_one_request_too() {
    let world = World::new(&[]).await;
    let release = Release {
        inline: false,
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
    assert_eq!(seen.len(), 1, "{seen:?}");
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
            .suites
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
    let soon = now() + 3;
    world.archive.publish(
        "stable",
        &world.packages,
        &Release {
            valid_until: Some(soon),
            ..Release::of(world.date)
        },
    );
    let options = world.options(&["stable"]);
    let first = sync(&options).await;
    assert_eq!(
        told(&first),
        (RunResult::Published, Reason::Published),
        "{first:?}"
    );
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
async fn wrong_bodies_are_refused_and_the_next_run_heals() {
    let beta = "pool/main/b/beta_1_amd64.deb";
    let faults = [
        (Fault::Content(vec![7; 299_999]), Reason::DigestMismatch),
        (Fault::Content(vec![7; 300_001]), Reason::DigestMismatch),
        (Fault::Content(vec![8; 300_000]), Reason::DigestMismatch),
        (Fault::Endless, Reason::DigestMismatch),
        (Fault::BreaksOffAfter(1000), Reason::UpstreamUnreachable),
        (Fault::Status(404), Reason::UpstreamIncomplete),
        (Fault::Status(403), Reason::UpstreamForbidden),
        (
            Fault::Redirect("file:///etc/passwd".to_owned()),
            Reason::UpstreamUnreachable,
        ),
        (
            Fault::Redirect(format!("/debian/{beta}")),
            Reason::UpstreamUnreachable,
        ),
        (
            Fault::RetryAfter(429, "3600".to_owned()),
            Reason::UpstreamBusy,
        ),
    ];
    let world = World::new(&["stable"]).await;
    let options = world.options(&["stable"]);
    for (fault, reason) in faults {
        world.server.fault(beta, usize::MAX, fault.clone());
        let report = sync(&options).await;
        assert_eq!(
            told(&report),
            (RunResult::Failed, reason),
            "{fault:?}: {report:?}"
        );
        assert_eq!(
            report.retry_after_seconds.is_some(),
            reason == Reason::UpstreamBusy,
            "{report:?}"
        );
        world.server.heal();
    }
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::Published),
        "{report:?}"
    );
    assert_eq!(world.served(beta), vec![7; 300_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_ends_a_request_and_the_file_is_continued() {
    let world = World::new(&["stable"]).await;
    let beta = "pool/main/b/beta_1_amd64.deb";
    let mut options = world.options(&["stable"]);
    options.timeouts.stall = Duration::from_millis(500);
    world.server.fault(beta, 1, Fault::StallsAfter(100_000));
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::Published),
        "{report:?}"
    );
    let ranges: Vec<_> = world
        .server
        .take_seen()
        .into_iter()
        .filter(|seen| seen.path.ends_with("beta_1_amd64.deb"))
        .map(|seen| seen.range)
        .collect();
    assert_eq!(ranges, [None, Some("bytes=100000-".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_range_and_a_missing_range_start_the_file_again() {
    for bare in [false, true] {
        let world = World::new(&["stable"]).await;
        let beta = "pool/main/b/beta_1_amd64.deb";
        let mut options = world.options(&["stable"]);
        options.timeouts.retry_limit = 3;
        world.server.fault(beta, 1, Fault::BreaksOffAfter(100_000));
        if bare {
            world.server.bare();
        } else {
            world.server.fault(beta, 1, Fault::WrongRange);
        }
        let report = sync(&options).await;
        assert_eq!(
            told(&report),
            (RunResult::Published, Reason::Published),
            "{report:?}"
        );
        assert_eq!(world.served(beta), vec![7; 300_000]);
    }
}

/// Cancels the run once so many bytes have arrived.
struct CancelAfter {
    bytes: std::sync::atomic::AtomicU64,
    limit: u64,
    cancel: CancellationToken,
}

impl Progress for CancelAfter {
    fn phase(&self, _: fleet_sync::Phase) {}
    fn planned(&self, _: u64, _: u64) {}
    fn received(&self, bytes: u64) {
        if self
            .bytes
            .fetch_add(bytes, std::sync::atomic::Ordering::SeqCst)
            + bytes
            >= self.limit
        {
            self.cancel.cancel();
        }
    }
    fn file_done(&self) {}
    fn note(&self, _: &str) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_is_taken_up_where_it_was() {
    let world = World::new(&["stable"]).await;
    let options = world.options(&["stable"]);
    let beta = "pool/main/b/beta_1_amd64.deb";
    world.server.fault(beta, 1, Fault::StallsAfter(200_000));
    let cancel = CancellationToken::new();
    let progress = Arc::new(CancelAfter {
        bytes: 0.into(),
        limit: 200_000,
        cancel: cancel.clone(),
    });
    let report = fleet_sync::sync(options.clone(), progress, cancel).await;
    assert_eq!(
        told(&report),
        (RunResult::Failed, Reason::SyncInterrupted),
        "{report:?}"
    );
    world.server.take_seen();
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::Published),
        "{report:?}"
    );
    let seen = world.server.take_seen();
    let again = seen
        .iter()
        .find(|seen| seen.path.ends_with("beta_1_amd64.deb"))
        .unwrap();
    assert!(again.range.is_some(), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_endpoint_helps_out() {
    let world = World::new(&["stable"]).await;
    let liar = Server::start(world.archive.root()).await;
    for package in &world.packages {
        liar.fault(
            &package.path,
            usize::MAX,
            Fault::Content(b"something else".to_vec()),
        );
    }
    let mut options = world.options(&["stable"]);
    options.endpoints = vec![
        endpoint("good", &world.server.url, 20),
        endpoint("liar", &liar.url, 10),
    ];
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::Published),
        "{report:?}"
    );
    assert!(
        liar.seen_count() > 3,
        "the one with the lower priority number is asked first"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_behind_the_authority_is_passed_over_and_told() {
    let world = World::new(&["stable"]).await;
    let old = TempDir::new().unwrap();
    assert!(
        std::process::Command::new("cp")
            .arg("-a")
            .arg(world.archive.path("dists"))
            .arg(world.archive.path("pool"))
            .arg(old.path())
            .status()
            .unwrap()
            .success()
    );
    let behind = Server::start(old.path().to_owned()).await;
    world.archive.publish(
        "stable",
        &world.packages[..2],
        &Release::of(world.date + 10),
    );
    let mut options = world.options(&["stable"]);
    options.endpoints = vec![endpoint("behind", &behind.url, 0)];
    let report = sync(&options).await;
    assert_eq!(
        (told(&report), report.exit_code()),
        ((RunResult::Failed, Reason::BehindAuthority), 2),
        "{report:?}"
    );
    options
        .endpoints
        .push(endpoint("fresh", &world.server.url, 1));
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::Published),
        "{report:?}"
    );
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
    options.pinned = Some(first[..12].to_owned());
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
    options.pinned = None;
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::Published),
        "{report:?}"
    );
    assert_ne!(report.snapshot.as_ref(), Some(&first));
    options.pinned = Some("0123456789abcdef".to_owned());
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
async fn an_upstream_that_is_away_leaves_what_was_served_and_success_as_it_was() {
    let world = World::new(&["stable"]).await;
    let mut options = world.options(&["stable"]);
    let first = sync(&options).await;
    let success: serde_json::Value = world.store().state("success").unwrap().unwrap();
    options.endpoints = vec![endpoint(
        "nobody",
        &"http://127.0.0.1:1/debian/".parse().unwrap(),
        0,
    )];
    world.archive.publish(
        "stable",
        &world.packages[..2],
        &Release::of(world.date + 10),
    );
    let report = sync(&options).await;
    assert_eq!(
        (told(&report), report.exit_code()),
        ((RunResult::Failed, Reason::UpstreamUnreachable), 2),
        "{report:?}"
    );
    assert_eq!(report.snapshot, first.snapshot);
    assert_eq!(
        world
            .store()
            .state::<serde_json::Value>("success")
            .unwrap()
            .unwrap(),
        success
    );
    assert_eq!(
        world
            .store()
            .state::<Report>("report")
            .unwrap()
            .unwrap()
            .reason,
        Reason::UpstreamUnreachable
    );
    assert!(report.to_termination_message().len() <= 2048);
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
    world.server.fault(
        path,
        1,
        Fault::Redirect(elsewhere.url.join(path).unwrap().to_string()),
    );
    let mut options = world.options(&["stable"]);
    options.store_dir = world.store.path().join("other");
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
