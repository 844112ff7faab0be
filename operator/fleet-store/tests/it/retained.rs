//! Names that went with snapshots that were given up before their time.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use fleet_store::*;
use fleet_types::RepoPath;
use proptest::prelude::*;

use crate::common::{entry, identity, meta, prepare_linked, publish, sha256, writer};

fn keeping(dir: &Path, keep: usize, seconds: u64) -> Writer {
    let retention = Retention {
        keep,
        min_age: Duration::from_secs(seconds),
    };
    let identity = Identity {
        retention,
        ..identity()
    };
    Writer::open(dir, &identity).unwrap()
}

/// Publishes so many snapshots, one a second, that all before them are given up; each differs by one mutable name.
fn bury(writer: &Writer, from: i64, files: &[(&str, &str)]) -> i64 {
    let until = from + Retention::MAX_KEPT as i64;
    for now in from..until {
        publish_at(writer, now, files);
        writer.collect(now, &[]).unwrap();
    }
    until
}

/// `files`, and a name whose content changes.
fn publish_at(writer: &Writer, now: i64, files: &[(&str, &str)]) -> SnapshotId {
    let changing = now.to_string();
    let mut all = files.to_vec();
    all.push(("release", &changing));
    let staged = all
        .iter()
        .map(|(_, content)| writer.staging().put_bytes(content.as_bytes()).unwrap());
    writer.staging().commit_batch(staged.collect()).unwrap();
    let mut builder = writer.index_builder(None);
    for (path, content) in &all {
        let entry = Entry {
            mutable: *path == "release",
            ..entry(content)
        };
        builder.push(&RepoPath::new(path).unwrap(), &entry).unwrap();
    }
    let id = builder.finish(meta(now)).unwrap().id;
    writer.publish(&id, now).unwrap();
    id
}

fn retained(writer: &Writer) -> BTreeMap<String, (String, i64)> {
    let list = writer.retained().unwrap();
    let names = list.iter().flat_map(|list| list.iter());
    names
        .map(|(path, gone)| {
            let content = fs::read_to_string(writer.blob_path(&gone.entry.digest)).unwrap();
            (path.to_string(), (content, gone.at))
        })
        .collect()
}

#[test]
fn names_of_fixed_content_stay_until_their_time_is_over_and_their_blobs_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let writer = keeping(dir.path(), 1, 1000);
    publish_at(&writer, 100, &[("gone", "g"), ("stays", "s")]);
    let now = bury(&writer, 101, &[("stays", "s")]);
    assert_eq!(writer.snapshots().unwrap().len(), Retention::MAX_KEPT);
    let expected = [("gone".to_owned(), ("g".to_owned(), 101))];
    assert_eq!(retained(&writer), expected.clone().into(), "since 101");
    assert!(!writer.has_blob(&sha256(b"100"), 3), "a name that changes");
    // Neither the snapshot nor what it counts knows of it.
    let current = writer.current_snapshot().unwrap().unwrap();
    assert!(current.get("gone").is_none());
    assert_eq!(current.meta().entries, 2);
    // All other snapshots are over a second before it.
    writer.collect(1100, &[]).unwrap();
    assert_eq!(retained(&writer), expected.into());
    assert!(writer.is_collection_due(1101, &[]).unwrap());
    let report = writer.collect(1101, &[]).unwrap();
    assert!(report.bytes_freed > 0 && retained(&writer).is_empty());
    assert!(!writer.has_blob(&sha256(b"g"), 1) && writer.has_blob(&sha256(b"s"), 1));
    assert!(!dir.path().join("retained").exists());
    assert!(!writer.is_collection_due(now, &[]).unwrap());
    assert!(writer.scrub(&mut |_| {}).unwrap().is_clean());
}

#[test]
fn who_read_an_index_a_day_ago_finds_all_of_it_after_a_hundred_publications() {
    const DAY: i64 = 86_400;
    let dir = tempfile::tempdir().unwrap();
    let writer = keeping(dir.path(), 2, DAY as u64);
    // Four packages, each of which is another one with every fourth publication.
    let state = |turn: i64| {
        let version = move |package: i64| (turn + 3 - package) / 4;
        (0..4).map(move |package| {
            (
                format!("pool/{package}-{}.pkg", version(package)),
                version(package),
            )
        })
    };
    let mut at = 1_000_000;
    for turn in 0..=100 {
        at += DAY / 100;
        let files: Vec<(String, String)> = state(turn)
            .map(|(path, version)| (path, format!("version {version}")))
            .collect();
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        publish_at(&writer, at, &files);
        writer.collect(at, &[]).unwrap();
    }
    let kept = writer.snapshots().unwrap();
    assert!(kept.len() <= Retention::MAX_KEPT);
    let kept: Vec<_> = kept
        .iter()
        .map(|info| writer.snapshot(&info.id).unwrap())
        .collect();
    let gone = retained(&writer);
    let is_kept = |path: &str| kept.iter().any(|snapshot| snapshot.get(path).is_some());
    let is_there = |path: &str| is_kept(path) || gone.contains_key(path);
    assert!(!is_kept("pool/0-1.pkg") && is_there("pool/0-1.pkg"));
    for turn in 1..=100 {
        for (path, version) in state(turn) {
            assert!(is_there(&path), "{path} of {turn}");
            let content = format!("version {version}");
            assert!(
                writer.has_blob(&sha256(content.as_bytes()), content.len() as u64),
                "{path} of {turn}"
            );
        }
    }
}

#[test]
fn a_name_that_is_served_again_is_retained_no_longer_whatever_it_stands_for() {
    let dir = tempfile::tempdir().unwrap();
    let writer = keeping(dir.path(), 1, 1000);
    publish_at(&writer, 100, &[("same", "g"), ("other", "o")]);
    let now = bury(&writer, 101, &[]);
    assert_eq!(retained(&writer).len(), 2);
    publish_at(&writer, now, &[("same", "g"), ("other", "x")]);
    writer.collect(now, &[]).unwrap();
    assert_eq!(retained(&writer), BTreeMap::new());
    assert!(writer.has_blob(&sha256(b"g"), 1) && !writer.has_blob(&sha256(b"o"), 1));
    // And once more, with what it stood for last and from when that went.
    bury(&writer, now + 1, &[]);
    let expected = [("same", "g"), ("other", "x")];
    let expected = expected.map(|(path, content)| (path.to_owned(), (content.to_owned(), now + 1)));
    assert_eq!(retained(&writer), expected.into());
}

#[test]
fn names_that_led_through_a_link_which_stands_for_something_else_now_stay() {
    let dir = tempfile::tempdir().unwrap();
    let writer = keeping(dir.path(), 1, 1000);
    let files = [("old/by-hash/1", "1"), ("new/by-hash/2", "2")];
    let links = |target: &'static str| [("stable", target)];
    let first = prepare_linked(&writer, 100, &files, &links("old")).unwrap();
    writer.publish(&first, 100).unwrap();
    for now in 101..101 + Retention::MAX_KEPT as i64 {
        let changing = now.to_string();
        let mut files = files.to_vec();
        files.push(("changing", &changing));
        let id = prepare_linked(&writer, now, &files, &links("new")).unwrap();
        writer.publish(&id, now).unwrap();
        writer.collect(now, &[]).unwrap();
    }
    let gone = retained(&writer);
    let through = gone.get("stable/by-hash/1");
    assert_eq!(through, Some(&("1".to_owned(), 101)), "{gone:?}");
    assert!(!gone.contains_key("old/by-hash/1") && !gone.contains_key("new/by-hash/2"));
}

#[test]
fn another_retention_is_obeyed_by_the_next_collection_although_nothing_is_published() {
    let dir = tempfile::tempdir().unwrap();
    let writer = keeping(dir.path(), 1, 1000);
    publish_at(&writer, 100, &[("gone", "g")]);
    let now = bury(&writer, 101, &[]);
    drop(writer);
    // Longer: what has not gone yet stays.
    let longer = keeping(dir.path(), 1, 5000);
    assert!(!longer.is_collection_due(now, &[]).unwrap());
    longer.collect(2000, &[]).unwrap();
    assert_eq!(retained(&longer).len(), 1);
    drop(longer);
    // Fewer and shorter.
    let shorter = keeping(dir.path(), 2, 10);
    assert!(shorter.is_collection_due(now, &[]).unwrap());
    let report = shorter.collect(now + 10, &[]).unwrap();
    assert_eq!(shorter.snapshots().unwrap().len(), 2);
    assert_eq!(report.dropped.len(), Retention::MAX_KEPT - 2);
    assert!(retained(&shorter).is_empty() && !shorter.has_blob(&sha256(b"g"), 1));
    assert!(!shorter.is_collection_due(now + 10, &[]).unwrap());
}

#[test]
fn on_a_full_disk_what_clients_may_ask_for_stays() {
    let dir = tempfile::tempdir().unwrap();
    let writer = keeping(dir.path(), 1, 1000);
    publish_at(&writer, 100, &[("gone", "g")]);
    let now = bury(&writer, 101, &[]);
    writer.collect_for_space(now, &[], &|_| Ok(())).unwrap();
    assert_eq!(retained(&writer).len(), 1);
    writer.collect_for_space(1101, &[], &|_| Ok(())).unwrap();
    assert!(retained(&writer).is_empty() && !writer.has_blob(&sha256(b"g"), 1));
}

fn damage(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 1;
    // As a disk would: the same file, with its time.
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(modified).unwrap();
}

#[test]
fn a_damaged_list_is_no_damage_of_a_snapshot_and_the_next_writer_goes_on_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("retained");
    let length = {
        let writer = keeping(dir.path(), 1, 1000);
        publish_at(&writer, 100, &[("gone", "g")]);
        bury(&writer, 101, &[]);
        fs::read(&file).unwrap()
    };
    for at in [0, 9, 17, 33, 45, 100, length.len() - 40, length.len() - 1] {
        fs::remove_file(&file).ok();
        fs::write(&file, &length).unwrap();
        damage(&file, at);
        let reader = Store::open(dir.path()).unwrap();
        assert!(reader.retained().unwrap_err().is_damage(), "byte {at}");
        let report = reader.scrub(&mut |_| {}).unwrap();
        let [Finding::FileDamaged { name, .. }] = report.findings.as_slice() else {
            panic!("byte {at}: {:?}", report.findings);
        };
        assert_eq!(name, "retained");
        assert!(reader.current_snapshot().unwrap().is_some());
        let writer = keeping(dir.path(), 1, 1000);
        assert!(writer.take_retained().unwrap().is_none());
        writer.collect(200, &[]).unwrap();
        assert!(writer.scrub(&mut |_| {}).unwrap().is_clean(), "byte {at}");
    }
    fs::write(&file, &length[..length.len() - 1]).unwrap();
    let reader = Store::open(dir.path()).unwrap();
    assert!(reader.retained().unwrap_err().is_damage(), "cut");
}

#[test]
fn a_lost_blob_of_a_name_that_went_is_told_as_that() {
    let dir = tempfile::tempdir().unwrap();
    // As of now, since a check asks the clock.
    let now = jiff_now();
    let writer = keeping(dir.path(), 1, 100_000);
    publish_at(&writer, now - 50, &[("gone", "g")]);
    bury(&writer, now - 49, &[]);
    assert!(writer.scrub(&mut |_| {}).unwrap().is_clean());
    fs::remove_file(writer.blob_path(&sha256(b"g"))).unwrap();
    let report = writer.scrub(&mut |_| {}).unwrap();
    let gone = Finding::RetainedLacking {
        digest: sha256(b"g"),
        path: "gone".to_owned(),
    };
    assert_eq!(report.findings, [gone]);
    assert_eq!(report.damaged, [sha256(b"g")].into());
    let known = [sha256(b"g")].into();
    let report = writer.scrub_beside(&known, &mut |_| {}).unwrap();
    assert!(report.is_clean() && report.retained_lacking == 1);
    let share = writer
        .scrub_share(&sha256_zero(), &mut |_, _| true)
        .unwrap();
    let damaged: Vec<_> = share.damaged.iter().map(|(digest, _)| *digest).collect();
    assert_eq!(damaged, [sha256(b"g")], "a scrub in parts finds it too");
}

fn sha256_zero() -> fleet_types::Sha256 {
    fleet_types::Sha256([0; 32])
}

fn jiff_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs() as i64
}

#[test]
fn a_store_of_an_earlier_version_retains_nothing_and_begins_to() {
    let dir = tempfile::tempdir().unwrap();
    // All that such a store has is there, and this one file is not.
    let writer = writer(dir.path());
    publish(&writer, 1, &[("a", "a")]);
    assert!(writer.retained().unwrap().is_none() && !dir.path().join("retained").exists());
    drop(writer);
    let writer = keeping(dir.path(), 1, 1000);
    bury(&writer, 2, &[]);
    assert_eq!(retained(&writer).len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    /// The rule itself, from the history alone: a fixed name can be fetched, with the content that it had last, until
    /// its time is over; and nothing is kept for longer than until the next collection.
    #[test]
    fn every_name_is_fetchable_for_its_time_and_never_longer(
        // More names than come again among 32 snapshots, and more snapshots than are kept for their age.
        history in prop::collection::vec((prop::collection::btree_map(0u8..120, 0u8..3, 0..5), 1i64..3), 50..90),
        min_age in 5u64..120,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let writer = keeping(dir.path(), 1, min_age);
        let mut now = 0;
        let mut promised: BTreeMap<String, (String, i64)> = BTreeMap::new();
        let mut served: BTreeMap<String, String> = BTreeMap::new();
        for (files, wait) in history {
            now += wait;
            let files: BTreeMap<String, String> = files
                .iter()
                .map(|(path, content)| (format!("pool/{path}"), format!("{path} {content}")))
                .collect();
            let listed: Vec<_> = files.iter().map(|(path, content)| (path.as_str(), content.as_str())).collect();
            publish_at(&writer, now, &listed);
            writer.collect(now, &[]).unwrap();
            promised.extend(served.into_iter().map(|(path, content)| (path, (content, now))));
            promised.retain(|path, (_, at)| now - *at < min_age as i64 && !files.contains_key(path));
            served = files;
            let list = writer.retained().unwrap();
            let kept: Vec<_> = writer.snapshots().unwrap().iter().map(|info| writer.snapshot(&info.id).unwrap()).collect();
            for (path, (content, _)) in &promised {
                let elsewhere = kept.iter().rev().filter_map(|kept| kept.get(path));
                let gone = list.iter().filter_map(|list| list.get(path)).map(|gone| gone.entry);
                let found = elsewhere.chain(gone).next();
                prop_assert_eq!(found.map(|found| found.digest), Some(sha256(content.as_bytes())), "{} at {}", path, now);
                prop_assert!(writer.has_blob(&sha256(content.as_bytes()), content.len() as u64));
            }
            for (path, gone) in list.iter().flat_map(|list| list.iter()) {
                // It may have gone before, and once more with a snapshot that is kept still.
                prop_assert!(promised.get(path.as_str()).is_some_and(|(_, at)| *at >= gone.at), "{} at {}", path, now);
            }
        }
        let report = writer.scrub(&mut |_| {}).unwrap();
        prop_assert!(report.is_clean());
    }
}
