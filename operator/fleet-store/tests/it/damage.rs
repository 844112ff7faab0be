//! What the disk spoils is found.

use std::fs;

use fleet_store::*;
use fleet_types::Reason;

use crate::common::*;

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
