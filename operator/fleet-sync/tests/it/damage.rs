//! Every kind of file of a store, damaged in every way: what the messages say helps, and afterwards all is well.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use fleet_store::{EntryState, SnapshotId, Store};
use fleet_sync::{Damaged, Report, SyncOptions};
use fleet_types::{Outcome, Reason, Sha256};
use futures::StreamExt;

use crate::support::archive::{Release, Signed};
use crate::support::{World, sync, told, writer};

/// What happens to a file or a folder.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Harm {
    Gone,
    Emptied,
    CutInHalf,
    OneBit,
    Garbage,
    Null,
    ADirectory,
    ALinkToNothing,
    /// Of a size that nobody has memory for.
    AHole,
}

use Harm::*;

const TO_FILES: [Harm; 8] = [
    Gone,
    Emptied,
    CutInHalf,
    OneBit,
    Garbage,
    Null,
    ADirectory,
    ALinkToNothing,
];
const TO_DOCUMENTS: [Harm; 5] = [Gone, OneBit, Null, ADirectory, AHole];
const TO_FOLDERS: [Harm; 3] = [Gone, Garbage, ALinkToNothing];

fn harm(path: &Path, harm: Harm) {
    let before = fs::read(path).unwrap_or_default();
    match path.is_dir() {
        true => fs::remove_dir_all(path).unwrap(),
        false => drop(fs::remove_file(path)),
    }
    let mut bit = before.clone();
    if let Some(byte) = bit.get_mut(before.len() * 2 / 3) {
        *byte ^= 1;
    }
    match harm {
        Gone => {}
        Emptied => fs::write(path, "").unwrap(),
        CutInHalf => fs::write(path, &before[..before.len() / 2]).unwrap(),
        OneBit => fs::write(path, bit).unwrap(),
        Garbage => fs::write(path, b"\xff\xfe{{{ \0").unwrap(),
        Null => fs::write(path, "null").unwrap(),
        ADirectory => {
            fs::create_dir(path).unwrap();
            fs::write(path.join("something"), "x").unwrap();
        }
        ALinkToNothing => symlink("nothing/there", path).unwrap(),
        AHole => fs::File::create(path).unwrap().set_len(1 << 36).unwrap(),
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// An upstream, and a store that has been through a few runs: the newest snapshot is served, two more are kept.
struct Lab {
    world: World,
    options: SyncOptions,
    good: PathBuf,
    newest: SnapshotId,
    older: SnapshotId,
}

impl Lab {
    async fn new() -> Lab {
        let world = World::new(&[]).await;
        let mut options = world.options(&["stable"]);
        options.retention.keep = 3;
        for (packages, later) in [(1, 0), (2, 10), (3, 20)] {
            let release = Release {
                signed: Signed::Both,
                ..Release::of(world.date + later)
            };
            world
                .archive
                .publish("stable", &world.packages[..packages], &release);
            let report = sync(&options).await;
            assert_eq!(told(&report).1, Reason::Published, "{report:?}");
        }
        let kept = world.store().snapshots().unwrap();
        let (older, newest) = (kept[0].id, kept[2].id);
        let good = options.store_dir.clone();
        Lab {
            world,
            options,
            good,
            newest,
            older,
        }
    }

    /// A copy of the good store to be damaged.
    fn again(&self) -> (tempfile::TempDir, SyncOptions) {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("test");
        copy(&self.good, &store);
        let options = SyncOptions {
            store_dir: store,
            ..self.options.clone()
        };
        (dir, options)
    }

    /// The files and folders of the store, with the harm that each comes to.
    fn cases(&self) -> Vec<(PathBuf, Harm)> {
        let store = self.world.store();
        let inside = |path: PathBuf| path.strip_prefix(&self.good).unwrap().to_owned();
        let snapshot = store.current_snapshot().unwrap().unwrap();
        let blob = |name: &str| {
            let (_, entry) = snapshot
                .iter()
                .find(|(path, _)| path.as_str().ends_with(name))
                .unwrap();
            inside(store.blob_path(&entry.digest))
        };
        let mut files: Vec<PathBuf> = ["store.json", "current", "lock"].map(PathBuf::from).into();
        let mut documents = vec![PathBuf::from("state/committed")];
        for file in fs::read_dir(self.good.join("state")).unwrap() {
            let path = inside(file.unwrap().path());
            documents.extend((path.extension().is_some_and(|end| end == "json")).then_some(path));
        }
        for id in [self.newest, self.older] {
            files.push(Path::new("snapshots").join(id.to_string()));
        }
        files.push(Path::new("snapshots").join("f".repeat(64)));
        files.push(Path::new("staging").join(format!("sha256-{}", "e".repeat(64))));
        files.extend(["alpha_1_amd64.deb", "InRelease", "Packages.xz"].map(blob));
        let folders = ["blobs", "snapshots", "state", "staging", "suspects"].map(PathBuf::from);
        let shard = blob("alpha_1_amd64.deb").parent().unwrap().to_owned();
        let folders = folders.into_iter().chain([shard]);
        let all = |path: PathBuf, harms: &[Harm]| -> Vec<_> {
            harms.iter().map(|harm| (path.clone(), *harm)).collect()
        };
        let of_files = files.into_iter().flat_map(|path| all(path, &TO_FILES));
        let of_documents = documents
            .into_iter()
            .flat_map(|path| all(path, &TO_DOCUMENTS));
        of_files
            .chain(of_documents)
            .chain(folders.flat_map(|path| all(path, &TO_FOLDERS)))
            .collect()
    }

    async fn try_case(&self, path: &Path, kind: Harm) {
        let case = format!("{}: {kind:?}", path.display());
        let (_dir, options) = self.again();
        harm(&options.store_dir.join(path), kind);
        // A blob that changed is found by whoever reads it: the server, the scrub, and `verify`, as the messages say.
        let found = verify(&options);
        assert!(
            found || !path.starts_with("blobs"),
            "{case}: verify found nothing"
        );
        good(&sync(&options).await, &case);
        self.expect_health(&options, &case);
    }

    /// Every path of the newest snapshot is there with the bytes that it promises, by a reader that trusts nobody.
    fn expect_health(&self, options: &SyncOptions, case: &str) {
        let store = Store::open(&options.store_dir).unwrap();
        assert_eq!(store.current().unwrap(), Some(self.newest), "{case}");
        let snapshot = store.current_snapshot().unwrap().unwrap();
        let mut present = 0;
        for (path, entry) in snapshot.iter() {
            if entry.state == EntryState::Present {
                let content = fs::read(store.blob_path(&entry.digest)).unwrap();
                let upstream = fs::read(self.world.archive.path(path.as_str()));
                assert!(
                    upstream.is_err() || upstream.unwrap() == content,
                    "{case}: {path}"
                );
                present += 1;
            }
        }
        assert!(present >= 6, "{case}");
        // What only an older state had may be gone upstream too: that is told apart, and is no damage.
        let damaged: Option<Damaged> = store.state(Damaged::DOCUMENT).unwrap();
        let damaged = damaged.unwrap_or_default();
        let report = store.scrub_beside(&damaged.lost, &mut |_| {}).unwrap();
        assert!(report.is_clean(), "{case}: {report:?}");
        assert_eq!(damaged.blobs, BTreeSet::new(), "{case}");
        let writer = writer(options);
        assert_eq!(writer.what_was_set_aside(), Vec::<String>::new(), "{case}");
    }
}

/// What `mirrorfleet verify` does; whether it found anything.
fn verify(options: &SyncOptions) -> bool {
    let Ok(store) = Store::open(&options.store_dir) else {
        return true;
    };
    let report = store.scrub(&mut |_| {}).unwrap();
    if !report.damaged.is_empty() {
        let blobs = report.damaged.clone();
        writer(options)
            .state_write(
                Damaged::DOCUMENT,
                &Damaged {
                    blobs,
                    ..Damaged::default()
                },
            )
            .unwrap();
    }
    !report.is_clean()
}

fn good(report: &Report, case: &str) {
    let outcome = report.reason.outcome();
    assert_eq!(outcome, Outcome::Good, "{case}: {report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_damage_is_told_and_the_next_sync_mends_it() {
    let lab = Lab::new().await;
    let cases = lab.cases();
    assert!(cases.len() > 100, "{}", cases.len());
    // Some at a time: most of a case is waiting for the disk.
    let tried = cases.iter().map(|(path, kind)| lab.try_case(path, *kind));
    futures::stream::iter(tried)
        .buffer_unordered(8)
        .collect::<Vec<()>>()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_memory_does_not_let_an_older_state_in() {
    let lab = Lab::new().await;
    let older = Release::of(lab.world.date + 5);
    for both in [false, true] {
        let (_dir, options) = lab.again();
        for name in ["units.json", "units.copy.json"]
            .iter()
            .take(1 + usize::from(both))
        {
            fs::write(options.store_dir.join("state").join(name), "{").unwrap();
        }
        lab.world
            .archive
            .publish("stable", &lab.world.packages, &older);
        let report = sync(&options).await;
        assert_eq!(report.reason, Reason::RollbackDetected, "{report:?}");
        assert_eq!(report.snapshot, Some(lab.newest.to_string()));
    }
    // And with no snapshot either the caller remembers.
    let (_dir, mut options) = lab.again();
    options.high_water = lab
        .world
        .store()
        .current_snapshot()
        .unwrap()
        .unwrap()
        .meta()
        .revision
        .iter()
        .map(|revision| revision.clone().into())
        .collect();
    for folder in ["state", "snapshots"] {
        fs::remove_dir_all(options.store_dir.join(folder)).unwrap();
    }
    let report = sync(&options).await;
    assert_eq!(report.reason, Reason::RollbackDetected, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_snapshot_that_is_lost_is_told_and_taking_the_pin_away_helps() {
    let lab = Lab::new().await;
    let (_dir, options) = lab.again();
    writer(&options).pin(&lab.older, 1).unwrap();
    harm(
        &options
            .store_dir
            .join("snapshots")
            .join(lab.older.to_string()),
        CutInHalf,
    );
    let report = sync(&options).await;
    assert_eq!(report.reason, Reason::SnapshotNotFound, "{report:?}");
    assert!(
        report
            .message
            .contains("mirrorfleet snapshots MIRROR unpin"),
        "{report:?}"
    );
    writer(&options).unpin().unwrap();
    good(&sync(&options).await, "unpinned");
    lab.expect_health(&options, "unpinned");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_met_is_fetched_again_by_the_next_run() {
    let lab = Lab::new().await;
    for by_argument in [false, true] {
        let (_dir, mut options) = lab.again();
        let store = Store::open(&options.store_dir).unwrap();
        let snapshot = store.current_snapshot().unwrap().unwrap();
        let digest = snapshot.get(&lab.world.packages[1].path).unwrap().digest;
        harm(&store.blob_path(&digest), OneBit);
        match by_argument {
            true => options.damaged = vec![digest],
            false => assert!(store.suspect(&digest)),
        }
        let report = sync(&options).await;
        assert_eq!(
            (told(&report).1, report.files_fetched),
            (Reason::Unchanged, 1),
            "{report:?}"
        );
        options.damaged.clear();
        lab.expect_health(&options, "told by the server");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runs_themselves_find_rot_a_part_at_a_time() {
    let lab = Lab::new().await;
    let (_dir, options) = lab.again();
    let store = Store::open(&options.store_dir).unwrap();
    let snapshot = store.current_snapshot().unwrap().unwrap();
    let digest = snapshot.get(&lab.world.packages[1].path).unwrap().digest;
    harm(&store.blob_path(&digest), OneBit);
    let state = || store.state::<serde_json::Value>("scrub").unwrap().unwrap();
    let now = crate::support::archive::now();
    assert!(
        state()["startedAt"].as_i64().unwrap() > 0,
        "the first run began a pass"
    );
    good(&sync(&options).await, "nothing is due yet");
    assert_eq!(state()["blobs"], 0);
    // A pass that began a week ago and had come to the digest behind the damaged one.
    let mut behind = digest;
    behind.0[31] = behind.0[31].wrapping_add(1);
    let begun = |next: Sha256| serde_json::json!({"startedAt": now - 7 * 86_400, "next": next});
    writer(&options)
        .state_write("scrub", &begun(behind))
        .unwrap();
    good(&sync(&options).await, "the rest of it");
    let rest = state();
    assert_eq!(
        (&rest["complete"], &rest["damaged"]),
        (&true.into(), &0.into()),
        "{rest}"
    );
    writer(&options)
        .state_write("scrub", &begun(Sha256([0; 32])))
        .unwrap();
    let report = sync(&options).await;
    good(&report, "all of it");
    assert!(
        report
            .message
            .contains("1 stored file had rotted; it was fetched again"),
        "{report:?}"
    );
    let all = state();
    assert_eq!(
        (&all["complete"], &all["damaged"]),
        (&true.into(), &1.into()),
        "{all}"
    );
    assert!(
        all["blobs"].as_u64() > rest["blobs"].as_u64() && all["finishedAt"].as_i64() >= Some(now)
    );
    lab.expect_health(&options, "scrubbed");
}

/// As root nothing is forbidden, so that there is nothing to see.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_may_not_be_written_to_is_named_as_that() {
    if rustix_is_root() {
        return;
    }
    let lab = Lab::new().await;
    let (_dir, options) = lab.again();
    let staging = options.store_dir.join("staging");
    fs::set_permissions(&staging, fs::Permissions::from_mode(0o555)).unwrap();
    lab.world.archive.publish(
        "stable",
        &lab.world.packages,
        &Release::of(lab.world.date + 30),
    );
    let report = sync(&options).await;
    assert!(
        report.message.contains("must belong to the user"),
        "{report:?}"
    );
}

fn rustix_is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|about| std::os::unix::fs::MetadataExt::uid(&about) == 0)
}
