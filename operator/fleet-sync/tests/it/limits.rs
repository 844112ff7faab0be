//! What a run holds itself to: bandwidth, time, an upstream's wish to be left alone, the one writer.

use std::time::Duration;

use fleet_sync::RunResult;
use fleet_types::Reason;

use crate::support::server::Fault;
use crate::support::{World, sync, told, writer};

const BETA: &str = "pool/main/b/beta_1_amd64.deb";

#[tokio::test(flavor = "multi_thread")]
async fn bytes_come_no_faster_than_the_budget_allows() {
    let world = World::new(&["stable"]).await;
    let mut options = world.options(&["stable"]);
    let rate = 200_000;
    options.politeness.bandwidth = Some(rate);
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::Published),
        "{report:?}"
    );
    // A quarter of a second's worth may come at once.
    let shortest = (report.bytes_fetched - rate / 4) as f64 / rate as f64;
    assert!(
        shortest > 1.0 && report.seconds >= shortest,
        "{shortest} {report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_retry_after_is_waited_for_within_the_run() {
    for status in [429, 503] {
        let world = World::new(&["stable"]).await;
        let mut options = world.options(&["stable"]);
        options.timeouts.retry_backoff = Duration::from_secs(60);
        let busy = Fault::RetryAfter(status, "1".to_owned());
        world.server.fault(BETA, 1, busy);
        let report = sync(&options).await;
        assert_eq!(
            told(&report),
            (RunResult::Published, Reason::Published),
            "{report:?}"
        );
        assert!(report.seconds >= 1.0, "{report:?}");
        assert_eq!(report.retry_after_seconds, None, "it was waited for");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_out_of_time_keeps_what_has_arrived_for_the_next_one() {
    let world = World::new(&["stable"]).await;
    let mut options = world.options(&["stable"]);
    world
        .server
        .fault(BETA, usize::MAX, Fault::StallsAfter(200_000));
    let staged = || {
        let staging = std::fs::read_dir(options.store_dir.join("staging"));
        let sizes = staging
            .into_iter()
            .flatten()
            .filter_map(|file| file.ok()?.metadata().ok())
            .map(|about| about.len());
        sizes.max().unwrap_or(0)
    };
    let mut total = Duration::from_secs(1);
    // However slow the machine is: at some point a run comes as far as the stall.
    while staged() < 200_000 {
        let mut short = options.clone();
        short.timeouts.total = total;
        let report = sync(&short).await;
        assert_eq!(
            (told(&report), report.exit_code()),
            ((RunResult::Failed, Reason::SyncTimeout), 2),
            "{report:?}"
        );
        assert!(report.message.contains("sync.timeout"), "{report:?}");
        total *= 2;
    }
    world.server.heal();
    world.server.take_seen();
    options.timeouts.total = Duration::from_secs(600);
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
    assert_eq!(again.range.as_deref(), Some("bytes=200000-"));
    assert_eq!(world.served(BETA), vec![7; 300_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_writer_is_told_that_the_store_is_busy() {
    let world = World::new(&["stable"]).await;
    let options = world.options(&["stable"]);
    let first = sync(&options).await;
    assert_eq!(told(&first).0, RunResult::Published, "{first:?}");
    world.server.take_seen();
    let other = writer(&options);
    let report = sync(&options).await;
    assert_eq!(
        (told(&report), report.exit_code()),
        ((RunResult::Failed, Reason::StoreBusy), 4),
        "{report:?}"
    );
    assert_eq!(world.server.seen_count(), 0, "nothing is asked for in vain");
    drop(other);
    assert_eq!(
        told(&sync(&options).await),
        (RunResult::Unchanged, Reason::Unchanged)
    );
}

/// The lock goes with the run, also where other programs are started all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_over_holds_no_lock() {
    let world = World::new(&["stable"]).await;
    let options = world.options(&["stable"]);
    let starting = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while starting.load(std::sync::atomic::Ordering::Relaxed) {
                crate::support::process::run(&mut std::process::Command::new("true"));
            }
        });
        let runs = async {
            for _ in 0..50 {
                let report = sync(&options).await;
                assert_eq!(report.exit_code(), 0, "{report:?}");
            }
        };
        // Ends the other thread also where an assertion fails.
        let end = End(&starting);
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(runs));
        drop(end);
    });
}

struct End<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(false, std::sync::atomic::Ordering::Relaxed);
    }
}
