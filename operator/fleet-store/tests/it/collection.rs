//! What is given up, and when.

use std::fs;

use fleet_store::*;

use crate::common::*;

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
