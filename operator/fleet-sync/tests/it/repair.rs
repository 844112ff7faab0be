//! Blobs that a scrub found damaged, and how the next run mends them.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use fleet_store::Store;
use fleet_sync::{Damaged, RunResult, SyncOptions};
use fleet_types::Reason;

use crate::support::archive::{Release, Signed};
use crate::support::{World, sync, told, writer};

fn blob_of(store: &Store, path: &str) -> PathBuf {
    let entry = store
        .current_snapshot()
        .unwrap()
        .unwrap()
        .get(path)
        .unwrap();
    store.blob_path(&entry.digest)
}

/// The disk rots: as many bytes, but others.
fn damage(blob: &PathBuf) {
    let size = std::fs::metadata(blob).unwrap().len();
    std::fs::set_permissions(blob, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(blob, vec![b'!'; size as usize]).unwrap();
}

/// What `mirrorfleet verify` does.
fn verify(options: &SyncOptions) -> Damaged {
    let writer = writer(options);
    let report = writer.scrub(&mut |_| {}).unwrap();
    let damaged = Damaged {
        blobs: report.damaged.clone(),
        ..Damaged::default()
    };
    writer.state_write(Damaged::DOCUMENT, &damaged).unwrap();
    damaged
}

fn recorded(world: &World) -> Option<Damaged> {
    world.store().state(Damaged::DOCUMENT).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_indices_and_payload_are_mended_although_nothing_is_new() {
    let world = World::new(&[]).await;
    let release = Release {
        signed: Signed::Both,
        ..Release::of(world.date)
    };
    world.archive.publish("stable", &world.packages, &release);
    let options = world.options(&["stable"]);
    let first = sync(&options).await;
    assert_eq!(told(&first).0, RunResult::Published, "{first:?}");
    let damaged = [
        world.packages[1].path.as_str(),
        "dists/stable/InRelease",
        "dists/stable/Release.gpg",
        "dists/stable/main/binary-amd64/Packages.xz",
    ];
    for path in damaged {
        damage(&blob_of(&world.store(), path));
    }
    std::fs::remove_file(blob_of(&world.store(), &world.packages[0].path)).unwrap();
    assert_eq!(verify(&options).blobs.len(), 5);
    let report = sync(&options).await;
    assert_eq!(
        (told(&report), report.files_fetched),
        ((RunResult::Unchanged, Reason::Unchanged), 5),
        "{report:?}"
    );
    assert_eq!(report.snapshot, first.snapshot);
    assert_eq!(recorded(&world), Some(Damaged::default()));
    assert!(world.store().scrub(&mut |_| {}).unwrap().is_clean());
    world.server.take_seen();
    sync(&options).await;
    assert_eq!(world.server.seen_count(), 1, "and that is that");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_again_stays_on_the_list_and_is_told() {
    let world = World::new(&["stable"]).await;
    let options = world.options(&["stable"]);
    let first = sync(&options).await;
    let lost = &world.packages[1].path;
    damage(&blob_of(&world.store(), lost));
    let damaged = verify(&options);
    let gone = world.archive.read(lost);
    std::fs::remove_file(world.archive.path(lost)).unwrap();
    for _ in 0..2 {
        let report = sync(&options).await;
        assert_eq!(
            told(&report),
            (RunResult::Failed, Reason::UpstreamIncomplete),
            "{report:?}"
        );
        assert!(report.message.contains("beta_1_amd64.deb"), "{report:?}");
        assert_eq!(report.snapshot, first.snapshot);
        assert_eq!(recorded(&world), Some(damaged.clone()));
    }
    world.archive.write(lost, &gone);
    let report = sync(&options).await;
    assert_eq!(told(&report).1, Reason::Unchanged, "{report:?}");
    assert_eq!(recorded(&world), Some(Damaged::default()));
    assert_eq!(world.served(lost), gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_snapshot_is_mended_too_and_does_not_hold_up_the_newest() {
    let world = World::new(&["stable"]).await;
    let options = world.options(&["stable"]);
    sync(&options).await;
    let old = &world.packages[2].path;
    let blob = blob_of(&world.store(), old);
    let content = std::fs::read(&blob).unwrap();
    let newer = Release::of(world.date + 10);
    world
        .archive
        .publish("stable", &world.packages[..2], &newer);
    let second = sync(&options).await;
    assert_eq!(told(&second).0, RunResult::Published, "{second:?}");
    damage(&blob);
    let damaged = verify(&options);
    std::fs::rename(world.archive.path(old), world.archive.path("away")).unwrap();
    let report = sync(&options).await;
    assert_eq!(told(&report).1, Reason::Unchanged, "{report:?}");
    let lost = Damaged {
        blobs: Default::default(),
        lost: damaged.blobs,
    };
    assert_eq!(recorded(&world), Some(lost.clone()));
    let found = world.store().scrub_beside(&lost.lost, &mut |_| {}).unwrap();
    assert!(
        found.is_clean() && found.lacking.values().eq([&1]),
        "{found:?}"
    );
    assert!(!blob.exists(), "nobody gets the damaged bytes");
    std::fs::rename(world.archive.path("away"), world.archive.path(old)).unwrap();
    let report = sync(&options).await;
    assert_eq!(told(&report).1, Reason::Unchanged, "{report:?}");
    assert_eq!(recorded(&world), Some(Damaged::default()));
    assert_eq!(std::fs::read(&blob).unwrap(), content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_what_is_to_be_mended() {
    let world = World::new(&["stable"]).await;
    let options = world.options(&["stable"]);
    sync(&options).await;
    damage(&blob_of(&world.store(), &world.packages[1].path));
    let damaged = verify(&options);
    let plan = fleet_sync::plan(
        options.clone(),
        std::sync::Arc::new(fleet_sync::Unwatched),
        tokio_util::sync::CancellationToken::new(),
    )
    .await;
    assert_eq!(
        (plan.result, plan.fetch.sample),
        (RunResult::Published, vec![world.packages[1].path.clone()])
    );
    assert_eq!(recorded(&world), Some(damaged));
}
