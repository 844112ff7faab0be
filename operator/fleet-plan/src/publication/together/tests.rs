use proptest::prelude::*;

use super::*;
use crate::publication::Told;
use crate::publication::tests::{NEWEST, id, kept, order};

mod canary;
mod model;

const PATIENCE: i64 = 900;

/// One that is offered and serves the first by order 1.
pub fn member(keeps: &[u8]) -> Member {
    Member {
        copy: Copy {
            order: Some(order(1, 1)),
            told: Some(Told {
                kept: keeps.iter().copied().map(kept).collect(),
                follows: Some(order(1, 1)),
            }),
        },
        is_hub: false,
        is_canary: false,
        is_away: false,
        fails: false,
        is_deaf: false,
        withdrawn: None,
        is_routed: true,
    }
}

pub fn hub(keeps: &[u8]) -> Member {
    Member {
        is_hub: true,
        ..member(keeps)
    }
}

pub fn silent(member: Member, is_away: bool) -> Member {
    Member {
        copy: Copy {
            told: None,
            ..member.copy
        },
        is_away,
        ..member
    }
}

pub fn standing(n: u8) -> Standing {
    Standing {
        decided: Decided {
            epoch: 1,
            snapshot: Some(id(n)),
            pinned: false,
        },
        target: None,
        trial: None,
        halted: None,
    }
}

pub fn preparing(n: u8, since: i64) -> Standing {
    Standing {
        target: Some(Target {
            snapshot: id(n),
            since,
        }),
        ..standing(1)
    }
}

fn at(before: &Standing, members: &[Member], now: i64) -> Together {
    let clock = Clock {
        now,
        patience: PATIENCE,
    };
    decide(before, &NEWEST, &[], members, clock)
}

fn targeted(together: &Together) -> Option<u8> {
    together.target.map(|target| target.snapshot.0[0])
}

fn published(together: &Together) -> Option<u8> {
    together.decision.decided.snapshot.map(|id| id.0[0])
}

fn ordered(together: &Together) -> Vec<Option<u8>> {
    let orders = together.decision.orders.iter();
    orders
        .map(|order| order.map(|order| order.snapshot.0[0]))
        .collect()
}

#[test]
fn what_the_hub_prepared_is_served_once_all_have_it() {
    let next = at(&standing(1), &[hub(&[1, 2]), member(&[1])], 10);
    assert_eq!((targeted(&next), published(&next)), (Some(2), Some(1)));
    assert_eq!(next.target.unwrap().since, 10);
    assert_eq!(next.waited_for, [false, true]);
    assert_eq!(ordered(&next), [Some(1), Some(1)]);
    let all = at(&preparing(2, 10), &[hub(&[1, 2]), member(&[1, 2])], 20);
    assert_eq!((targeted(&all), published(&all)), (None, Some(2)));
    assert_eq!(ordered(&all), [Some(2), Some(2)]);
    assert_eq!(all.decision.decided.epoch, 2);
    assert_eq!(all.withdrawn, [None, None]);
}

#[test]
fn an_upstream_that_goes_on_does_not_move_the_target() {
    let members = [hub(&[1, 2, 3, 4]), member(&[1])];
    assert_eq!(targeted(&at(&preparing(2, 10), &members, 20)), Some(2));
    // Nobody has it any more.
    let gone = [hub(&[1, 3, 4]), member(&[1])];
    let next = at(&preparing(2, 10), &gone, 20);
    assert_eq!(targeted(&next), Some(4));
    assert_eq!(next.target.unwrap().since, 20);
    // Somebody has, or nobody can tell.
    let at_the_edge = [hub(&[1, 3]), member(&[1, 2]), member(&[1])];
    assert_eq!(targeted(&at(&preparing(2, 10), &at_the_edge, 20)), Some(2));
    let silent = [silent(hub(&[]), true), member(&[1])];
    let known = [1, 2].map(|n| Known {
        id: id(n),
        created: i64::from(n),
    });
    let clock = Clock {
        now: 20,
        patience: PATIENCE,
    };
    let next = decide(&preparing(2, 10), &NEWEST, &known, &silent, clock);
    assert_eq!(targeted(&next), Some(2));
}

#[test]
fn who_is_away_or_fails_is_withdrawn_at_once_and_published_without_once_routing_has_left_it() {
    let away = silent(member(&[]), true);
    let fails = Member {
        fails: true,
        ..member(&[1])
    };
    for gone in [away, fails] {
        let members = [hub(&[1, 2]), member(&[1, 2]), gone];
        let next = at(&preparing(2, 10), &members, 20);
        assert_eq!(next.withdrawn, [None, None, Some(20)]);
        assert_eq!(
            (targeted(&next), published(&next)),
            (Some(2), Some(1)),
            "routing leads there"
        );
        assert_eq!(next.waited_for, [false, false, true]);
        assert_eq!(next.look_again, Some(20 + ROUTING_PATIENCE));
        let [hub, edge, gone] = members;
        let left = Member {
            withdrawn: Some(20),
            is_routed: false,
            ..gone.clone()
        };
        let next = at(&preparing(2, 10), &[hub.clone(), edge.clone(), left], 25);
        assert_eq!(published(&next), Some(2));
        assert_eq!(
            ordered(&next),
            [Some(2), Some(2), Some(1)],
            "told only what it keeps"
        );
        // Routing that does not follow is not waited for for ever.
        let stuck = Member {
            withdrawn: Some(20),
            ..gone
        };
        let members = [hub, edge, stuck];
        let before = at(&preparing(2, 10), &members, 19 + ROUTING_PATIENCE);
        assert_eq!(published(&before), Some(1));
        let after = at(&preparing(2, 10), &members, 20 + ROUTING_PATIENCE);
        assert_eq!(published(&after), Some(2));
    }
}

#[test]
fn who_is_slow_has_its_time() {
    let members = [hub(&[1, 2]), member(&[1])];
    let before = at(&preparing(2, 10), &members, 9 + PATIENCE);
    assert_eq!(before.withdrawn, [None, None]);
    assert_eq!(before.look_again, Some(10 + PATIENCE));
    let after = at(&preparing(2, 10), &members, 10 + PATIENCE);
    assert_eq!(after.withdrawn, [None, Some(10 + PATIENCE)]);
}

#[test]
fn who_was_withdrawn_comes_back_by_catching_up_and_does_not_flap() {
    // It serves what all serve, and is late with what comes next.
    let slow = Member {
        withdrawn: Some(910),
        ..member(&[1])
    };
    let members = [hub(&[1, 2]), slow.clone()];
    let next = at(&preparing(2, 10), &members, 920);
    assert_eq!(next.withdrawn, [None, Some(910)]);
    // The others went on.
    let of_two = |member: Member| {
        let mut copy = member.copy.clone();
        copy.order = Some(order(2, 2));
        copy.told.as_mut().unwrap().follows = Some(order(2, 2));
        Member { copy, ..member }
    };
    let mut served = standing(2);
    served.decided.epoch = 2;
    let hub = of_two(hub(&[1, 2]));
    let next = at(&served, &[hub.clone(), slow], 1000);
    assert_eq!(next.withdrawn, [None, Some(910)]);
    let has_it = Member {
        withdrawn: Some(910),
        ..member(&[1, 2])
    };
    let next = at(&served, &[hub.clone(), has_it.clone()], 1000);
    assert_eq!(ordered(&next), [Some(2), Some(2)]);
    assert_eq!(
        next.withdrawn,
        [None, Some(910)],
        "it does not serve it yet"
    );
    let next = at(&served, &[hub, of_two(has_it)], 1010);
    assert_eq!(next.withdrawn, [None, None]);
}

#[test]
fn who_has_almost_caught_up_is_waited_for_and_who_has_nothing_new_is_not() {
    let waits = |keeps: &[u8], now: i64| {
        let joins = Member {
            withdrawn: Some(0),
            is_routed: false,
            ..member(keeps)
        };
        let since = PATIENCE + 5;
        let next = at(&preparing(9, since), &[hub(&[1, 5, 6, 9]), joins], now);
        published(&next) == Some(1)
    };
    let soon = PATIENCE + 10;
    assert!(waits(&[5], soon), "what it has was new then");
    assert!(!waits(&[4], soon));
    assert!(!waits(&[], soon), "it copies for the first time");
    assert!(!waits(&[5], 2 * PATIENCE + 5), "nor longer than for others");
}

#[test]
fn never_are_all_withdrawn() {
    let fails = Member {
        fails: true,
        ..member(&[1])
    };
    let members = [silent(hub(&[]), true), fails];
    let next = at(&preparing(2, 10), &members, 5000);
    assert_eq!(next.withdrawn, [None, None], "nobody has anything newer");
    assert_eq!(published(&next), Some(1));
}

#[test]
fn who_has_not_been_asked_is_waited_for() {
    let members = [hub(&[1, 2]), silent(member(&[]), false)];
    let next = at(&preparing(2, 10), &members, 20);
    assert_eq!(next.withdrawn, [None, None]);
    assert_eq!((targeted(&next), published(&next)), (Some(2), Some(1)));
}

#[test]
fn a_pin_waits_for_nobody_and_leaves_out_who_lacks_it() {
    let pinned = id(1).to_string();
    let wish = Wish {
        pinned: &pinned,
        ..NEWEST
    };
    let mut served = standing(2);
    served.target = Some(Target {
        snapshot: id(3),
        since: 0,
    });
    let clock = Clock {
        now: 50,
        patience: PATIENCE,
    };
    let members = [hub(&[1, 2, 3]), member(&[2])];
    let next = decide(&served, &wish, &[], &members, clock);
    assert_eq!((published(&next), targeted(&next)), (Some(1), None));
    assert_eq!(next.withdrawn, [None, Some(50)]);
    assert!(next.decision.decided.pinned);
    let skip = [id(2).to_string()];
    let wish = Wish {
        skip: &skip,
        ..NEWEST
    };
    let next = decide(
        &standing(2),
        &wish,
        &[],
        &[hub(&[1, 2]), member(&[2])],
        clock,
    );
    assert_eq!(published(&next), Some(1), "the way back is one");
    assert_eq!(next.withdrawn, [None, Some(50)]);
}

#[test]
fn a_pod_that_does_not_follow_holds_up_nobody() {
    let deaf = |is_deaf| Member {
        copy: Copy {
            order: Some(order(2, 1)),
            ..member(&[1, 2]).copy
        },
        is_deaf,
        ..member(&[1, 2])
    };
    let next = at(&preparing(2, 10), &[hub(&[1, 2]), deaf(false)], 20);
    assert_eq!(published(&next), Some(1), "it has its time");
    let next = at(&preparing(2, 10), &[hub(&[1, 2]), deaf(true)], 20);
    assert_eq!(next.withdrawn, [None, Some(20)]);
}

#[test]
fn where_nobody_follows_nobody_is_left_out() {
    let deaf = || Member {
        copy: Copy {
            order: Some(order(2, 2)),
            ..member(&[1, 2]).copy
        },
        is_deaf: true,
        ..member(&[1, 2])
    };
    // Nodes do not hear of what is decided: all serve what they did.
    let next = at(&standing(2), &[deaf(), deaf(), deaf()], 20);
    assert_eq!(next.withdrawn, [None; 3]);
    // One does, and the others are not like it any more.
    let mut one = deaf();
    one.is_deaf = false;
    one.copy.told.as_mut().unwrap().follows = Some(order(2, 2));
    let next = at(&standing(2), &[deaf(), one.clone(), deaf()], 30);
    assert_eq!(next.withdrawn, [Some(30), None, Some(30)]);
    // It counts for others only while clients are led to it.
    one.withdrawn = Some(5);
    let next = at(&standing(2), &[deaf(), one, deaf()], 30);
    assert_eq!(next.withdrawn, [None; 3]);
}
