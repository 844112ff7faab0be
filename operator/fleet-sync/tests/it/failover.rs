//! Several endpoints: one goes on in the middle of a file where another ended, is passed over, and is taken up again.

use std::time::Duration;

use fleet_sync::{RunResult, SyncOptions};
use fleet_types::Reason;

use crate::support::rsyncd::Daemon;
use crate::support::server::{Fault, Server};
use crate::support::{World, endpoint, sync, told};

const BETA: &str = "pool/main/b/beta_1_amd64.deb";

/// What was asked for of the large file: none is the whole.
fn asked(server: &Server) -> Vec<Option<String>> {
    let seen = server.take_seen().into_iter();
    let beta = seen.filter(|seen| seen.path.ends_with("beta_1_amd64.deb"));
    beta.map(|seen| seen.range).collect()
}

fn from(byte: usize) -> Option<String> {
    Some(format!("bytes={byte}-"))
}

/// Two servers of one archive: `a` is asked first, and neither is the authority.
async fn two() -> (World, Server, Server, SyncOptions) {
    let world = World::new(&["stable"]).await;
    let a = Server::start(world.archive.root()).await;
    let b = Server::start(world.archive.root()).await;
    let mut options = world.options(&["stable"]);
    options.endpoints = vec![endpoint("b", &b.url, 20), endpoint("a", &a.url, 10)];
    // Longer than a busy machine lets anybody wait for a turn.
    options.timeouts.stall = Duration::from_secs(3);
    (world, a, b, options)
}

async fn is_published(world: &World, options: &SyncOptions) {
    let report = sync(options).await;
    let good = (RunResult::Published, Reason::Published);
    assert_eq!(told(&report), good, "{report:?}");
    assert_eq!(world.served(BETA), vec![7; 300_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_on_at_the_next_endpoint_where_the_first_ended() {
    for fault in [Fault::BreaksOffAfter(100_000), Fault::StallsAfter(100_000)] {
        let (world, a, b, options) = two().await;
        a.fault(BETA, usize::MAX, fault);
        is_published(&world, &options).await;
        assert_eq!(asked(&a), [None]);
        assert_eq!(asked(&b), [from(100_000)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_beginning_is_not_blamed_on_the_endpoint_that_went_on() {
    let (world, a, b, mut options) = two().await;
    // Nothing is repeated, so that only the other endpoint can help.
    options.timeouts.retry_limit = 0;
    a.fault(BETA, usize::MAX, Fault::WrongThenBreaksOff(100_000));
    is_published(&world, &options).await;
    assert_eq!(asked(&a), [None]);
    assert_eq!(asked(&b), [from(100_000), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_at_every_endpoint_ends() {
    let (world, a, b, options) = two().await;
    a.fault(BETA, usize::MAX, Fault::WrongThenBreaksOff(100_000));
    b.fault(BETA, usize::MAX, Fault::WrongThenBreaksOff(200_000));
    let report = sync(&options).await;
    assert_eq!(told(&report).0, RunResult::Failed, "{report:?}");
    assert_eq!(world.state_of(BETA), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_cannot_go_on_starts_again() {
    // No ranges at all: 200 to the request for a part.
    let (world, a, b, options) = two().await;
    a.fault(BETA, usize::MAX, Fault::BreaksOffAfter(100_000));
    b.bare();
    is_published(&world, &options).await;
    assert_eq!(asked(&b), [from(100_000)]);

    // 416, then the whole.
    let (world, a, b, options) = two().await;
    a.fault(BETA, 1, Fault::BreaksOffAfter(100_000));
    b.fault(BETA, 1, Fault::Status(416));
    is_published(&world, &options).await;
    assert_eq!(asked(&b), [from(100_000)]);
    assert_eq!(asked(&a), [None, None], "from nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn rsync_goes_on_where_http_ended() {
    let (world, a, b, mut options) = two().await;
    let daemon = Daemon::start(&world.archive.root());
    let large = world.archive.package("large", &[9; 6_000_000]);
    let mut packages = world.packages.clone();
    packages.push(large.clone());
    let newer = crate::support::archive::Release::of(world.date + 10);
    world.archive.publish("stable", &packages, &newer);
    a.fault(&large.path, usize::MAX, Fault::BreaksOffAfter(5_000_000));
    options.endpoints = vec![endpoint("a", &a.url, 1), endpoint("d", &daemon.url, 2)];
    let report = sync(&options).await;
    assert_eq!(told(&report).1, Reason::Published, "{report:?}");
    assert_eq!(world.served(&large.path), vec![9; 6_000_000]);
    assert!(
        report.bytes_fetched < 7_000_000,
        "the beginning came once: {report:?}"
    );
    drop(b);
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_concerns_the_endpoint_that_says_it() {
    let (world, a, b, options) = two().await;
    for package in &world.packages {
        let fault = Fault::RetryAfter(429, "3600".to_owned());
        a.fault(&package.path, usize::MAX, fault);
    }
    is_published(&world, &options).await;
    let pool = |server: &Server| {
        let seen = server.take_seen().into_iter();
        seen.filter(|seen| seen.path.contains("/pool/")).count()
    };
    assert!(pool(&a) >= 1);
    assert_eq!(pool(&b), world.packages.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_is_rested_and_taken_up_again() {
    let (world, a, b, mut options) = two().await;
    let many = world.archive.many_packages(300);
    let newer = crate::support::archive::Release::of(world.date + 10);
    world.archive.publish("stable", &many, &newer);
    // One connection: one file after the other.
    options.politeness.max_connections = 1;
    options.timeouts.retry_backoff = Duration::from_millis(1);
    for package in many.iter().take(150) {
        a.fault(&package.path, 1, Fault::Status(500));
    }
    let report = sync(&options).await;
    assert_eq!(told(&report).1, Reason::Published, "{report:?}");
    let pool = |server: &Server| {
        let seen = server.take_seen().into_iter();
        seen.filter(|seen| seen.path.contains("/pool/")).count()
    };
    let (at_a, at_b) = (pool(&a), pool(&b));
    assert!(at_b > 0 && at_b < 300, "{at_b}");
    assert!(at_a > 150 && at_a >= 300 - at_b, "{at_a}, {at_b}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_away_does_not_hold_up_what_no_other_has_either() {
    // The uncompressed index is listed, and nobody has it.
    let (world, _a, b, mut options) = two().await;
    let away = "http://127.0.0.1:1/debian/".parse().unwrap();
    options.endpoints = vec![endpoint("away", &away, 1), endpoint("b", &b.url, 2)];
    is_published(&world, &options).await;
}
