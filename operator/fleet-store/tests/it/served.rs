//! What is served: the newest, unless a person or whoever orders decides otherwise.

use fleet_store::*;
use fleet_types::{Order, Reason};

use crate::common::*;

#[test]
fn a_person_decides_over_what_a_sync_publishes() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path());
    let (one, two) = (
        publish(&writer, 1, &[("x", "1")]),
        publish(&writer, 2, &[("x", "2")]),
    );
    writer.rollback(&one, 3).unwrap();
    assert_eq!(
        (
            writer.current().unwrap(),
            writer.rolled_back_from().unwrap()
        ),
        (Some(one), Some(two))
    );
    assert_eq!(
        writer.publish(&two, 4).unwrap(),
        Publication::HeldByRollback { serving: one }
    );
    let three = prepare(&writer, 5, &[("x", "3")]).unwrap();
    assert_eq!(
        writer.publish(&three, 5).unwrap(),
        Publication::Switched { from: Some(one) }
    );
    assert_eq!(writer.rolled_back_from().unwrap(), None);
    writer.pin(&two, 6).unwrap();
    assert_eq!(
        writer.publish(&three, 7).unwrap(),
        Publication::HeldByPin { pinned: two }
    );
    assert_eq!(
        (writer.current().unwrap(), writer.pinned().unwrap()),
        (Some(two), Some(two))
    );
    writer.unpin().unwrap();
    assert_eq!(
        writer.publish(&three, 8).unwrap(),
        Publication::Switched { from: Some(two) }
    );
    assert_eq!(writer.publish(&three, 9).unwrap(), Publication::Unchanged);
    let infos = writer.snapshots().unwrap();
    let times: Vec<_> = infos
        .iter()
        .map(|i| (i.id, i.published_at, i.superseded_at))
        .collect();
    assert_eq!(
        times,
        [
            (one, Some(1), Some(5)),
            (two, Some(2), Some(8)),
            (three, Some(5), None)
        ]
    );
    let unknown = SnapshotId(sha256(b"unknown"));
    assert_eq!(text_of(writer.pin(&unknown, 9)).0, Reason::SnapshotNotFound);
    assert_eq!(writer.pinned().unwrap(), None);
}

#[test]
fn whoever_orders_decides_alone_and_never_back_to_an_older_decision() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path());
    let one = publish(&writer, 1, &[("x", "1")]);
    let two = prepare(&writer, 2, &[("x", "2")]).unwrap();
    let order = |epoch, id: SnapshotId| Order {
        epoch,
        snapshot: id.0,
    };
    assert_eq!(writer.settled_order().unwrap(), Some(order(0, one)));
    writer.pin(&one, 3).unwrap();
    writer.settle(&order(7, two), 4).unwrap();
    assert_eq!(writer.settled_order().unwrap(), Some(order(7, two)));
    assert_eq!(
        (writer.current().unwrap(), writer.pinned().unwrap()),
        (Some(two), None)
    );
    for older in [order(6, one), order(7, one)] {
        writer.settle(&older, 5).unwrap();
        assert_eq!(writer.settled_order().unwrap(), Some(order(7, two)));
    }
    // The same snapshot by a newer order.
    writer.settle(&order(8, two), 6).unwrap();
    writer.settle(&order(7, one), 7).unwrap();
    assert_eq!(writer.settled_order().unwrap(), Some(order(8, two)));
    let unknown = SnapshotId(sha256(b"unknown"));
    let refused = text_of(writer.settle(&order(9, unknown), 8));
    assert_eq!(refused.0, Reason::SnapshotNotFound);
    drop(writer);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(
        store.settled_order().unwrap(),
        Some(order(8, two)),
        "durable"
    );
}

#[test]
fn only_a_way_back_changes_dates() {
    let dir = tempfile::tempdir().unwrap();
    let writer = writer(dir.path());
    let one = publish(&writer, 1, &[("x", "1")]);
    let two = prepare(&writer, 2, &[("x", "2")]).unwrap();
    let settle = |epoch, id: SnapshotId, now| {
        let snapshot = id.0;
        writer.settle(&Order { epoch, snapshot }, now).unwrap();
        writer.returned().unwrap().at
    };
    assert_eq!(
        settle(1, one, 10),
        None,
        "the first order for what was served"
    );
    assert_eq!(
        settle(5, two, 20),
        None,
        "forward, while other regions moved"
    );
    assert_eq!(
        settle(7, two, 30),
        Some(30),
        "told anew: it was another one"
    );
    assert_eq!(settle(8, one, 40), Some(40), "back");
    assert_eq!(settle(9, two, 50), Some(50), "forward again");
}
