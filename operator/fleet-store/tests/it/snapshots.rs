//! The store on a real file system, through its public interface.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use fleet_store::*;
use fleet_types::documents::SnapshotChanges;
use fleet_types::{Digest, Expected, Reason, RepoPath};
use sha2::Digest as _;

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
fn a_snapshot_never_names_a_blob_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path());
    let mut builder = writer.index_builder(None);
    builder
        .push(&RepoPath::new("x").unwrap(), &entry("never fetched"))
        .unwrap();
    assert_eq!(text_of(builder.finish(meta(1))).0, Reason::StoreCorrupt);
    let mut builder = writer.index_builder(None);
    let absent = Entry {
        state: EntryState::Excluded,
        sha512: Some([7; 64]),
        ..entry("never fetched")
    };
    builder.push(&RepoPath::new("x").unwrap(), &absent).unwrap();
    let id = builder.finish(meta(1)).unwrap().id;
    assert_eq!(writer.snapshot(&id).unwrap().get("x"), Some(absent));
}

#[test]
fn a_download_resumes_after_its_beginning_was_hashed_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = writer(dir.path());
    let mut file = first.staging().begin(&expected(b"hello world")).unwrap();
    file.write(b"hello ").unwrap();
    assert!(matches!(
        file.finish(),
        Err(StoreError::TooShort {
            expected: 11,
            found: 6
        })
    ));
    drop(first);
    let second = writer(dir.path());
    let mut file = second.staging().begin(&expected(b"hello world")).unwrap();
    assert_eq!((file.written(), file.remaining()), (6, 5));
    file.write(b"world").unwrap();
    let staged = file.finish().unwrap();
    assert_eq!(staged.digest(), sha256(b"hello world"));
    second.staging().commit_batch(vec![staged]).unwrap();
    assert!(second.has_blob(&sha256(b"hello world"), 11));
    assert_eq!(fs::read_dir(dir.path().join("staging")).unwrap().count(), 0);
}

#[test]
fn content_that_breaks_its_promise_is_refused_and_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path());
    let staging = || fs::read_dir(dir.path().join("staging")).unwrap().count();
    let mut file = writer.staging().begin(&expected(b"hello")).unwrap();
    file.write(b"hell").unwrap();
    assert!(matches!(
        file.write(b"ish"),
        Err(StoreError::TooLong { expected: 5 })
    ));
    drop(file);
    assert_eq!(staging(), 0);
    let mut file = writer.staging().begin(&expected(b"hello")).unwrap();
    file.write(b"jello").unwrap();
    let (reason, text) = text_of(file.finish());
    assert_eq!(reason, Reason::DigestMismatch);
    assert!(text.contains("another digest"), "{text}");
    assert_eq!(staging(), 0);
    let weak = Expected {
        size: 1,
        digest: Digest::Md5([0; 16]),
    };
    assert_eq!(text_of(writer.staging().begin(&weak)).0, Reason::WeakHash);
}

#[test]
fn sha512_alone_is_enough_and_two_downloads_of_one_content_do_not_disturb_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path());
    let promise = Expected {
        size: 3,
        digest: Digest::Sha512(sha2::Sha512::digest(b"abc").into()),
    };
    let (mut one, mut two) = (
        writer.staging().begin(&promise).unwrap(),
        writer.staging().begin(&promise).unwrap(),
    );
    one.write(b"a").unwrap();
    two.write(b"abc").unwrap();
    one.write(b"bc").unwrap();
    let batch = vec![one.finish().unwrap(), two.finish().unwrap()];
    writer.staging().commit_batch(batch).unwrap();
    assert!(writer.has_blob(&sha256(b"abc"), 3));
}

#[test]
fn a_blob_is_read_only_whatever_lay_in_its_place_before() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path());
    let digest = sha256(b"abc");
    let staged = dir.path().join(format!("staging/sha256-{digest}"));
    for mode in [0o600, 0o444] {
        fs::write(&staged, "another").unwrap();
        fs::set_permissions(&staged, fs::Permissions::from_mode(mode)).unwrap();
        let staged = writer.staging().put_bytes(b"abc").unwrap();
        writer.staging().commit_batch(vec![staged]).unwrap();
        let blob = writer.blob_path(&digest);
        assert_eq!(fs::read(&blob).unwrap(), b"abc");
        let mode = fs::metadata(&blob).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o444);
    }
}

#[test]
fn a_writer_knows_the_blobs_of_those_before_it_and_its_own() {
    let dir = tempfile::tempdir().unwrap();
    for (now, before, content) in [(1, None, "one"), (2, Some("one"), "two")] {
        let writer = writer(dir.path());
        let has = |content: &str| writer.has_blob(&sha256(content.as_bytes()), 3);
        assert!(before.is_none_or(has));
        assert!(!has(content));
        publish(&writer, now, &[("x", content)]);
        assert!(has(content));
    }
}

#[test]
fn several_threads_stage_and_commit_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let staging = writer.staging().clone();
            scope.spawn(move || {
                for batch in 0..5 {
                    let content = |n: i32| format!("{thread} {batch} {n}");
                    let staged = (0..10)
                        .map(|n| staging.put_bytes(content(n).as_bytes()).unwrap())
                        .collect();
                    staging.commit_batch(staged).unwrap();
                }
            });
        }
    });
    let report = writer.scrub(&mut |_| {}).unwrap();
    assert!(report.is_clean());
    assert_eq!(report.blobs, 200);
}

#[test]
fn one_writer_at_a_time_and_only_of_the_same_mirror() {
    let dir = tempfile::tempdir().unwrap();
    let first = writer(dir.path());
    assert_eq!(
        text_of(Writer::open(dir.path(), &identity())).0,
        Reason::StoreBusy
    );
    Store::open(dir.path()).unwrap();
    publish(&first, 1, &[("x", "1")]);
    drop(first);
    for other in [
        Identity {
            authority: "https://example.org/other/".into(),
            ..identity()
        },
        Identity {
            upstream_type: "Arch".into(),
            ..identity()
        },
        Identity {
            mirror: "other".into(),
            ..identity()
        },
    ] {
        assert_eq!(
            text_of(Writer::open(dir.path(), &other)).0,
            Reason::StoreMismatch
        );
    }
    let moved = Identity {
        serving_path: "elsewhere".into(),
        ..identity()
    };
    drop(Writer::open(dir.path(), &moved).unwrap());
    assert_eq!(Store::open(dir.path()).unwrap().identity(), &moved);
    assert_eq!(
        Writer::open_existing(dir.path()).unwrap().identity(),
        &moved
    );
}

/// Whoever corrects the address of a first run that came to nothing need not empty its volume.
#[test]
fn a_store_that_never_served_becomes_what_the_manifest_says() {
    let dir = tempfile::tempdir().unwrap();
    let mistyped = Identity {
        authority: "https://exmaple.org/debian/".into(),
        ..identity()
    };
    drop(Writer::open(dir.path(), &mistyped).unwrap());
    let writer = writer(dir.path());
    assert_eq!(writer.identity(), &identity());
    publish(&writer, 1, &[("x", "1")]);
    drop(writer);
    let (reason, text) = text_of(Writer::open(dir.path(), &mistyped));
    assert_eq!(reason, Reason::StoreMismatch);
    assert!(text.contains("take another directory"), "{text}");
    // What the message names.
    drop(Writer::open(&dir.path().join("another"), &mistyped).unwrap());
    std::fs::remove_dir_all(dir.path().join("another")).unwrap();
    for damaged in ["current", "snapshots"] {
        let path = dir.path().join(damaged);
        drop(fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path)));
        assert_eq!(
            text_of(Writer::open(dir.path(), &mistyped)).0,
            Reason::StoreMismatch
        );
    }
}

#[test]
fn a_directory_with_other_things_in_it_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "years of work").unwrap();
    let (reason, text) = text_of(Writer::open(dir.path(), &identity()));
    assert_eq!(reason, Reason::StoreMismatch);
    assert!(text.contains("thesis.tex"), "{text}");
    assert!(Store::open(dir.path()).err().unwrap().is_absent());
    assert!(Writer::open_existing(dir.path()).err().unwrap().is_absent());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn collecting_removes_what_only_dropped_snapshots_and_abandoned_runs_named() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path());
    let old = publish(
        &writer,
        1,
        &[("shared", "s"), ("moved", "m"), ("gone", "g")],
    );
    writer.collect(1, &[]).unwrap();
    let new = publish(
        &writer,
        2,
        &[("shared", "s"), ("moved-here", "m"), ("new", "n")],
    );
    let abandoned = writer.staging().put_bytes(b"abandoned").unwrap();
    writer.staging().commit_batch(vec![abandoned]).unwrap();
    assert_eq!(writer.collect(3, &[old]).unwrap().dropped, []);
    assert!(!writer.has_blob(&sha256(b"abandoned"), 9));
    let report = writer.collect(4, &[]).unwrap();
    assert_eq!(
        (report.dropped, report.blobs_removed, report.bytes_freed),
        (vec![old], 1, 1)
    );
    assert!(!writer.has_blob(&sha256(b"g"), 1) && writer.has_blob(&sha256(b"m"), 1));
    assert_eq!(
        writer
            .snapshots()
            .unwrap()
            .iter()
            .map(|i| i.id)
            .collect::<Vec<_>>(),
        [new]
    );
    assert!(writer.scrub(&mut |_| {}).unwrap().is_clean());
}

#[test]
fn a_reader_is_waited_for_but_not_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path());
    let old = publish(&writer, 1, &[("gone", "g")]);
    let reader = Store::open(dir.path()).unwrap();
    let open = reader.snapshot(&old).unwrap();
    publish(&writer, 2, &[("new", "n")]);
    let report = writer.collect(3, &[]).unwrap();
    assert_eq!(
        (report.dropped, report.in_use, report.blobs_removed),
        (vec![old], vec![old], 0)
    );
    assert!(reader.has_blob(&open.get("gone").unwrap().digest, 1));
    assert_eq!(reader.snapshots().unwrap().len(), 1);
    assert_eq!(writer.collect(4, &[]).unwrap().in_use, [old]);
    let report = writer.collect(3 + 3600, &[]).unwrap();
    assert_eq!((report.in_use, report.blobs_removed), (vec![], 1));
    assert_eq!(
        open.get("gone"),
        Some(entry("g")),
        "what is open stays readable"
    );
}

#[test]
fn on_a_full_disk_all_goes_that_neither_a_snapshot_nor_the_plan_names() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path());
    publish(&writer, 1, &[("x", "served")]);
    let staged = [b"wanted", b"unused"].map(|content| writer.staging().put_bytes(content).unwrap());
    writer.staging().commit_batch(staged.into()).unwrap();
    drop(writer.staging().begin(&expected(b"idle")).unwrap());
    let report = writer
        .collect_for_space(2, &[], &|each| {
            each(&sha256(b"wanted"));
            Ok(())
        })
        .unwrap();
    assert_eq!(report.blobs_removed, 1);
    assert!(writer.has_blob(&sha256(b"wanted"), 6) && writer.has_blob(&sha256(b"served"), 6));
    assert!(!writer.has_blob(&sha256(b"unused"), 6));
    assert_eq!(fs::read_dir(dir.path().join("staging")).unwrap().count(), 0);
}

#[test]
fn damage_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path());
    let id = publish(&writer, 1, &[("a", "aaa"), ("b", "bbb"), ("c", "ccc")]);
    let replace = |content: &str, with: &str| {
        let blob = writer.blob_path(&sha256(content.as_bytes()));
        fs::remove_file(&blob).unwrap();
        fs::write(&blob, with).unwrap();
    };
    replace("aaa", "xxx");
    replace("bbb", "longer");
    fs::remove_file(writer.blob_path(&sha256(b"ccc"))).unwrap();
    fs::write(dir.path().join("blobs").join("n".repeat(250)), "hello").unwrap();
    let report = writer.scrub(&mut |_| {}).unwrap();
    let mut kinds: Vec<_> = report
        .findings
        .iter()
        .map(|f| {
            format!("{f:?}")
                .split([' ', '{'])
                .next()
                .unwrap()
                .to_owned()
        })
        .collect();
    kinds.sort();
    assert_eq!(
        kinds,
        ["BlobDamaged", "BlobMissing", "BlobWrongSize", "StrangeFile"]
    );
    // Fetching it again repairs it.
    let again = ["aaa", "bbb", "ccc"]
        .map(|content| writer.staging().put_bytes(content.as_bytes()).unwrap());
    writer.staging().commit_batch(again.into()).unwrap();
    for finding in &report.findings {
        if let Finding::StrangeFile { path } = finding {
            writer.set_aside_stranger(path).unwrap();
        }
    }
    assert!(writer.scrub(&mut |_| {}).unwrap().is_clean());
    let index = dir.path().join("snapshots").join(id.to_string());
    let mut bytes = fs::read(&index).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&index).unwrap();
    fs::write(&index, &bytes).unwrap();
    let report = Store::open(dir.path()).unwrap().scrub(&mut |_| {}).unwrap();
    assert!(
        matches!(
            report.findings.as_slice(),
            [Finding::SnapshotDamaged { .. }]
        ),
        "{:?}",
        report.findings
    );
}

#[test]
fn an_index_that_was_changed_or_cut_anywhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path());
    let id = publish(&writer, 1, &[("a", "aaa"), ("b", "bbb")]);
    let index = dir.path().join("snapshots").join(id.to_string());
    let good = fs::read(&index).unwrap();
    fs::remove_file(&index).unwrap();
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        for bytes in [&bad[..], &good[..at]] {
            fs::write(&index, bytes).unwrap();
            assert_eq!(
                text_of(Store::open(dir.path()).unwrap().snapshot(&id)).0,
                Reason::StoreCorrupt,
                "at {at}"
            );
        }
    }
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

#[test]
fn a_store_of_an_earlier_version_says_nothing_of_clients_and_opens() {
    let dir = tempfile::tempdir().unwrap();
    let id = publish(&writer(dir.path()), 1, &[("a", "a")]);
    let file = dir.path().join("store.json");
    let mut text: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert!(text.as_object_mut().unwrap().remove("clients").is_some());
    std::fs::write(&file, text.to_string()).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.identity().clients, Clients::default());
    assert_eq!(store.current().unwrap(), Some(id));
}
