//! Names that went while a mirror publishes often, and retention that changes.

use std::time::Duration;

use fleet_store::{Entry, Retention, SnapshotMeta};
use fleet_sync::{RunResult, SyncOptions};
use fleet_types::Reason;

use crate::support::archive::Release;
use crate::support::{World, sync, told, writer};

const HOURS: u64 = 3600;

fn keeping(world: &World, keep: usize, hours: u64) -> SyncOptions {
    let mut options = world.options(&["stable"]);
    options.retention = Retention {
        keep,
        min_age: Duration::from_secs(hours * HOURS),
    };
    options
}

/// Publishes what is served, but for one path, so often that no snapshot is left that has it.
fn bury(options: &SyncOptions, without: &str) {
    let writer = writer(options);
    let base = writer.current_snapshot().unwrap().unwrap();
    let now = jiff::Timestamp::now().as_second();
    for turn in 1..=Retention::MAX_KEPT as i64 {
        let staged = writer.staging().put_bytes(&turn.to_le_bytes()).unwrap();
        let changing = Entry {
            mutable: true,
            ..Entry::unusable()
        };
        let changing = Entry {
            state: fleet_store::EntryState::Present,
            digest: staged.digest(),
            size: staged.size(),
            ..changing
        };
        writer.staging().commit_batch(vec![staged]).unwrap();
        let mut builder = writer.index_builder(Some(base.clone()));
        for (path, entry) in base.iter().filter(|(path, _)| path.as_str() != without) {
            builder.push(&path, &entry).unwrap();
        }
        let path = fleet_types::RepoPath::new("changing").unwrap();
        builder.push(&path, &changing).unwrap();
        let meta = SnapshotMeta {
            created: base.meta().created + turn,
            parent: Some(base.id()),
            ..base.meta().clone()
        };
        let id = builder.finish(meta).unwrap().id;
        writer.publish(&id, now).unwrap();
    }
    drop(base);
    writer.collect(now, &[]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn new_bytes_under_a_name_that_went_are_a_mutation_while_it_can_be_fetched() {
    let world = World::new(&["stable"]).await;
    let options = keeping(&world, 1, 48);
    let first = sync(&options).await;
    assert_eq!(told(&first).0, RunResult::Published, "{first:?}");
    let alpha = world.packages[0].path.clone();
    bury(&options, &alpha);
    let store = world.store();
    assert_eq!(store.snapshots().unwrap().len(), Retention::MAX_KEPT);
    assert!(store.retained().unwrap().unwrap().get(&alpha).is_some());
    let mut packages = world.packages.clone();
    packages[0] = world.archive.package("alpha", b"alpha 1, and not the same");
    assert_eq!(packages[0].path, alpha);
    let release = Release::of(world.date + 10);
    world.archive.publish("stable", &packages, &release);
    let mutated = sync(&options).await;
    assert_eq!(
        told(&mutated),
        (RunResult::Failed, Reason::ContentMutated),
        "{mutated:?}"
    );
    // Once nobody may ask for it any more it is a name like any other.
    let options = keeping(&world, 1, 0);
    let report = sync(&options).await;
    assert_eq!(told(&report).0, RunResult::Published, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_news_gives_up_what_another_retention_no_longer_keeps() {
    let world = World::new(&["stable"]).await;
    let options = keeping(&world, 3, 48);
    sync(&options).await;
    for turn in 1..=2 {
        let packages = &world.packages[..3 - turn];
        let release = Release::of(world.date + 10 * turn as i64);
        world.archive.publish("stable", packages, &release);
        let report = sync(&options).await;
        assert_eq!(told(&report).0, RunResult::Published, "{report:?}");
    }
    assert_eq!(world.store().snapshots().unwrap().len(), 3);
    let same = sync(&options).await;
    assert_eq!(told(&same).0, RunResult::Unchanged, "{same:?}");
    assert_eq!(world.store().snapshots().unwrap().len(), 3);
    let fewer = keeping(&world, 1, 0);
    let report = sync(&fewer).await;
    assert_eq!(told(&report).0, RunResult::Unchanged, "{report:?}");
    let store = world.store();
    assert_eq!(store.snapshots().unwrap().len(), 1);
    let blob = |number: usize| {
        let digest = world.packages[number].sha256.parse().unwrap();
        store.blob_path(&digest).exists()
    };
    assert!(blob(0) && !blob(1) && !blob(2));
}
