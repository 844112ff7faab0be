//! Upstreams that are wrong, slow, away or behind.

use std::sync::Arc;
use std::time::Duration;

use fleet_sync::{Progress, Report, RunResult};
use fleet_types::Reason;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::archive::Release;
use crate::support::server::{Fault, Server};
use crate::support::{World, cancellable, endpoint, process, sync, told};

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
    // Longer than a busy machine lets anybody wait for a turn.
    options.timeouts.stall = Duration::from_secs(3);
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
    let report = cancellable(&options, progress, cancel).await;
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
    process::run(
        std::process::Command::new("cp")
            .arg("-a")
            .arg(world.archive.path("dists"))
            .arg(world.archive.path("pool"))
            .arg(old.path()),
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
    world.server.take_seen();
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::Published),
        "{report:?}"
    );
    assert_eq!(report.revision[0].date, world.date + 10);
    let roots = world.server.take_seen().into_iter();
    let roots = roots.filter(|seen| seen.path.ends_with("/InRelease"));
    assert_eq!(roots.count(), 1, "it is the authority and an endpoint");
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
