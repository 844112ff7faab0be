//! Which regions the lists leave out since they are too far behind, where each fetches for itself. (Regions that follow each
//! other serve the same, so that none is further behind than another; who does not serve it is left out by
//! [`together`](crate::publication::together).)
//!
//! There are two thresholds, so that nobody comes and goes: a region is left out when it has been behind for longer than
//! `withdrawAfter`, and is back when it is behind for less than the objective. What is not known changes nothing. So many
//! healthy regions as are wanted stay, and one in any case: where there are fewer, those that are behind least.

use std::cmp::Reverse;

/// A region, in seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Since when it has been left out; none while it is not.
    pub withdrawn: Option<i64>,
    pub standing: Standing,
}

/// How far behind the authority a region is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It serves what the authority has.
    Current,
    BehindSince(i64),
    Unknown,
}

/// What the manifest allows, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Who is behind for less is back.
    pub objective: i64,
    /// Who is behind for longer is left out.
    pub withdraw_after: i64,
    /// So many regions that are not behind for longer stay.
    pub least: usize,
}

/// Since when each region is left out, decided at `now`.
pub fn decide(members: &[Member], limits: Limits, now: i64) -> Vec<Option<i64>> {
    let mut out: Vec<Option<i64>> = members
        .iter()
        .map(|member| stands(member, limits, now))
        .collect();
    let healthy = members.iter().zip(&out).filter(|(member, out)| {
        let known = member.standing != Standing::Unknown;
        known && out.is_none()
    });
    let lacking = limits.least.max(1).saturating_sub(healthy.count());
    let mut least_behind: Vec<usize> = (0..members.len())
        .filter(|at| out[*at].is_some() && members[*at].standing != Standing::Unknown)
        .collect();
    least_behind.sort_by_key(|at| match members[*at].standing {
        Standing::BehindSince(since) => (Reverse(since), members[*at].withdrawn.is_some()),
        Standing::Current | Standing::Unknown => (Reverse(i64::MAX), false),
    });
    for at in least_behind.into_iter().take(lacking) {
        out[at] = None;
    }
    out
}

/// Since when a region is left out, whatever the others do.
fn stands(member: &Member, limits: Limits, now: i64) -> Option<i64> {
    let behind = match member.standing {
        Standing::Current => 0,
        Standing::BehindSince(since) => now.saturating_sub(since),
        Standing::Unknown => return member.withdrawn,
    };
    match member.withdrawn {
        Some(since) => (behind >= limits.objective).then_some(since),
        None => (behind > limits.withdraw_after).then_some(now),
    }
}

/// When time alone has somebody left out.
pub fn look_again(members: &[Member], limits: Limits, now: i64) -> Option<i64> {
    let ends = members.iter().filter_map(|member| match member {
        Member {
            withdrawn: None,
            standing: Standing::BehindSince(since),
        } => Some(
            since
                .saturating_add(limits.withdraw_after)
                .saturating_add(1),
        ),
        _ => None,
    });
    ends.filter(|at| *at > now).min()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        objective: 100,
        withdraw_after: 400,
        least: 1,
    };
    const NOW: i64 = 1000;

    fn out(members: &[(Option<i64>, Standing)], least: usize) -> Vec<Option<i64>> {
        let members: Vec<Member> = members
            .iter()
            .map(|(withdrawn, standing)| Member {
                withdrawn: *withdrawn,
                standing: *standing,
            })
            .collect();
        decide(&members, Limits { least, ..LIMITS }, NOW)
    }

    #[test]
    fn who_is_behind_for_long_is_left_out_and_is_back_once_it_has_caught_up() {
        use Standing::{BehindSince, Current, Unknown};
        let current = (None, Current);
        for (withdrawn, standing, wanted) in [
            (None, BehindSince(NOW - 400), None),
            (None, BehindSince(NOW - 401), Some(NOW)),
            (Some(7), BehindSince(NOW - 401), Some(7)),
            (Some(7), BehindSince(NOW - 100), Some(7)),
            (Some(7), BehindSince(NOW - 99), None),
            (Some(7), Current, None),
            (Some(7), Unknown, Some(7)),
            (None, Unknown, None),
        ] {
            let told = out(&[current, (withdrawn, standing)], 1);
            assert_eq!(told, [None, wanted], "{withdrawn:?} {standing:?}");
        }
    }

    #[test]
    fn those_that_are_behind_least_stay_where_too_few_are_left() {
        use Standing::{BehindSince, Unknown};
        let late = |by: i64| (None, BehindSince(NOW - by));
        assert_eq!(
            out(&[late(900), late(500), late(700)], 1),
            [Some(NOW), None, Some(NOW)]
        );
        assert_eq!(
            out(&[late(900), late(500), late(700)], 2),
            [Some(NOW), None, None]
        );
        // Who cannot be asked may be gone.
        assert_eq!(out(&[late(900), (None, Unknown)], 1), [None, None]);
        assert_eq!(out(&[late(900)], 1), [None], "the last one");
    }

    fn member() -> impl Strategy<Value = Member> {
        let standing = prop_oneof![
            Just(Standing::Current),
            Just(Standing::Unknown),
            (0..NOW).prop_map(Standing::BehindSince),
        ];
        (prop::option::of(0..NOW), standing).prop_map(|(withdrawn, standing)| Member {
            withdrawn,
            standing,
        })
    }

    proptest! {
        #[test]
        fn enough_regions_stay_nobody_goes_by_what_is_not_known_and_it_comes_to_rest(
            members in prop::collection::vec(member(), 1..8),
            least in 0usize..5,
        ) {
            let limits = Limits { least, ..LIMITS };
            let told = decide(&members, limits, NOW);
            let known = |member: &Member| member.standing != Standing::Unknown;
            let stay = members.iter().zip(&told).filter(|(member, out)| known(member) && out.is_none()).count();
            let could = members.iter().filter(|member| known(member)).count();
            prop_assert!(stay >= limits.least.max(1).min(could));
            for (member, out) in members.iter().zip(&told) {
                if !known(member) {
                    prop_assert_eq!(*out, member.withdrawn);
                }
            }
            let again: Vec<Member> = members.iter().zip(&told)
                .map(|(member, out)| Member { withdrawn: *out, ..*member }).collect();
            prop_assert_eq!(decide(&again, limits, NOW), told);
        }
    }
}
