//! Taking over what another store of ours made.

use std::fs;
use std::path::Path;

use fleet_store::*;
use fleet_types::Reason;
use fleet_types::documents::IndexPin;
use sha2::Digest as _;

use crate::common::*;

const FILES: [(&str, &str); 3] = [
    ("dists/x/Release", "rrr"),
    ("pool/a.deb", "aaa"),
    ("pool/b.deb", "bbb"),
];
const HEADER: usize = 88;

/// A store with one snapshot of [`FILES`], that snapshot, and its index file.
fn source(dir: &Path) -> (Writer, SnapshotId, Vec<u8>) {
    let source = writer(dir);
    let id = prepare(&source, 10, &FILES).unwrap();
    let index = fs::read(dir.join("snapshots").join(id.to_string())).unwrap();
    (source, id, index)
}

fn pin(index: &[u8]) -> IndexPin {
    IndexPin {
        sha256: sha256(index),
        size: index.len() as u64,
    }
}

fn store(writer: &Writer, contents: &[&[u8]]) {
    let staged = contents
        .iter()
        .map(|content| writer.staging().put_bytes(content));
    let staged = staged.collect::<Result<_>>().unwrap();
    writer.staging().commit_batch(staged).unwrap();
}

/// With a digest at its end that fits.
fn sealed(mut index: Vec<u8>) -> Vec<u8> {
    let end = index.len() - 32;
    let digest: [u8; 32] = sha2::Sha256::digest(&index[..end]).into();
    index[end..].copy_from_slice(&digest);
    index
}

/// Why a follower does not take this index for that snapshot.
fn refusal(id: &SnapshotId, index: &[u8]) -> (Reason, String) {
    let dir = tempfile::tempdir().unwrap();
    let follower = writer(dir.path());
    store(&follower, &[index, b"rrr", b"aaa", b"bbb"]);
    let refused = text_of(follower.examine(id, &pin(index)));
    assert_eq!(follower.snapshots().unwrap(), []);
    refused
}

#[test]
fn a_copied_index_is_the_same_file_and_serves_the_same() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (source, id, index) = source(there.path());
    assert_eq!(source.index_pin(&id).unwrap(), pin(&index));
    let follower = writer(here.path());
    store(&follower, &[&index, b"rrr", b"aaa", b"bbb"]);
    let adoptable = follower.examine(&id, &pin(&index)).unwrap();
    let prepared = follower.adopt(adoptable, None).unwrap();
    assert_eq!(
        (prepared.id, prepared.existed, prepared.entries),
        (id, false, 3)
    );
    follower.publish(&id, 20).unwrap();
    let copied = fs::read(here.path().join("snapshots").join(id.to_string())).unwrap();
    assert_eq!(copied, index);
    assert_eq!(follower.snapshot(&id).unwrap().pin(), pin(&index));
    assert!(follower.scrub(&mut |_| {}).unwrap().is_clean());
    // Nothing is left of it among the blobs.
    follower.collect(30, &[]).unwrap();
    assert!(!follower.blob_path(&pin(&index).sha256).exists());
    assert!(follower.scrub(&mut |_| {}).unwrap().is_clean());

    // Once more: it is there already.
    store(&follower, &[&index]);
    let again = follower.examine(&id, &pin(&index)).unwrap();
    assert!(follower.adopt(again, None).unwrap().existed);
}

#[test]
fn an_index_with_other_times_gives_way_to_the_one_of_the_fleet() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_source, id, index) = source(there.path());
    let follower = writer(here.path());
    let own = prepare(&follower, 99, &FILES).unwrap();
    assert_eq!(own, id);
    assert_ne!(follower.index_pin(&id).unwrap(), pin(&index));
    follower.publish(&id, 99).unwrap();
    let open = follower.snapshot(&id).unwrap();
    store(&follower, &[&index]);
    let adoptable = follower.examine(&id, &pin(&index)).unwrap();
    assert!(!follower.adopt(adoptable, None).unwrap().existed);
    assert_eq!(follower.index_pin(&id).unwrap(), pin(&index));
    assert_eq!(
        open.get("pool/a.deb"),
        Some(entry("aaa")),
        "who reads goes on"
    );
    drop(open);
    assert_eq!(follower.snapshot(&id).unwrap().meta().created, 10);
}

#[test]
fn no_snapshot_is_taken_over_before_all_that_it_names_is_there_with_its_size() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_source, id, index) = source(there.path());
    let follower = writer(here.path());
    store(&follower, &[&index, b"rrr", b"aaa"]);
    let adoptable = follower.examine(&id, &pin(&index)).unwrap();
    let mut lacking = Vec::new();
    let noted = adoptable.each_present(None, |path, entry, is_vouched_for| {
        if !is_vouched_for && !follower.has_blob(&entry.digest, entry.size) {
            lacking.push(path.to_string());
        }
        Ok::<_, StoreError>(())
    });
    noted.unwrap();
    assert_eq!(lacking, ["pool/b.deb"]);
    let (reason, text) = text_of(follower.adopt(adoptable, None));
    assert_eq!(reason, Reason::StoreCorrupt);
    assert!(
        text.contains("pool/b.deb") && text.contains("not there"),
        "{text}"
    );
    assert_eq!(follower.snapshots().unwrap(), []);

    store(&follower, &[b"bbb"]);
    let cut = follower.blob_path(&sha256(b"bbb"));
    fs::remove_file(&cut).unwrap();
    fs::write(&cut, "bb").unwrap();
    let adoptable = follower.examine(&id, &pin(&index)).unwrap();
    assert!(follower.adopt(adoptable, None).is_err(), "of another size");
}

#[test]
fn what_the_newest_snapshot_has_under_the_same_path_is_not_looked_for() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_source, id, index) = source(there.path());
    let follower = writer(here.path());
    let before = prepare(&follower, 5, &FILES[..2]).unwrap();
    let parent = follower.snapshot(&before).unwrap();
    store(&follower, &[&index, b"bbb"]);
    let adoptable = follower.examine(&id, &pin(&index)).unwrap();
    let mut new = Vec::new();
    let noted = adoptable.each_present(Some(&parent), |path, _, is_vouched_for| {
        new.extend((!is_vouched_for).then(|| path.to_string()));
        Ok::<_, StoreError>(())
    });
    noted.unwrap();
    assert_eq!(new, ["pool/b.deb"]);
    assert_eq!(follower.adopt(adoptable, Some(&parent)).unwrap().id, id);
}

#[test]
fn bytes_that_are_not_those_of_the_pin_are_no_index() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_source, id, index) = source(there.path());
    let follower = writer(here.path());
    assert_eq!(
        text_of(follower.examine(&id, &pin(&index))).0,
        Reason::StoreCorrupt,
        "it is not there at all"
    );
    store(&follower, &[&index]);
    // Rotten since it was stored.
    let blob = follower.blob_path(&pin(&index).sha256);
    let mut rotten = index.clone();
    rotten[HEADER + 3] ^= 1;
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, rotten).unwrap();
    let (reason, text) = text_of(follower.examine(&id, &pin(&index)));
    assert_eq!(reason, Reason::StoreCorrupt, "{text}");
}

#[test]
fn an_index_is_judged_by_what_it_holds_and_not_by_what_it_says() {
    let there = tempfile::tempdir().unwrap();
    let (_source, id, index) = source(there.path());
    let other = SnapshotId(sha256(b"another"));
    let (reason, text) = refusal(&other, &index);
    assert_eq!(reason, Reason::IndexMalformed);
    assert!(text.contains("index of another snapshot"), "{text}");

    // The header claims the id that was asked for.
    let mut lying = index.clone();
    lying[16..48].copy_from_slice(&other.0.0);
    let (reason, text) = refusal(&other, &sealed(lying));
    assert_eq!(reason, Reason::DigestMismatch);
    assert!(text.contains(&format!("is snapshot {id}")), "{text}");

    // A record is another one.
    let records = HEADER + u64::from_le_bytes(index[48..56].try_into().unwrap()) as usize;
    for (at, what) in [(0, "digest"), (32, "size"), (43, "state")] {
        let mut lying = index.clone();
        lying[records + at] ^= 1;
        let (reason, text) = refusal(&id, &sealed(lying));
        let wrong = [Reason::DigestMismatch, Reason::IndexMalformed];
        assert!(wrong.contains(&reason), "{what}: {text}");
    }

    let mut newer = index.clone();
    newer[8..12].copy_from_slice(&(INDEX_VERSION + 1).to_le_bytes());
    let (reason, text) = refusal(&id, &sealed(newer));
    assert_eq!(reason, Reason::IndexVersionTooNew);
    assert!(text.contains("upgrade this side first"), "{text}");

    for length in [0, 7, HEADER, index.len() - 1] {
        let (reason, text) = refusal(&id, &index[..length]);
        assert_eq!(reason, Reason::IndexMalformed, "{length} bytes: {text}");
    }
    let longer = [index.as_slice(), b"x"].concat();
    assert_eq!(refusal(&id, &longer).0, Reason::IndexMalformed);
}

/// An index as a program would write it that checks no path.
fn made_of(paths: &[&str], numbers: &[u64]) -> (SnapshotId, Vec<u8>) {
    let there = tempfile::tempdir().unwrap();
    let (_source, id, index) = source(there.path());
    let at = |range: std::ops::Range<usize>| {
        u64::from_le_bytes(index[range].try_into().unwrap()) as usize
    };
    let records = HEADER + at(48..56);
    let table = index.len() - 32 - at(72..80);
    let mut builder = fst::MapBuilder::memory();
    for (path, number) in paths.iter().zip(numbers) {
        builder.insert(path, *number).unwrap();
    }
    let paths_table = builder.into_inner().unwrap();
    let mut made = index[..records].to_vec();
    made[72..80].copy_from_slice(&(paths_table.len() as u64).to_le_bytes());
    made.extend_from_slice(&index[records..table]);
    made.extend_from_slice(&paths_table);
    made.extend_from_slice(&[0; 32]);
    (id, sealed(made))
}

#[test]
fn no_name_that_could_leave_the_repository_is_taken_over() {
    for bad in ["../x", "/x", "pool//x", "pool/./x", "pool/x/..", "po\0ol"] {
        let mut paths = ["dists/x/Release", "pool/a.deb", bad];
        paths.sort_unstable();
        let (id, index) = made_of(&paths, &[0, 1, 2]);
        let (reason, text) = refusal(&id, &index);
        assert_eq!(reason, Reason::UnsafePath, "{bad:?}: {text}");
    }
    let (id, index) = made_of(&["pool", "pool/a.deb", "pool/b.deb"], &[0, 1, 2]);
    assert_eq!(refusal(&id, &index).0, Reason::PathConflict);
    let (id, index) = made_of(&["pool/a", "pool/b", "pool/c"], &[0, 2, 1]);
    assert_eq!(refusal(&id, &index).0, Reason::IndexMalformed);
    let (id, index) = made_of(&["pool/a", "pool/b", "pool/c"], &[0, 0, 0]);
    assert_eq!(refusal(&id, &index).0, Reason::IndexMalformed);
}

#[test]
fn a_pin_is_computed_once_for_each_file() {
    let dir = tempfile::tempdir().unwrap();
    let (source, id, index) = source(dir.path());
    let file = dir.path().join("snapshots").join(id.to_string());
    let store = Store::open(dir.path()).unwrap();
    let info = store.snapshots().unwrap().pop().unwrap();
    assert_eq!(store.told(&info).index, Some(pin(&index)));
    // Behind its back, in place and with the same times: nobody reads it a second time to find out.
    let times = fs::metadata(&file).unwrap().modified().unwrap();
    let mut changed = index.clone();
    *changed.last_mut().unwrap() ^= 1;
    let mut permissions = fs::metadata(&file).unwrap().permissions();
    #[expect(
        clippy::permissions_set_readonly_false,
        reason = "in a directory of the test's own"
    )]
    permissions.set_readonly(false);
    fs::set_permissions(&file, permissions).unwrap();
    fs::write(&file, &changed).unwrap();
    let opened = fs::File::options().write(true).open(&file).unwrap();
    opened.set_modified(times).unwrap();
    assert_eq!(store.index_pin(&id).unwrap(), pin(&index));
    // Another file is another index.
    let new = dir.path().join("new");
    fs::write(&new, &changed).unwrap();
    fs::rename(&new, &file).unwrap();
    assert_eq!(store.index_pin(&id).unwrap(), pin(&changed));
    drop(source);
}

#[test]
fn what_others_copy_is_kept_however_full_the_disk_is() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path());
    let copied = prepare(&writer, 10, &[("pool/a.deb", "aaa")]).unwrap();
    publish(&writer, 20, &[("pool/b.deb", "bbb")]);
    publish(&writer, 30, &[("pool/c.deb", "ccc")]);
    let kept = [copied];
    writer.collect(1_000_000, &kept).unwrap();
    writer
        .collect_for_space(1_000_000, &kept, &|_| Ok(()))
        .unwrap();
    assert!(writer.snapshot(&copied).is_ok());
    assert!(writer.has_blob(&sha256(b"aaa"), 3));
    writer
        .collect_for_space(1_000_000, &[], &|_| Ok(()))
        .unwrap();
    assert!(!writer.has_blob(&sha256(b"aaa"), 3));
}

/// Whoever copies reads while the source collects: what it has open stays readable.
#[test]
fn an_index_that_is_being_sent_outlives_its_snapshot() {
    use std::io::Read;
    let dir = tempfile::tempdir().unwrap();
    let (source, id, index) = source(dir.path());
    let mut open = source.open_index(&id).unwrap();
    publish(&source, 20, &[("pool/c.deb", "ccc")]);
    source.collect(1_000_000, &[]).unwrap();
    assert_eq!(text_of(source.open_index(&id)).0, Reason::SnapshotNotFound);
    let mut sent = Vec::new();
    open.read_to_end(&mut sent).unwrap();
    assert_eq!(sent, index);
}

#[test]
fn what_a_killed_run_has_staged_as_a_whole_is_taken_up_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let killed = writer(dir.path());
    let staged = killed.staging().put(&expected(b"whole"), b"whole").unwrap();
    let mut part = killed.staging().begin(&expected(b"in parts")).unwrap();
    part.write(b"in ").unwrap();
    drop((staged, part, killed));

    let next = writer(dir.path());
    let rotten = expected(b"rotten");
    let name = format!("sha256-{}", sha256(b"rotten"));
    fs::write(dir.path().join("staging").join(name), "ROTTEN").unwrap();
    let take = |expected| next.staging().take_whole(&expected).unwrap();
    for not_whole in [expected(b"in parts"), expected(b"never"), rotten] {
        assert!(take(not_whole).is_none());
    }
    let whole = take(expected(b"whole")).unwrap();
    assert!(take(expected(b"whole")).is_none(), "somebody has it");
    next.staging().commit_batch(vec![whole]).unwrap();
    assert!(next.has_blob(&sha256(b"whole"), 5));
    // The part is still there to go on from.
    let part = next.staging().begin(&expected(b"in parts")).unwrap();
    assert_eq!(part.written(), 3);
}
