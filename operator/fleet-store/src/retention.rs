//! Which snapshots are given up: a decision from plain values.

use crate::{Retention, SnapshotId, SnapshotInfo};

/// The snapshots to drop, given all of them oldest first.
///
/// Kept are: what is served, pinned or held (`held`), the newest one that was prepared and not yet served, the newest
/// `keep` that were served (the current one counts), and what was superseded less than `min_age` before `now`. At
/// most [`Retention::MAX_KEPT`] are kept by number and age together; those beyond go, longest superseded first, and what
/// clients may still ask for of them is kept by name ([`crate::retain`]).
pub(crate) fn to_drop(
    snapshots: &[SnapshotInfo],
    retention: &Retention,
    held: &[SnapshotId],
    now: i64,
) -> Vec<SnapshotId> {
    let newest_prepared = newest_prepared(snapshots);
    let held = |s: &SnapshotInfo| {
        s.current || s.pinned || held.contains(&s.id) || Some(s.id) == newest_prepared
    };
    let (kept, mut rest): (Vec<_>, Vec<_>) = snapshots.iter().rev().partition(|s| held(s));
    // Latest superseded first, of those within one second the newest; never served ones last.
    rest.sort_by_key(|s| std::cmp::Reverse(s.superseded_at));
    let by_number = retention.keep.clamp(1, Retention::MAX_KEPT) - 1;
    let room = Retention::MAX_KEPT.saturating_sub(kept.len());
    let stays = |(rank, s): &(usize, &SnapshotInfo)| {
        s.superseded_at
            .is_some_and(|at| *rank < by_number || retention.is_recent(at, now))
            && *rank < room
    };
    rest.into_iter()
        .enumerate()
        .filter(|ranked| !stays(ranked))
        .map(|(_, s)| s.id)
        .collect()
}

/// A snapshot that was prepared before the current one was made has been overtaken.
fn newest_prepared(snapshots: &[SnapshotInfo]) -> Option<SnapshotId> {
    let current = snapshots.iter().find(|s| s.current).map(|s| s.meta.created);
    let newest = snapshots.iter().rfind(|s| s.prepared_only)?;
    current
        .is_none_or(|created| newest.meta.created >= created)
        .then_some(newest.id)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::numbered;
    use fleet_types::Sha256;

    fn id(n: u8) -> SnapshotId {
        SnapshotId(Sha256([n; 32]))
    }

    /// Created at `n * 10`; served until `superseded_at` when given.
    fn snapshot(n: u8, superseded_at: Option<i64>) -> SnapshotInfo {
        SnapshotInfo {
            id: id(n),
            meta: numbered::meta(i64::from(n) * 10),
            published_at: superseded_at.map(|_| i64::from(n) * 10),
            superseded_at,
            pinned: false,
            current: false,
            prepared_only: false,
        }
    }

    fn current(n: u8) -> SnapshotInfo {
        SnapshotInfo {
            current: true,
            published_at: Some(i64::from(n) * 10),
            ..snapshot(n, None)
        }
    }

    fn prepared(n: u8) -> SnapshotInfo {
        SnapshotInfo {
            prepared_only: true,
            ..snapshot(n, None)
        }
    }

    fn retention(keep: usize, seconds: u64) -> Retention {
        Retention {
            keep,
            min_age: Duration::from_secs(seconds),
        }
    }

    /// The identifiers, which are digests, tell nothing of the order.
    #[test]
    fn of_those_superseded_within_one_second_the_oldest_goes() {
        for order in [[1, 2], [2, 1]] {
            let [older, newer] = order.map(|n| snapshot(n, Some(20)));
            let all = [older.clone(), newer, current(3)];
            assert_eq!(to_drop(&all, &retention(2, 0), &[], 1000), [older.id]);
        }
    }

    #[test]
    fn the_newest_few_stay_and_the_current_one_counts() {
        let all = [
            snapshot(1, Some(20)),
            snapshot(2, Some(30)),
            snapshot(3, Some(40)),
            current(4),
        ];
        assert_eq!(to_drop(&all, &retention(3, 0), &[], 1000), [id(1)]);
        assert_eq!(
            to_drop(&all, &retention(1, 0), &[], 1000),
            [id(3), id(2), id(1)]
        );
        assert_eq!(
            to_drop(&all, &retention(0, 0), &[], 1000),
            [id(3), id(2), id(1)]
        );
    }

    #[test]
    fn age_counts_from_when_a_snapshot_was_superseded_not_from_when_it_was_made() {
        let all = [snapshot(1, Some(990)), current(100)];
        assert_eq!(to_drop(&all, &retention(1, 48), &[], 1000), []);
        assert_eq!(to_drop(&all, &retention(1, 48), &[], 1038), [id(1)]);
    }

    #[test]
    fn pinned_held_and_current_snapshots_stay_whatever_their_age() {
        let pinned = SnapshotInfo {
            pinned: true,
            ..snapshot(1, Some(20))
        };
        let all = [
            pinned,
            snapshot(2, Some(30)),
            snapshot(3, Some(40)),
            current(4),
        ];
        assert_eq!(to_drop(&all, &retention(1, 0), &[id(2)], 1000), [id(3)]);
    }

    #[test]
    fn only_the_newest_prepared_snapshot_stays_and_only_while_it_is_newer_than_what_is_served() {
        let all = [prepared(1), current(2), prepared(3), prepared(4)];
        assert_eq!(
            to_drop(&all, &retention(3, 1000), &[], 1000),
            [id(3), id(1)]
        );
        assert_eq!(
            to_drop(&[prepared(1), current(2)], &retention(3, 1000), &[], 1000),
            [id(1)]
        );
        assert_eq!(to_drop(&[prepared(1)], &retention(3, 1000), &[], 1000), []);
    }

    #[test]
    fn no_more_than_the_maximum_is_kept() {
        let mut all: Vec<_> = (1..=60)
            .map(|n| snapshot(n, Some(i64::from(n) * 10 + 10)))
            .collect();
        all.push(current(61));
        let dropped = to_drop(&all, &retention(50, 1_000_000), &[], 700);
        assert_eq!(all.len() - dropped.len(), Retention::MAX_KEPT);
        assert!(dropped.contains(&id(1)) && !dropped.contains(&id(60)));
    }
}
