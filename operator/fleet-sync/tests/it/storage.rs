//! Volumes that are full, become full, or cannot be written: on real file systems.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fleet_store::Store;
use fleet_sync::{Phase, Progress, Report, RunResult, SyncOptions};
use fleet_types::Reason;
use tokio_util::sync::CancellationToken;

use crate::support::archive::{Package, Release};
use crate::support::rsyncd::Daemon;
use crate::support::server::Fault;
use crate::support::volume::{Volume, fill};
use crate::support::{World, cancellable, endpoint, plan, sync, told, watched};

const MEBIBYTE: usize = 1 << 20;

/// Content that neither compresses nor repeats.
fn noise(seed: u8, bytes: usize) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let next = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

fn on(volume: &Volume, world: &World) -> SyncOptions {
    let mut options = world.options(&["stable"]);
    options.store_dir = volume.path().join("test");
    options
}

/// The store is as it should be, and serves what the run says.
fn intact(options: &SyncOptions, report: &Report) {
    let store = Store::open(&options.store_dir).unwrap();
    let scrub = store.scrub(&mut |_| {}).unwrap();
    assert!(scrub.is_clean(), "{:?}", scrub.findings);
    let current = store.current().unwrap().map(|id| id.to_string());
    assert_eq!(current, report.snapshot);
}

fn more(world: &World, sizes: &[usize]) -> Vec<Package> {
    let mut packages = world.packages.clone();
    for (number, size) in sizes.iter().enumerate() {
        let content = noise(number as u8, *size);
        packages.push(world.archive.package(&format!("more{number}"), &content));
    }
    let release = Release::of(world.date + 10);
    world.archive.publish("stable", &packages, &release);
    packages
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_comes_by_rsync_needs_its_room_once() {
    let Some(volume) = Volume::ext4(24) else {
        return;
    };
    let world = World::new(&["stable"]).await;
    let mut options = on(&volume, &world);
    more(&world, &[14 * MEBIBYTE]);
    let daemon = Daemon::start(&world.archive.root());
    options.endpoints = vec![endpoint("daemon", &daemon.url, 0)];
    let report = sync(&options).await;
    assert_eq!(told(&report).0, RunResult::Published, "{report:?}");
    assert_eq!(daemon.sent("more0_1_amd64.deb"), 1);
    intact(&options, &report);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_before_any_of_it_is_fetched() {
    let Some(volume) = Volume::ext4(16) else {
        return;
    };
    let world = World::new(&["stable"]).await;
    let options = on(&volume, &world);
    let first = sync(&options).await;
    assert_eq!(told(&first).0, RunResult::Published, "{first:?}");
    world.server.take_seen();
    more(&world, &[10 * MEBIBYTE, 10 * MEBIBYTE]);
    let report = sync(&options).await;
    assert_eq!(
        (told(&report), report.exit_code()),
        ((RunResult::Failed, Reason::StorageFull), 4),
        "{report:?}"
    );
    assert_eq!(report.snapshot, first.snapshot);
    let seen = world.server.take_seen();
    assert!(!seen.iter().any(|seen| seen.path.contains("/pool/")));
    intact(&options, &report);
}

/// Fills the volume once a run begins to fetch.
struct Filler {
    dir: PathBuf,
}

impl Progress for Filler {
    fn phase(&self, phase: Phase) {
        if phase == Phase::Fetch {
            fill(&self.dir);
        }
    }
    fn planned(&self, _: u64, _: u64) {}
    fn received(&self, _: u64) {}
    fn file_done(&self) {}
    fn note(&self, _: &str) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_fills_up_meanwhile_loses_nothing_and_the_next_run_heals() {
    let Some(volume) = Volume::ext4(24) else {
        return;
    };
    let world = World::new(&["stable"]).await;
    let options = on(&volume, &world);
    let first = sync(&options).await;
    assert_eq!(told(&first).0, RunResult::Published, "{first:?}");
    let packages = more(&world, &[3 * MEBIBYTE, 100_000, 2 * MEBIBYTE]);
    let filler = Filler { dir: volume.path() };
    let report = watched(&options, Arc::new(filler)).await;
    assert_eq!(
        (told(&report), report.exit_code()),
        ((RunResult::Failed, Reason::StorageFull), 4),
        "{report:?}"
    );
    assert_eq!(report.snapshot, first.snapshot);
    intact(&options, &report);

    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Failed, Reason::StorageFull),
        "still full: {report:?}"
    );
    assert_eq!(report.snapshot, first.snapshot);
    intact(&options, &report);

    std::fs::remove_file(volume.path().join("filler")).unwrap();
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::Published),
        "{report:?}"
    );
    intact(&options, &report);
    let store = Store::open(&options.store_dir).unwrap();
    let snapshot = store.current_snapshot().unwrap().unwrap();
    for package in packages {
        let entry = snapshot.get(&package.path).unwrap();
        assert_eq!(entry.digest.to_string(), package.sha256);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_cannot_be_written_says_so_and_still_serves() {
    let Some(volume) = Volume::ext4(16) else {
        return;
    };
    let world = World::new(&["stable"]).await;
    let options = on(&volume, &world);
    let first = sync(&options).await;
    assert_eq!(told(&first).0, RunResult::Published, "{first:?}");
    volume.remount("ro");
    let report = sync(&options).await;
    assert_eq!(
        (told(&report), report.exit_code()),
        ((RunResult::Failed, Reason::StorageReadOnly), 4),
        "{report:?}"
    );
    let store = Store::open(&options.store_dir).unwrap();
    assert_eq!(
        store.current().unwrap().map(|id| id.to_string()),
        first.snapshot
    );
    volume.remount("rw");
    assert_eq!(told(&sync(&options).await).1, Reason::Unchanged);
}

/// Two Mirrors of one process on one volume: what the first has written already is no longer promised to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_is_not_refused_for_room_that_another_has_used_already() {
    let Some(volume) = Volume::ext4(32) else {
        return;
    };
    let world = World::new(&[]).await;
    let large = |name: &str, seed| {
        let content = noise(seed, 10 * MEBIBYTE);
        world.archive.package(name, &content)
    };
    let waited_for = &world.packages[1];
    let first = [large("first", 1), waited_for.clone()];
    let second = [large("second", 2)];
    world
        .archive
        .publish("one", &first, &Release::of(world.date));
    world
        .archive
        .publish("two", &second, &Release::of(world.date));
    let mut one = world.options(&["one"]);
    one.store_dir = volume.path().join("one");
    one.timeouts.stall = Duration::from_secs(3600);
    one.timeouts.total = Duration::from_secs(3600);
    let two = SyncOptions {
        store_dir: volume.path().join("two"),
        ..world.options(&["two"])
    };
    let stall = Fault::StallsAfter(1000);
    world.server.fault(&waited_for.path, 1, stall);
    let (sender, mut landed) = tokio::sync::mpsc::unbounded_channel();
    let cancel = CancellationToken::new();
    let (watch, token) = (Arc::new(Landings(sender)), cancel.clone());
    let running = tokio::spawn(async move { cancellable(&one, watch, token).await });
    landed.recv().await.unwrap();
    let beside = sync(&two).await;
    cancel.cancel();
    let report = running.await.unwrap();
    assert_eq!(report.reason, Reason::SyncInterrupted, "{report:?}");
    assert_eq!(told(&beside).0, RunResult::Published, "{beside:?}");
}

/// Tells of every file that is there.
struct Landings(tokio::sync::mpsc::UnboundedSender<()>);

impl Progress for Landings {
    fn phase(&self, _: Phase) {}
    fn planned(&self, _: u64, _: u64) {}
    fn received(&self, _: u64) {}
    fn file_done(&self) {
        // Nobody listens any more at the end.
        let _ = self.0.send(());
    }
    fn note(&self, _: &str) {}
}

/// What the files below a folder take on the disk, and how many there are.
fn taken(folder: &Path) -> (u64, u64) {
    let mut sum = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let about = entry.metadata().unwrap();
        let (bytes, files) = match about.is_dir() {
            true => taken(&entry.path()),
            false => (about.blocks() * 512, 1),
        };
        sum = (sum.0 + bytes, sum.1 + files);
    }
    sum
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dry_run_foretells_is_what_the_disk_gets_to_the_block() {
    let Some(volume) = Volume::ext4(32) else {
        return;
    };
    let world = World::new(&["stable"]).await;
    let mut packages = more(&world, &[1, 4096, 4097, 100_000]);
    // One content under a second name takes its room once.
    let content = world.archive.read(&packages[6].path);
    let again = "pool/main/a/again.deb";
    packages.push(world.archive.package_at(again, "again", &content));
    let release = Release::of(world.date + 20);
    world.archive.publish("stable", &packages, &release);
    let options = on(&volume, &world);
    let foreseen = plan(&options).await.room.unwrap();
    assert_eq!(told(&sync(&options).await).0, RunResult::Published);
    let blobs = options.store_dir.join("blobs");
    let cold = taken(&blobs);
    assert_eq!((foreseen.bytes, foreseen.files), cold);
    let index = taken(&options.store_dir.join("snapshots")).0;
    assert!(
        index <= foreseen.index_bytes.next_multiple_of(4096),
        "{index} {foreseen:?}"
    );

    // A large file of which the beginning is here already.
    packages.push(world.archive.package("large", &noise(9, 3 * MEBIBYTE)));
    let large = &packages[packages.len() - 1];
    let release = Release::of(world.date + 30);
    world.archive.publish("stable", &packages, &release);
    let whole = plan(&options).await.room.unwrap();
    let breaks = Fault::BreaksOffAfter(2 * MEBIBYTE + 5);
    world.server.fault(&large.path, usize::MAX, breaks);
    assert_eq!(told(&sync(&options).await).0, RunResult::Failed);
    let staged = taken(&options.store_dir.join("staging")).0;
    assert!(staged > 0);
    let rest = plan(&options).await.room.unwrap();
    let indices = taken(&blobs).0 - cold.0;
    assert_eq!(rest.bytes, whole.bytes - staged - indices);
    world.server.heal();
    assert_eq!(told(&sync(&options).await).0, RunResult::Published);
    assert_eq!(taken(&blobs).0, cold.0 + whole.bytes);
}
