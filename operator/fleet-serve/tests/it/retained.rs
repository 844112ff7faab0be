//! What a client finds that began long ago, in a mirror that publishes often.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::common::{MTIME, Name, Running, Store, fixed, identity, mutable, start};
use fleet_store::{Identity, Retention};
use tempfile::TempDir;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn keeping(keep: usize, hours: u64) -> Identity {
    Identity {
        retention: Retention {
            keep,
            min_age: Duration::from_secs(hours * 3600),
        },
        ..identity("debian", "debian")
    }
}

/// Revision `n`: one package is new, one of the four before has gone, and the index has another name by digest.
fn revision(n: i64) -> Vec<Name> {
    let mut names = vec![
        mutable("dists/trixie/InRelease", format!("release {n}")),
        fixed(&by_hash(n), format!("index {n}")),
        fixed("pool/stays.deb", "stays"),
    ];
    names.extend((n - 3..=n).map(|n| fixed(&package(n), format!("package {n}"))));
    names
}

fn by_hash(n: i64) -> String {
    format!("dists/trixie/main/by-hash/SHA256/{n:064x}")
}

fn package(n: i64) -> String {
    format!("pool/package_{n}.deb")
}

/// What an index of revision `n` leads to.
fn names_of(n: i64) -> impl Iterator<Item = (String, String)> {
    let packages = (n - 3..=n).map(|n| (package(n), format!("package {n}")));
    packages.chain([
        (by_hash(n), format!("index {n}")),
        ("pool/stays.deb".to_owned(), "stays".to_owned()),
    ])
}

async fn has(server: &Running, path: &str, content: &str) -> bool {
    let reply = server.get(&format!("/debian/{path}")).await;
    assert!(matches!(reply.status, 200 | 404), "{path}: {reply:?}");
    assert!(reply.status == 404 || reply.text() == content, "{path}");
    reply.status == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_first_hour_finds_everything_after_a_hundred_publications_in_a_day() {
    let data = TempDir::new().unwrap();
    let store = Store::with(data.path(), "debian", &keeping(3, 48));
    let began = now() - 24 * HOUR;
    for n in 0..100 {
        let at = began + n * 864;
        store.publish(at, &revision(n));
        store.writer.collect(at, &[]).unwrap();
    }
    let kept = store.writer.snapshots().unwrap().len();
    assert_eq!(kept, Retention::MAX_KEPT);
    let server = start(data.path()).await;
    for n in 0..100 {
        for (path, content) in names_of(n) {
            assert!(has(&server, &path, &content).await, "{n}: {path}");
        }
    }
    let reply = server.get("/debian/dists/trixie/InRelease").await;
    assert_eq!(reply.text(), "release 99");
    // As it was described then, so that a download that was cut goes on.
    let range = [("Range", "bytes=3-"), ("If-Range", crate::common::DATE)];
    let path = format!("/debian/{}", package(0));
    let rest = server.ask("GET", &path, &range).await;
    assert_eq!(
        (rest.status, rest.text().as_str()),
        (206, "kage 0"),
        "{MTIME}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_is_fetchable_until_its_time_is_over_and_not_after_it() {
    let data = TempDir::new().unwrap();
    let store = Store::with(data.path(), "debian", &keeping(3, 12));
    let began = now() - 24 * HOUR;
    for n in 0..100 {
        let at = began + n * 864;
        store.publish(at, &revision(n));
        store.writer.collect(at, &[]).unwrap();
    }
    let server = start(data.path()).await;
    let mut found = BTreeSet::new();
    for n in 0..100 {
        if has(&server, &by_hash(n), &format!("index {n}")).await {
            found.insert(n);
        }
    }
    // Superseded when the next one was published; those less than twelve hours ago count.
    let counts = |n: &i64| began + (n + 1) * 864 > now() - 12 * HOUR;
    let expected: BTreeSet<i64> = (0..100).filter(counts).collect();
    assert!(expected.is_subset(&found), "{expected:?} {found:?}");
    // What nobody may ask for any more has no bytes here either, but for the time since the last collection.
    assert!(found.len() <= expected.len() + 1, "{expected:?} {found:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_learns_what_went_and_the_current_snapshot_wins() {
    let data = TempDir::new().unwrap();
    let store = Store::with(data.path(), "debian", &keeping(1, 48));
    let server = start(data.path()).await;
    let began = now() - 2 * HOUR;
    let mut at = began;
    let mut publish = |names: &[Name]| {
        at += MINUTE;
        store.publish(at, names);
        store.writer.collect(at, &[]).unwrap();
    };
    publish(&[fixed("pool/a.deb", "first"), mutable("InRelease", "0")]);
    for n in 1..40 {
        publish(&[
            fixed("pool/b.deb", "b"),
            mutable("InRelease", n.to_string()),
        ]);
    }
    let found = server.wait_for("/debian/pool/a.deb", 200).await;
    assert_eq!(found.text(), "first");
    assert_eq!(store.writer.retained().unwrap().unwrap().len(), 1);
    publish(&[fixed("pool/a.deb", "second"), fixed("pool/b.deb", "b")]);
    assert!(store.writer.retained().unwrap().is_none());
    let changed = async {
        while server.get("/debian/pool/a.deb").await.text() != "second" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::common::PATIENCE, changed)
        .await
        .unwrap();
    server.stop().await;
}
