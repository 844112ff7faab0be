//! The budget of connections: never exceeded, and nobody is kept waiting for it.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::pipeline::{PUBLISHED, Pipe, usual};
use crate::support::raw::{RawServer, Reply, status};
use crate::support::rsyncd::Daemon;
use crate::support::{endpoint, sync, told};

#[tokio::test(flavor = "multi_thread")]
async fn small_and_large_files_share_one_budget_of_connections() {
    let large: Vec<usize> = (0..24).map(|number| 300_000 + number * 10_000).collect();
    for max in [1, 3] {
        let pipe = Pipe::with(300, &large, usual).await;
        let mut options = pipe.options();
        options.politeness.max_connections = max;
        let report = sync(&options).await;
        assert_eq!(told(&report), PUBLISHED, "{report:?}");
        assert!(pipe.server.peak() <= max, "{} of {max}", pipe.server.peak());
        assert!(pipe.server.deepest() > 4, "{}", pipe.server.deepest());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_another_origin_takes_a_place_of_the_budget() {
    for max in [1, 3] {
        let elsewhere = Arc::new(OnceLock::<RawServer>::new());
        let pipe = Pipe::with(6, &[300_000; 6], {
            let elsewhere = elsewhere.clone();
            move |asked, _| {
                let url = elsewhere.get().unwrap().url.join(&asked.path).unwrap();
                let moved = || status("302 Found", &format!("Location: {url}\r\n"));
                let is_payload = asked.path.starts_with("pool");
                is_payload.then(|| Reply::Bytes(moved()))
            }
        })
        .await;
        let other = pipe.server.beside(pipe.archive.root(), usual).await;
        let other = elsewhere.get_or_init(|| other);
        let mut options = pipe.options();
        options.politeness.max_connections = max;
        let report = sync(&options).await;
        assert_eq!(told(&report), PUBLISHED, "{report:?}");
        assert_eq!(other.asked().len(), pipe.packages.len());
        let asked = pipe.server.asked().len() + other.asked().len();
        assert_eq!(report.requests as usize, asked, "each place counts");
        assert!(other.peak() <= max, "{} of {max}", other.peak());
    }
}

/// Who waits for a place without any connection of its own is not kept waiting until all small files are here.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_rsync_gets_the_place_of_a_busy_pipelined_connection() {
    const PACKAGES: usize = 1500;
    #[derive(Default)]
    struct Seen {
        missing: Option<String>,
        refused: bool,
        meanwhile: usize,
    }
    let seen = Arc::new(Mutex::new(Seen::default()));
    let daemon = Arc::new(OnceLock::<Daemon>::new());
    let pipe = Pipe::new(PACKAGES, {
        let (seen, daemon) = (seen.clone(), daemon.clone());
        move |asked, _| {
            if !asked.path.starts_with("pool") {
                return None;
            }
            let mut seen = seen.lock().unwrap();
            let missing = seen.missing.get_or_insert(asked.path.clone()).clone();
            if asked.path == missing {
                // First in a pipe, then alone: now only the daemon can have it.
                seen.refused = asked.before > 0;
                return Some(Reply::Bytes(status("404 Not Found", "")));
            }
            if seen.refused && daemon.get().unwrap().sent(&missing) == 0 {
                seen.meanwhile += 1;
            }
            None
        }
    })
    .await;
    daemon.get_or_init(|| Daemon::start(&pipe.archive.root()));
    let mut options = pipe.options();
    options.politeness.max_connections = 1;
    options.endpoints = vec![
        endpoint("web", &pipe.server.url, 0),
        endpoint("daemon", &daemon.get().unwrap().url, 1),
    ];
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    let seen = seen.lock().unwrap();
    assert!(seen.refused);
    // What was on the way, and what is let through before a place is given up.
    assert!(
        seen.meanwhile < 4 * 64,
        "{} of {PACKAGES} files came first",
        seen.meanwhile
    );
}

/// What was kept for what comes next ends with the run.
#[tokio::test(flavor = "multi_thread")]
async fn no_connection_outlives_its_run() {
    let pipe = Pipe::with(40, &[300_000; 3], usual).await;
    let report = pipe.publishes().await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    let all_closed = async {
        while pipe.server.open() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // Clients give an idle connection up by themselves after a minute and a half.
    let closed = tokio::time::timeout(Duration::from_secs(60), all_closed).await;
    assert!(closed.is_ok(), "{} are open", pipe.server.open());
}
