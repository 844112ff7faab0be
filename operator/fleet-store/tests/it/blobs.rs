//! Contents: how they come, and when they are believed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use fleet_store::*;
use fleet_types::{Digest, Expected, Reason, RepoPath};
use sha2::Digest as _;

use crate::common::*;

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
