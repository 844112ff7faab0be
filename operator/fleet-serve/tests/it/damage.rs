//! Files of a store that are damaged under a running server, or before it starts.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use tempfile::TempDir;

use crate::common::*;

const FIXED: &str = "/debian/pool/a.deb";
const MUTABLE: &str = "/debian/dists/trixie/InRelease";

fn revision(store: &Store, number: u8) -> fleet_store::SnapshotId {
    store.publish(
        1000 + i64::from(number),
        &[
            fixed("pool/a.deb", "a"),
            fixed(&format!("pool/{number}.deb"), vec![number; 100]),
            mutable("dists/trixie/InRelease", format!("state {number}")),
        ],
    )
}

/// In place, as a disk does it: the inode stays.
fn in_place(path: &Path, change: impl FnOnce(&File, u64)) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let file = OpenOptions::new().write(true).open(path).unwrap();
    change(&file, file.metadata().unwrap().len());
}

fn cut(to: u64) -> impl Fn(&File, u64) {
    move |file, _| file.set_len(to).unwrap()
}

fn zeros(file: &File, length: u64) {
    file.write_all_at(&vec![0; length as usize], 0).unwrap();
}

/// A new file under the name, as a copy of a volume or a repair leaves it.
fn replaced(path: &Path, content: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, content).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_changes_under_the_server_ends_no_process_and_is_not_believed() {
    type Change = Box<dyn Fn(&File, u64)>;
    let changes: [(&str, Change); 5] = [
        ("emptied", Box::new(cut(0))),
        ("cut in its head", Box::new(cut(40))),
        (
            "cut by half",
            Box::new(|file, length| file.set_len(length / 2).unwrap()),
        ),
        ("zeros", Box::new(zeros)),
        (
            "noise",
            Box::new(|file, length| {
                file.write_all_at(&vec![0xA5; length as usize], 0).unwrap();
            }),
        ),
    ];
    for (what, change) in changes {
        let data = TempDir::new().unwrap();
        let store = Store::new(data.path(), "debian");
        let other = Store::new(data.path(), "other");
        other.publish(1, &[fixed("b", "b")]);
        revision(&store, 1);
        let current = revision(&store, 2);
        let server = start(data.path()).await;
        assert_eq!(server.get(MUTABLE).await.text(), "state 2");
        let index = store
            .writer
            .dir()
            .join("snapshots")
            .join(current.to_string());
        let good = fs::read(&index).unwrap();
        in_place(&index, change);
        let refused = server.wait_for(MUTABLE, 503).await;
        assert!(
            refused.text().contains("damaged"),
            "{what}: {}",
            refused.text()
        );
        assert_eq!(server.get("/debian/").await.status, 503, "{what}");
        assert_eq!(
            server.get(FIXED).await.text(),
            "a",
            "{what}: the kept snapshot has it"
        );
        assert_eq!(server.get("/other/b").await.text(), "b", "{what}");
        let status = server.get_metrics("/.mirrorfleet/status/debian").await;
        assert!(
            status.text().contains("the next sync mends it"),
            "{what}: {}",
            status.text()
        );
        // A sync makes the index anew under the same name.
        replaced(&index, &good);
        assert_eq!(
            server.wait_for(MUTABLE, 200).await.text(),
            "state 2",
            "{what}"
        );
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_whole_is_served_after_a_restart_whatever_else_is_damaged() {
    let data = TempDir::new().unwrap();
    let store = Store::new(data.path(), "debian");
    let older = revision(&store, 1);
    let current = revision(&store, 2);
    let inside = |name: &str| store.writer.dir().join(name);
    let index =
        |id: fleet_store::SnapshotId| store.writer.dir().join("snapshots").join(id.to_string());
    let harmless = [
        index(older),
        store.writer.dir().join("snapshots").join("f".repeat(64)),
        inside("store.json"),
        inside("current"),
        inside("state/snapshots.json"),
        inside("state/snapshots.copy.json"),
        inside("state/store.copy.json"),
        inside("state/units.json"),
        inside("state/report.json"),
    ];
    for path in harmless {
        let before = fs::read(&path).ok();
        for content in ["", "\u{fffd}{{", "null"] {
            let _ = fs::remove_file(&path);
            fs::write(&path, content).unwrap();
            let server = start(data.path()).await;
            let reply = server.get(MUTABLE).await;
            assert_eq!(
                reply.text(),
                "state 2",
                "{} holds {content:?}",
                path.display()
            );
            assert_eq!(server.get(FIXED).await.status, 200);
            let status = server
                .get_metrics("/.mirrorfleet/status/debian")
                .await
                .text();
            // `null` in a document that says little is read as nothing.
            assert!(
                content == "null" || status.contains("is damaged"),
                "{}: {status}",
                path.display()
            );
            server.stop().await;
        }
        fs::remove_file(&path).unwrap();
        if let Some(before) = before {
            fs::write(&path, before).unwrap();
        }
    }
    // The index of what is served: names that never change are found in the other snapshot, and the clock of the others
    // is not turned back.
    let good = fs::read(index(current)).unwrap();
    replaced(&index(current), &good[..good.len() / 2]);
    let server = start(data.path()).await;
    let refused = server.get(MUTABLE).await;
    assert_eq!(refused.status, 503);
    assert!(
        refused.text().contains(&current.to_string()),
        "{}",
        refused.text()
    );
    assert_eq!(server.get(FIXED).await.text(), "a");
    assert_eq!(server.get_metrics("/readyz").await.status, 503);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_goes_on_being_served_when_its_identity_is_lost() {
    let data = TempDir::new().unwrap();
    let store = Store::new(data.path(), "debian");
    revision(&store, 1);
    let server = start(data.path()).await;
    for name in ["store.json", "state/store.copy.json"] {
        replaced(&store.writer.dir().join(name), b"{");
    }
    let told = async || {
        let ready = server.get_metrics("/readyz").await.text();
        ready.contains("is served as it was").then_some(())
    };
    while told().await.is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(server.get(MUTABLE).await.text(), "state 1");
    revision(&store, 2);
    server.wait_for("/debian/pool/2.deb", 200).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_cannot_be_served_is_told_to_the_next_writer_and_forgotten_when_it_is_whole() {
    let data = TempDir::new().unwrap();
    let store = Store::new(data.path(), "debian");
    revision(&store, 1);
    let server = start(data.path()).await;
    for harm in ["missing", "short", "a directory"] {
        let blob = store.blob("pool/1.deb");
        server.wait_for("/debian/pool/1.deb", 200).await;
        fs::remove_file(&blob).unwrap();
        match harm {
            "missing" => {}
            "short" => fs::write(&blob, "x").unwrap(),
            _ => fs::create_dir(&blob).unwrap(),
        }
        server.wait_for("/debian/pool/1.deb", 503).await;
        let name = store.writer.suspects().unwrap();
        assert_eq!(name.len(), 1, "{harm}");
        let status = async || {
            let reply = server.get_metrics("/.mirrorfleet/status/debian").await;
            serde_json::from_slice::<serde_json::Value>(&reply.body).unwrap()["damaged"].clone()
        };
        assert_eq!(status().await, serde_json::json!(name), "{harm}");
        store.writer.forget_suspects(&name).unwrap();
        let staged = store.writer.staging().put_bytes(&[1; 100]).unwrap();
        store.writer.staging().commit_batch(vec![staged]).unwrap();
        assert_eq!(
            server.wait_for("/debian/pool/1.deb", 200).await.body,
            [1; 100],
            "{harm}"
        );
        assert_eq!(status().await, serde_json::json!([]), "{harm}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repaired_blob_is_not_hidden_by_the_open_one() {
    let data = TempDir::new().unwrap();
    let store = Store::new(data.path(), "debian");
    revision(&store, 1);
    let blob = store.blob("pool/1.deb");
    replaced(&blob, &[9; 100]);
    let server = start(data.path()).await;
    assert_eq!(
        server.get("/debian/pool/1.deb").await.body,
        [9; 100],
        "rot of the same size is not seen"
    );
    let staged = store.writer.staging().put_bytes(&[1; 100]).unwrap();
    store.writer.staging().commit_batch(vec![staged]).unwrap();
    let repaired = async { while server.get("/debian/pool/1.deb").await.body != [1; 100] {} };
    tokio::time::timeout(PATIENCE, repaired)
        .await
        .expect("the repaired file");
    server.stop().await;
}
