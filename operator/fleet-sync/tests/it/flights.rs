//! How many round trips a run takes one after another, which is what a far upstream makes it wait for.
//!
//! On one thread, so that a client has its connection back before it is used again.

use fleet_sync::{RunResult, SyncOptions};
use tempfile::TempDir;

use crate::support::archive::{Package, Release, Signed, now};
use crate::support::held::{Held, PATIENCE};
use crate::support::{Archive, options, sync, told};

const PACKAGES: usize = 200;
const CHANGED: usize = 20;
/// As many as the connections carry that are opened before it is known how many are needed.
const FEW: usize = 30;

/// An archive as Debian lays it out: signed both ways, by hash, and with an uncompressed index that nobody serves.
struct Far {
    archive: Archive,
    packages: Vec<Package>,
    date: i64,
    server: Held,
    options: SyncOptions,
    _store: TempDir,
}

impl Far {
    async fn new(packages: usize) -> Far {
        let archive = Archive::new();
        let server = Held::start(archive.root()).await;
        let store = TempDir::new().unwrap();
        let directory = store.path().join("test");
        let far = Far {
            packages: archive.many_packages(packages),
            date: now() - 3600,
            options: options(archive.keyring(), &server.url, &directory, &["stable"]),
            archive,
            server,
            _store: store,
        };
        far.publish(0);
        far
    }

    fn publish(&self, later: i64) {
        let release = Release {
            signed: Signed::Both,
            ..Release::of(self.date + later)
        };
        self.archive.publish("stable", &self.packages, &release);
    }

    /// The server answers in the flights that `flights` describes, and the run comes to its end with them.
    async fn publishes(&self, flights: &[(&[(&str, usize)], usize)]) {
        self.server.hold();
        let options = self.options.clone();
        let mut run = tokio::spawn(async move { sync(&options).await });
        let mut wrong = None;
        for (asked, connections) in flights {
            wrong = self.server.flight(asked, *connections).await.err();
            if wrong.is_some() {
                break;
            }
        }
        let ended = match &wrong {
            None => tokio::time::timeout(PATIENCE, &mut run).await.ok(),
            Some(_) => None,
        };
        let Some(report) = ended else {
            let more = self.server.let_go();
            // A runtime that ends under a run would wait for it for ever.
            let _ = run.await;
            panic!(
                "{}",
                wrong.unwrap_or(format!("more is asked for: {more:?}"))
            );
        };
        let report = report.unwrap();
        assert_eq!(told(&report).0, RunResult::Published, "{report:?}");
    }
}

#[tokio::test]
async fn what_changed_a_little_takes_six_round_trips() {
    let mut far = Far::new(PACKAGES).await;
    let first = sync(&far.options).await;
    assert_eq!(told(&first).0, RunResult::Published, "{first:?}");
    for number in 0..CHANGED {
        let package = far
            .archive
            .package(&format!("new{number}"), &[number as u8; 3000]);
        far.packages.push(package);
    }
    far.publish(10);
    far.publishes(&[
        (&[("dists/stable/InRelease", 1)], 1),
        (&[("dists/stable/Release", 1)], 3),
        (&[("dists/stable/Release.gpg", 1)], 3),
        // Each once, and the one that is not there by its own name.
        (&[("/by-hash/", 2), ("/Packages", 1)], 3),
        (&[("pool/", CHANGED), ("project/trace/", 1)], 3),
    ])
    .await;
    assert_eq!(
        far.server.trips(),
        6,
        "the first of them makes a connection"
    );
}

#[tokio::test]
async fn a_first_copy_takes_five_round_trips() {
    let far = Far::new(FEW).await;
    // One for each root, and as many as may be for what they list.
    far.publishes(&[
        (&[("/InRelease", 1), ("stable/Release", 2)], 8),
        (&[("/by-hash/", 3)], 8),
        (&[("/Packages", 1)], 8),
        (&[("pool/", FEW), ("project/trace/", 1)], 8),
    ])
    .await;
    assert_eq!(
        far.server.trips(),
        5,
        "the first of them makes a connection"
    );
}
