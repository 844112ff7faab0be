use fleet_types::documents::UnixSeconds;
use proptest::prelude::*;

use super::*;

mod model;

pub fn id(n: u8) -> Sha256 {
    Sha256([n; 32])
}

pub fn kept(n: u8) -> KeptSnapshot {
    KeptSnapshot {
        id: id(n),
        created: UnixSeconds(i64::from(n)),
        date: None,
        superseded_at: None,
        index: None,
        changes: None,
        bytes: None,
    }
}

pub fn order(epoch: u64, n: u8) -> Order {
    Order {
        epoch,
        snapshot: id(n),
    }
}

fn copy(before: Option<Order>, keeps: &[u8]) -> Copy {
    Copy {
        order: before,
        told: Some(Told {
            kept: keeps.iter().copied().map(kept).collect(),
            follows: before,
        }),
    }
}

const NOTHING: Decided = Decided {
    epoch: 0,
    snapshot: None,
    pinned: false,
};

pub const NEWEST: Wish = Wish {
    pinned: "",
    skip: &[],
    paused: false,
    soak: None,
};

fn decided(epoch: u64, n: u8) -> Decided {
    Decided {
        epoch,
        snapshot: Some(id(n)),
        pinned: false,
    }
}

#[test]
fn the_newest_is_ordered_and_then_nothing_more() {
    let first = decide(&NOTHING, &NEWEST, &[], &[copy(None, &[1])]);
    assert_eq!(first.decided, decided(1, 1));
    assert_eq!(first.orders, [Some(order(1, 1))]);
    let same = decide(&first.decided, &NEWEST, &[], &[copy(first.orders[0], &[1])]);
    assert_eq!(
        (&same.decided, &same.orders),
        (&first.decided, &first.orders)
    );
    let next = decide(
        &same.decided,
        &NEWEST,
        &[],
        &[copy(same.orders[0], &[1, 2])],
    );
    assert_eq!(
        (next.decided, next.orders[0]),
        (decided(2, 2), Some(order(2, 2)))
    );
}

#[test]
fn a_pin_is_found_once_and_ends_with_the_newest() {
    let copies = [copy(Some(order(3, 3)), &[1, 2, 3])];
    let pin = id(1).to_string();
    let wish = Wish {
        pinned: &pin[..8],
        ..NEWEST
    };
    let pinned = decide(&decided(3, 3), &wish, &[], &copies);
    assert_eq!(pinned.orders, [Some(order(4, 1))]);
    assert!(pinned.decided.pinned && pinned.decided.snapshot == Some(id(1)));
    // One that begins like it makes no difference, nor does one that is newer.
    let mut twin = kept(4);
    twin.id.0[..4].copy_from_slice(&[1; 4]);
    let mut copies = [copy(pinned.orders[0], &[1, 2, 3])];
    copies[0].told.as_mut().unwrap().kept.push(twin);
    let held = decide(&pinned.decided, &wish, &[], &copies);
    assert_eq!((&held.decided, held.unfulfilled), (&pinned.decided, None));
    let found_late = decide(&decided(4, 3), &wish, &[], &copies);
    assert_eq!(found_late.unfulfilled, Some(Unfulfilled::PinAmbiguous));
    assert_eq!(found_late.orders, [Some(order(4, 1))], "nothing moves");
    let ended = decide(&held.decided, &NEWEST, &[], &copies);
    assert_eq!(
        ended.orders[0].map(|order| (order.epoch, order.snapshot)),
        Some((5, twin.id))
    );
    assert!(!ended.decided.pinned);
}

#[test]
fn a_pin_that_nobody_keeps_moves_nothing_and_is_told_once_somebody_answers() {
    let wish = Wish {
        pinned: "0123456789",
        ..NEWEST
    };
    let before = decided(3, 3);
    let told = decide(&before, &wish, &[], &[copy(Some(order(3, 3)), &[3, 4])]);
    assert_eq!(
        (told.decided, told.unfulfilled),
        (before.clone(), Some(Unfulfilled::PinNotFound))
    );
    assert_eq!(told.orders, [Some(order(3, 3))]);
    let silent = Copy {
        order: Some(order(3, 3)),
        told: None,
    };
    assert_eq!(decide(&before, &wish, &[], &[silent]).unfulfilled, None);
}

#[test]
fn what_is_skipped_is_not_served_and_the_next_one_ends_it() {
    let skip = [id(3).to_string()[..12].to_owned()];
    let wish = Wish {
        skip: &skip,
        ..NEWEST
    };
    let back = decide(
        &decided(3, 3),
        &wish,
        &[],
        &[copy(Some(order(3, 3)), &[2, 3])],
    );
    assert_eq!(
        (back.decided.clone(), back.orders[0]),
        (decided(4, 2), Some(order(4, 2)))
    );
    let on = decide(
        &back.decided,
        &wish,
        &[],
        &[copy(back.orders[0], &[2, 3, 4])],
    );
    assert_eq!(
        (on.decided, on.orders[0]),
        (decided(5, 4), Some(order(5, 4)))
    );
    let all = decide(&decided(3, 3), &wish, &[], &[copy(Some(order(3, 3)), &[3])]);
    assert_eq!(all.unfulfilled, Some(Unfulfilled::AllSkipped));
    assert_eq!(
        all.orders,
        [Some(order(3, 3))],
        "something is served all the same"
    );
    let pin = id(3).to_string();
    let both = Wish {
        pinned: &pin,
        skip: &skip,
        ..NEWEST
    };
    let pinned = decide(
        &decided(4, 2),
        &both,
        &[],
        &[copy(Some(order(4, 2)), &[2, 3])],
    );
    assert_eq!(pinned.orders, [Some(order(5, 3))], "a pin says which one");
}

#[test]
fn a_copy_is_told_only_what_it_keeps_and_goes_on_by_itself() {
    let here = copy(Some(order(2, 2)), &[1, 2, 3]);
    let behind = copy(Some(order(1, 1)), &[1]);
    let made = decide(&decided(2, 2), &NEWEST, &[], &[here, behind]);
    assert_eq!(made.decided, decided(3, 3));
    assert_eq!(made.orders, [Some(order(3, 3)), Some(order(1, 1))]);
    // The one behind has caught up with an older state than the others have: it serves that, and nothing was taken back.
    let copies = [
        copy(Some(order(3, 3)), &[3]),
        copy(Some(order(1, 1)), &[1, 2]),
    ];
    let caught_up = decide(&made.decided, &NEWEST, &[], &copies);
    assert_eq!(caught_up.orders, [Some(order(3, 3)), Some(order(4, 2))]);
    assert_eq!(caught_up.decided, decided(4, 3));
}

#[test]
fn who_was_told_something_by_others_is_told_anew() {
    let by_hand = |follows: Order| {
        let mut copy = copy(Some(order(3, 3)), &[1, 2, 3]);
        copy.told.as_mut().unwrap().follows = Some(follows);
        decide(&decided(3, 3), &NEWEST, &[], &[copy]).orders[0]
    };
    assert_eq!(by_hand(order(9, 1)), Some(order(10, 3)));
    assert_eq!(
        by_hand(order(9, 3)),
        Some(order(10, 3)),
        "it would not listen to the next"
    );
    assert_eq!(by_hand(order(3, 1)), Some(order(4, 3)));
    assert_eq!(
        by_hand(order(2, 2)),
        Some(order(3, 3)),
        "it has not heard yet"
    );
    let most = Order::MAX_EPOCH;
    assert_eq!(by_hand(order(most, 1)), Some(order(most, 3)));
}

#[test]
fn a_volume_that_outlived_its_mirror_is_told_what_counts_for_it() {
    let mut old = copy(None, &[1, 2]);
    old.told.as_mut().unwrap().follows = Some(order(41, 2));
    let taken_up = decide(&NOTHING, &NEWEST, &[], &[old]);
    assert_eq!(
        (taken_up.decided, taken_up.orders[0]),
        (decided(42, 2), Some(order(42, 2)))
    );
}

#[test]
fn who_cannot_be_asked_changes_nothing_of_what_was_decided() {
    let silent = Copy {
        order: Some(order(3, 3)),
        told: None,
    };
    let behind = copy(Some(order(2, 2)), &[1, 2]);
    let known = [Known {
        id: id(3),
        created: 3,
    }];
    let decision = decide(&decided(3, 3), &NEWEST, &known, &[silent, behind]);
    assert_eq!(decision.decided, decided(3, 3));
    assert_eq!(decision.orders, [Some(order(3, 3)), Some(order(2, 2))]);
}

#[test]
fn a_snapshot_that_is_lost_is_not_replaced_by_an_older_one() {
    let known = [Known {
        id: id(3),
        created: 3,
    }];
    let lost = [copy(Some(order(3, 3)), &[1, 2])];
    let decision = decide(&decided(3, 3), &NEWEST, &known, &lost);
    assert_eq!(
        (decision.decided, decision.orders[0]),
        (decided(3, 3), Some(order(3, 3)))
    );
    let mended = [copy(Some(order(3, 3)), &[1, 2, 4])];
    assert_eq!(
        decide(&decided(3, 3), &NEWEST, &known, &mended).orders[0],
        Some(order(4, 4))
    );
}

#[test]
fn clocks_of_other_copies_hold_nobody_up() {
    // The same snapshot was made here at 2 and elsewhere at 9, which is what is known of it.
    let known = [Known {
        id: id(2),
        created: 9,
    }];
    let next = [copy(Some(order(2, 2)), &[1, 2, 3])];
    let decision = decide(&decided(2, 2), &NEWEST, &known, &next);
    assert_eq!(decision.orders, [Some(order(3, 3))]);
}

#[test]
fn while_it_is_paused_nobody_goes_on_and_who_has_nothing_begins() {
    let paused = Wish {
        paused: true,
        ..NEWEST
    };
    let copies = [copy(Some(order(3, 1)), &[1, 2]), copy(None, &[1, 2])];
    let decision = decide(&decided(3, 1), &paused, &[], &copies);
    assert_eq!(decision.decided.snapshot, Some(id(1)));
    assert_eq!(decision.orders, [Some(order(3, 1)), Some(order(4, 2))]);
    // A person's word goes before.
    let skip = [id(1).to_string()];
    let skipped = Wish {
        skip: &skip,
        ..paused
    };
    let decision = decide(&decided(3, 1), &skipped, &[], &copies[..1]);
    assert_eq!(decision.orders, [Some(order(4, 2))]);
    let on = decide(&decided(3, 1), &NEWEST, &[], &copies[..1]);
    assert_eq!(on.orders, [Some(order(4, 2))]);
}
