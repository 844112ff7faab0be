//! Runs that only prepare, and snapshots that are skipped.

use fleet_store::SnapshotId;
use fleet_sync::{Publishing, RunResult};
use fleet_types::documents::{NextOwnFiles, OwnFiles};
use fleet_types::{Order, Reason};

use crate::support::archive::Release;
use crate::support::{World, sync, told};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_only_prepares_publishes_nothing_and_settles_what_was_ordered() {
    let world = World::new(&["stable"]).await;
    let mut options = world.options(&["stable"]);
    let by_order = |order, keep: &[SnapshotId]| Publishing::ByOrder {
        order,
        keep: keep.to_vec(),
    };
    options.publishing = by_order(None, &[]);
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Prepared, Reason::Prepared),
        "{report:?}"
    );
    let first = report.prepared.unwrap();
    assert_eq!(
        (report.snapshot, world.store().current().unwrap()),
        (None, None)
    );
    let own = |name: &str| world.store().state::<serde_json::Value>(name).unwrap();
    assert_eq!(
        own(OwnFiles::DOCUMENT),
        None,
        "nothing is served that it could speak of"
    );
    assert_eq!(
        own(NextOwnFiles::DOCUMENT).unwrap()["snapshot"],
        first.id.to_string()
    );

    // Ordered meanwhile; nothing is new.
    let order = Order {
        epoch: 3,
        snapshot: first.id,
    };
    options.publishing = by_order(Some(order), &[]);
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Unchanged, Reason::Unchanged),
        "{report:?}"
    );
    assert_eq!(world.store().settled_order().unwrap(), Some(order));
    assert!(own(OwnFiles::DOCUMENT).is_some());

    // Something new is prepared, and what is to be kept stays although nobody else asks for it.
    let mut kept = vec![SnapshotId(first.id)];
    for n in 1..4u8 {
        let count = world.packages.len() - usize::from(n % 2);
        let release = Release::of(world.date + i64::from(n) * 10);
        world
            .archive
            .publish("stable", &world.packages[..count], &release);
        options.publishing = by_order(Some(order), &kept);
        let report = sync(&options).await;
        assert_eq!(told(&report).1, Reason::Prepared, "{report:?}");
        kept.push(SnapshotId(report.prepared.unwrap().id));
        assert_eq!(
            world.store().current().unwrap(),
            Some(kept[0]),
            "nobody ordered it"
        );
    }
    let ids: Vec<SnapshotId> = (world.store().snapshots().unwrap().iter())
        .map(|info| info.id)
        .collect();
    assert_eq!(ids, kept);
    // An older order than what was settled changes nothing; one that was skipped in between is settled as well.
    for (epoch, of, current) in [(2, 2, 0), (9, 2, 2)] {
        let order = Order {
            epoch,
            snapshot: kept[of].0,
        };
        options.publishing = by_order(Some(order), &kept);
        assert_eq!(told(&sync(&options).await).1, Reason::Unchanged);
        assert_eq!(world.store().current().unwrap(), Some(kept[current]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_skipped_is_not_served_until_it_is_no_longer_or_something_newer_comes() {
    let world = World::new(&["stable"]).await;
    let mut options = world.options(&["stable"]);
    let publish = |count: usize, later| {
        let release = Release::of(world.date + later);
        let packages = &world.packages[..count];
        world.archive.publish("stable", packages, &release);
    };
    let first = sync(&options).await.snapshot.unwrap();
    publish(2, 10);
    let second = sync(&options).await.snapshot.unwrap();
    let skipping = |skip: &[&String]| Publishing::ByRun {
        pinned: None,
        skip: skip.iter().map(|id| id[..12].to_owned()).collect(),
    };
    for (skip, reason, served) in [
        (vec![&second], Reason::RolledBack, &first),
        (vec![&second], Reason::RolledBack, &first),
        (vec![], Reason::Published, &second),
        (vec![&second], Reason::RolledBack, &first),
        // Nothing else is there.
        (vec![&first, &second], Reason::Published, &second),
        (vec![&second], Reason::RolledBack, &first),
    ] {
        options.publishing = skipping(&skip);
        let report = sync(&options).await;
        assert_eq!(
            (report.reason, report.snapshot.as_ref()),
            (reason, Some(served))
        );
    }
    publish(3, 20);
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::Published),
        "{report:?}"
    );
    assert!(report.snapshot.as_ref() != Some(&first) && report.snapshot.as_ref() != Some(&second));
}
