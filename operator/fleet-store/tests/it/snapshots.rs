//! Snapshots and what is noted beside them, on a real file system.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use fleet_store::*;
use fleet_types::Reason;
use fleet_types::documents::SnapshotChanges;

use crate::common::*;

#[test]
fn what_is_published_can_be_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path());
    let id = publish(
        &writer,
        10,
        &[
            ("pool/a.deb", "aaa"),
            ("dists/x/Release", "rrr"),
            ("pool/b.deb", "aaa"),
        ],
    );
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.identity(), &identity());
    assert_eq!(store.current().unwrap(), Some(id));
    let snapshot = store.current_snapshot().unwrap().unwrap();
    assert_eq!(
        (snapshot.id(), snapshot.len(), snapshot.meta().bytes),
        (id, 3, 9)
    );
    assert_eq!(snapshot.get("pool/a.deb"), Some(entry("aaa")));
    assert_eq!(snapshot.get("pool/c.deb"), None);
    let paths: Vec<_> = snapshot.iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(paths, ["dists/x/Release", "pool/a.deb", "pool/b.deb"]);
    assert_eq!(
        fs::read_to_string(store.blob_path(&sha256(b"aaa"))).unwrap(),
        "aaa"
    );
    assert_eq!(
        fs::metadata(store.blob_path(&sha256(b"aaa")))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o444
    );
    assert!(store.open_blob(&sha256(b"zzz")).unwrap().is_none());
    assert_eq!(store.resolve(&id.to_string()[..8]).unwrap(), id);
    assert_eq!(
        text_of(store.resolve("abcdef0")).0,
        Reason::SnapshotNotFound
    );
    assert!(store.scrub(&mut |_| {}).unwrap().is_clean());
}

#[test]
fn the_id_depends_on_content_and_not_on_order_or_times() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = prepare(&writer(a.path()), 1, &[("x", "1"), ("y", "2")]).unwrap();
    let other = prepare(&writer(b.path()), 99, &[("y", "2"), ("x", "1")]).unwrap();
    assert_eq!(one, other);
    assert_ne!(
        one,
        prepare(&writer(a.path()), 1, &[("x", "1"), ("y", "3")]).unwrap()
    );
}

#[test]
fn a_directory_listing_names_files_and_directories_once() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path());
    publish(
        &writer,
        1,
        &[
            ("a-b", "1"),
            ("a/b/c", "2"),
            ("a/b/d", "3"),
            ("a/x", "4"),
            ("a0", "5"),
            ("ü/ß", "6"),
        ],
    );
    let snapshot = writer.current_snapshot().unwrap().unwrap();
    let list = |dir: &str| -> Vec<String> {
        let mark = |child: Child| match child {
            Child::Directory { name } => name + "/",
            Child::File { name, .. } => name,
        };
        snapshot.children(dir).map(mark).collect()
    };
    assert_eq!(list(""), ["a-b", "a/", "a0", "ü/"]);
    assert_eq!(list("a"), ["b/", "x"]);
    assert_eq!(list("a/b"), ["c", "d"]);
    assert!(list("a-b").is_empty() && list("nothing").is_empty());
    assert!(snapshot.is_dir("a/b") && !snapshot.is_dir("a-b") && snapshot.is_dir(""));
}

#[test]
fn a_snapshot_says_by_how_many_paths_it_differs_from_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path());
    let changes = |id: &SnapshotId| writer.snapshot(id).unwrap().meta().changes;
    let first = publish(&writer, 1, &[("a", "1"), ("b", "2"), ("c", "3")]);
    assert_eq!(changes(&first), None, "there is none before");
    let second = publish(
        &writer,
        2,
        &[("a", "1"), ("b", "other"), ("d", "4"), ("e", "4")],
    );
    let counted = |added, changed, removed| {
        Some(SnapshotChanges {
            added,
            changed,
            removed,
        })
    };
    assert_eq!(changes(&second), counted(2, 1, 1));
    let told = writer.snapshots().unwrap();
    let told = told.iter().find(|info| info.id == second).unwrap();
    let told = writer.told(told);
    assert_eq!((told.changes, told.bytes), (counted(2, 1, 1), Some(8)));
    let third = publish(&writer, 3, &[]);
    assert_eq!(changes(&third), counted(0, 0, 4));
}

#[test]
fn contradicting_entries_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path());
    let (reason, text) = text_of(prepare(&writer, 1, &[("x/y", "1"), ("x/y", "2")]));
    assert_eq!(reason, Reason::PathConflict);
    assert!(
        text.contains("\"x/y\"") && text.contains("two different contents"),
        "{text}"
    );
    // `a-b` and `a.c` sort between `a` and `a/b`.
    let (reason, text) = text_of(prepare(
        &writer,
        1,
        &[("a", "1"), ("a-b", "1"), ("a.c", "1"), ("a/b", "2")],
    ));
    assert_eq!(reason, Reason::PathConflict);
    assert!(
        text.contains("\"a\"") && text.contains("directory"),
        "{text}"
    );
    prepare(&writer, 1, &[("x/y", "1"), ("x/y", "1"), ("x/y-z/y", "2")]).unwrap();
}

#[test]
fn documents_of_state_are_kept_under_plain_names_only() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path());
    assert_eq!(writer.state::<Vec<u32>>("report").unwrap(), None);
    writer.state_write("report", &vec![1, 2]).unwrap();
    assert_eq!(
        writer.state::<Vec<u32>>("report").unwrap(),
        Some(vec![1, 2])
    );
    assert!(writer.state_write("../current", &1).is_err());
    fs::write(dir.path().join("state/report.json"), "{").unwrap();
    assert_eq!(
        text_of(writer.state::<Vec<u32>>("report")).0,
        Reason::StoreCorrupt
    );
}

#[test]
fn new_content_under_a_known_name_is_always_later() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path());
    publish(&writer, 1, &[("x", "1")]);
    let snapshot = writer.current_snapshot().unwrap().unwrap();
    assert_eq!(snapshot.mtime_after("x", &sha256(b"1"), 5), 1_000_000_000);
    assert_eq!(snapshot.mtime_after("x", &sha256(b"2"), 5), 1_000_000_001);
    assert_eq!(
        snapshot.mtime_after("x", &sha256(b"2"), 2_000_000_000),
        2_000_000_000
    );
    assert_eq!(snapshot.mtime_after("y", &sha256(b"2"), 5), 5);
}
