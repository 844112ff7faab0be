//! One region goes first.

use super::*;

const SOAK: i64 = 600;
const WISH: Wish = Wish {
    soak: Some(SOAK),
    ..NEWEST
};

fn canary(keeps: &[u8]) -> Member {
    Member {
        is_canary: true,
        ..member(keeps)
    }
}

fn next(before: &Standing, wish: &Wish, members: &[Member], now: i64) -> Together {
    let clock = Clock {
        now,
        patience: PATIENCE,
    };
    decide(before, wish, &[], members, clock)
}

fn trying(since: i64, verdict: Option<Verdict>) -> Standing {
    Standing {
        trial: Some(Trial {
            snapshot: id(2),
            since,
            verdict,
        }),
        ..preparing(2, 0)
    }
}

/// Told by order 2, and following it.
fn serving(n: u8, member: Member) -> Member {
    let mut copy = member.copy.clone();
    copy.order = Some(order(2, n));
    copy.told.as_mut().unwrap().follows = Some(order(2, n));
    Member { copy, ..member }
}

fn all() -> [Member; 3] {
    [hub(&[1, 2]), canary(&[1, 2]), member(&[1, 2])]
}

fn tried() -> [Member; 3] {
    let [hub, canary, member] = all();
    [hub, serving(2, canary), member]
}

#[test]
fn the_canary_is_told_first_once_all_have_it() {
    let lacks = [hub(&[1, 2]), canary(&[1, 2]), member(&[1])];
    let waits = next(&preparing(2, 0), &WISH, &lacks, 50);
    assert_eq!((waits.trial, ordered(&waits)), (None, vec![Some(1); 3]));
    let begins = next(&preparing(2, 0), &WISH, &all(), 50);
    assert_eq!(ordered(&begins), [Some(1), Some(2), Some(1)]);
    assert_eq!((targeted(&begins), published(&begins)), (Some(2), Some(1)));
    assert_eq!(begins.trial, trying(50, None).trial);
    assert_eq!(begins.look_again, Some(PATIENCE));
    // Nothing new while it goes on.
    let goes_on = next(&trying(50, None), &WISH, &tried(), 60);
    assert_eq!(
        (goes_on.trial, goes_on.decision.decided.epoch),
        (begins.trial, 1)
    );
    assert_eq!(ordered(&goes_on), [Some(1), Some(2), Some(1)]);
}

#[test]
fn what_has_soaked_and_was_found_good_is_served_by_all() {
    let good = trying(50, Some(Verdict::Good));
    let early = next(&good, &WISH, &tried(), 49 + SOAK);
    assert_eq!(
        (published(&early), early.look_again),
        (Some(1), Some(50 + SOAK))
    );
    let soaked = next(&good, &WISH, &tried(), 50 + SOAK);
    assert_eq!((published(&soaked), targeted(&soaked)), (Some(2), None));
    assert_eq!(ordered(&soaked), [Some(2); 3]);
    assert_eq!((soaked.trial, soaked.halted), (None, None));
}

#[test]
fn what_is_found_bad_is_given_up_at_once_and_only_something_newer_comes_next() {
    let bad = next(&trying(50, Some(Verdict::Bad)), &WISH, &tried(), 60);
    assert_eq!(
        (bad.halted, published(&bad), targeted(&bad)),
        (Some(id(2)), Some(1), None)
    );
    assert_eq!(ordered(&bad), [Some(1); 3], "the canary goes back");
    let mut halted = standing(1);
    halted.halted = Some(id(2));
    let stays = next(&halted, &WISH, &tried(), 5000);
    assert_eq!((targeted(&stays), stays.halted), (None, Some(id(2))));
    assert_eq!(ordered(&stays), [Some(1); 3]);
    let newer = [hub(&[1, 2, 3]), canary(&[1, 2]), member(&[1, 2])];
    assert_eq!(targeted(&next(&halted, &WISH, &newer, 70)), Some(3));
    // A person may have it all the same, and then it is what is served.
    let pinned = id(2).to_string();
    let wish = Wish {
        pinned: &pinned,
        ..WISH
    };
    let pinned = next(&halted, &wish, &all(), 70);
    assert_eq!((published(&pinned), pinned.halted), (Some(2), None));
}

#[test]
fn nobody_waits_for_a_canary_that_is_away() {
    let [hub, canary, member] = all();
    let away = Member {
        withdrawn: Some(10),
        is_routed: false,
        ..silent(canary.clone(), true)
    };
    let without = next(
        &preparing(2, 0),
        &WISH,
        &[hub.clone(), away, member.clone()],
        50,
    );
    assert_eq!((published(&without), without.trial), (Some(2), None));
    // One that goes away while it tries has its time.
    let left = Member {
        withdrawn: Some(60),
        is_routed: false,
        ..silent(serving(2, canary), true)
    };
    let members = [hub, left, member];
    let over = 50 + SOAK + PATIENCE;
    let waits = next(&trying(50, None), &WISH, &members, over - 1);
    assert_eq!((published(&waits), waits.look_again), (Some(1), Some(over)));
    assert_eq!(
        published(&next(&trying(50, None), &WISH, &members, over)),
        Some(2)
    );
}

#[test]
fn while_it_is_paused_nothing_newer_is_served_and_what_is_bad_goes_all_the_same() {
    let paused = Wish {
        paused: true,
        ..WISH
    };
    let waits = next(&preparing(2, 0), &paused, &all(), 50);
    assert_eq!((waits.trial, targeted(&waits)), (None, Some(2)));
    let good = next(&trying(50, Some(Verdict::Good)), &paused, &tried(), 5000);
    assert_eq!((published(&good), ordered(&good)[1]), (Some(1), Some(2)));
    let bad = next(&trying(50, Some(Verdict::Bad)), &paused, &tried(), 60);
    assert_eq!((bad.halted, ordered(&bad)), (Some(id(2)), vec![Some(1); 3]));
    let alone = Wish {
        paused: true,
        ..NEWEST
    };
    let alone = next(&preparing(2, 0), &alone, &all(), 5000);
    assert_eq!(published(&alone), Some(1));
}

#[test]
fn without_a_canary_what_was_being_tried_is_served_by_all() {
    let all = next(&trying(50, None), &NEWEST, &tried(), 60);
    assert_eq!(
        (published(&all), ordered(&all)),
        (Some(2), vec![Some(2); 3])
    );
}
