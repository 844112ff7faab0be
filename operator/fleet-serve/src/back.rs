//! Dates of what changes, where an order leads back to an older snapshot, or forward again.

use fleet_store::{Returned, SnapshotId, SnapshotInfo, Store, StoreError};
use fleet_types::{Order, Sha256};

use crate::view::View;

/// Clients that compare dates (pacman does) take nothing that is older than what they have, so what changes must not be
/// older than the moment at which somebody went back. A run notes that in the store; until one does, it is known here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Back {
    /// What is served was not the newest there was when it was ordered.
    is_back: bool,
    /// When such a thing last began or ended, in Unix seconds; 0 where it never did.
    pub at: i64,
}

/// A change of what is served.
pub struct Change {
    pub was: Option<Order>,
    pub now: Order,
    /// What the last run noted.
    pub settled: Option<Order>,
    pub returned: Returned,
    /// Of all that are kept.
    pub newest: Option<Sha256>,
}

impl Change {
    /// None where nothing is served.
    pub fn of(
        store: &Store,
        before: &View,
        after: &View,
        infos: &[SnapshotInfo],
    ) -> Result<Option<Change>, StoreError> {
        let settled = match store.settled_order() {
            Err(error) if error.is_damage() => None,
            other => other?,
        };
        let returned = store.returned()?;
        Ok(after.follows().map(|now| Change {
            was: before.follows(),
            now,
            settled,
            returned,
            newest: infos.last().map(|newest| newest.id.0),
        }))
    }
}

impl Back {
    /// `now` in Unix seconds.
    pub fn notice(&mut self, change: &Change, now: i64) {
        self.at = self.at.max(change.returned.at.unwrap_or(0));
        let was = change.was.or(change.settled);
        let is_news = change.now.epoch > change.settled.map_or(0, |settled| settled.epoch);
        if !is_news || was.is_some_and(|was| was.snapshot == change.now.snapshot) {
            return;
        }
        let noted = was.is_some_and(|was| change.returned.to == Some(SnapshotId(was.snapshot)));
        let was_back = noted || self.is_back;
        self.is_back = change
            .newest
            .is_some_and(|newest| newest != change.now.snapshot);
        if self.is_back || was_back {
            // Dates have seconds only.
            self.at = now.max(self.at.saturating_add(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(epoch: u64, n: u8) -> Order {
        Order {
            epoch,
            snapshot: Sha256([n; 32]),
        }
    }

    #[test]
    fn who_is_ordered_back_and_forth_has_a_date_of_now() {
        let mut back = Back::default();
        let (mut was, settled) = (None, Some(order(1, 1)));
        let mut serve = |epoch, n, newest: u8, now| {
            let change = Change {
                was,
                now: order(epoch, n),
                settled,
                returned: Returned::default(),
                newest: Some(Sha256([newest; 32])),
            };
            back.notice(&change, now);
            was = Some(change.now);
            back.at
        };
        assert_eq!(
            serve(1, 1, 2, 10),
            0,
            "what was settled, when a server starts"
        );
        assert_eq!(serve(2, 2, 2, 20), 0, "what was prepared");
        assert_eq!(serve(3, 1, 2, 30), 30, "back");
        assert_eq!(serve(4, 1, 3, 40), 30, "the same by another order");
        assert_eq!(serve(5, 3, 3, 30), 31, "forward again");
        assert_eq!(serve(6, 4, 4, 60), 31);
    }

    #[test]
    fn a_server_that_starts_goes_on_from_what_was_noted() {
        let noted = Returned {
            to: Some(SnapshotId(Sha256([1; 32]))),
            at: Some(30),
        };
        let of = |now, settled| Change {
            was: None,
            now,
            settled: Some(settled),
            returned: noted,
            newest: Some(Sha256([2; 32])),
        };
        let mut back = Back::default();
        back.notice(&of(order(3, 1), order(3, 1)), 50);
        assert_eq!(back.at, 30);
        let mut back = Back::default();
        back.notice(&of(order(4, 2), order(3, 1)), 50);
        assert_eq!(
            back.at, 50,
            "forward again, by an order that no run has noted"
        );
        let mut back = Back::default();
        back.notice(&of(order(4, 1), order(3, 2)), 50);
        assert_eq!(back.at, 50, "back, by an order that no run has noted");
    }
}
