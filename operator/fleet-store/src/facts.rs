//! `state/snapshots.json`: when snapshots were served, and what a person decided about them. These change while an
//! index does not, so they are kept beside it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::SnapshotId;

/// The name of the document.
pub(crate) const DOCUMENT: &str = "snapshots";

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Facts {
    pub snapshots: BTreeMap<SnapshotId, Times>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<SnapshotId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolled_back_from: Option<SnapshotId>,
    /// The snapshot that was served again last although it had been superseded, and when what clients hold of newer ones
    /// was last taken back, in seconds since 1970-01-01T00:00:00Z.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub returned: Option<SnapshotId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub returned_at: Option<i64>,
    /// Of the order by which `current` names what it does; 0 where none did.
    #[serde(skip_serializing_if = "is_zero")]
    pub epoch: u64,
}

fn is_zero(epoch: &u64) -> bool {
    *epoch == 0
}

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Times {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superseded_at: Option<i64>,
    /// How many had been served before it was: two may be published within one second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<u64>,
}

impl Facts {
    pub fn times(&self, id: &SnapshotId) -> Times {
        self.snapshots.get(id).copied().unwrap_or_default()
    }

    /// Which snapshot is served, for when `current` itself cannot tell. A crash leaves it one step behind at most.
    pub fn served(&self) -> Option<SnapshotId> {
        let served = |times: &Times| times.published_at.is_some() && times.superseded_at.is_none();
        let mut all = self.snapshots.iter().filter(|(_, times)| served(times));
        all.next().map(|(id, _)| *id)
    }

    /// Notes that a snapshot is going to be served again in the place of a newer one, or the next one in the place of such a
    /// one; whether there was anything to note. Clients that compare dates take neither, unless it has a date of now.
    pub fn notice_return(
        &mut self,
        id: &SnapshotId,
        current: Option<SnapshotId>,
        now: i64,
    ) -> bool {
        let is_back = self.times(id).superseded_at.is_some();
        let follows_one = current.is_some() && current == self.returned;
        if is_back || follows_one {
            self.date_anew(now);
            self.returned = is_back.then_some(*id);
        }
        is_back || follows_one
    }

    /// What clients hold may be newer than what is served from now on.
    pub fn date_anew(&mut self, now: i64) {
        // Dates have seconds only.
        let later = self.returned_at.map_or(now, |at| at.saturating_add(1));
        self.returned_at = Some(now.max(later));
    }

    /// Brings the facts in line with what is served and what exists: a crash between the switch and this document
    /// leaves them one step behind. A time that is not known is taken as `now`, which keeps snapshots for longer.
    pub fn settle(
        &mut self,
        current: Option<SnapshotId>,
        exists: impl Fn(&SnapshotId) -> bool,
        now: i64,
    ) {
        self.snapshots.retain(|id, _| exists(id));
        if let Some(id) = current {
            let turns = self.snapshots.values().filter_map(|times| times.turn);
            let next = turns.max().map_or(0, |turn| turn.saturating_add(1));
            let times = self.snapshots.entry(id).or_default();
            if times.published_at.is_none() {
                (times.published_at, times.turn) = (Some(now), Some(next));
            }
            times.superseded_at = None;
        }
        for (_, times) in self
            .snapshots
            .iter_mut()
            .filter(|(id, _)| Some(**id) != current)
        {
            if times.published_at.is_some() {
                times.superseded_at.get_or_insert(now);
            }
        }
        if self.rolled_back_from == current || self.rolled_back_from.is_some_and(|id| !exists(&id))
        {
            self.rolled_back_from = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_types::Sha256;

    fn id(n: u8) -> SnapshotId {
        SnapshotId(Sha256([n; 32]))
    }

    #[test]
    fn who_goes_back_and_forth_leaves_a_date() {
        let mut facts = Facts::default();
        let mut serve = |n: u8, from: Option<u8>, now: i64| {
            let noted = facts.notice_return(&id(n), from.map(id), now);
            facts.settle(Some(id(n)), |_| true, now);
            (noted, facts.returned_at)
        };
        assert_eq!(serve(1, None, 10), (false, None));
        assert_eq!(serve(2, Some(1), 20), (false, None));
        assert_eq!(serve(1, Some(2), 30), (true, Some(30)));
        assert_eq!(serve(3, Some(1), 40), (true, Some(40)));
        assert_eq!(serve(4, Some(3), 50), (false, Some(40)));
        assert_eq!(serve(3, Some(4), 45), (true, Some(45)));
        assert_eq!(serve(4, Some(3), 45), (true, Some(46)));
    }

    #[test]
    fn facts_that_missed_a_switch_catch_up() {
        let mut facts = Facts::default();
        facts.settle(Some(id(1)), |_| true, 10);
        facts.settle(Some(id(2)), |_| true, 20);
        assert_eq!(
            facts.times(&id(1)),
            Times {
                published_at: Some(10),
                superseded_at: Some(20),
                turn: Some(0),
            }
        );
        assert_eq!(
            facts.times(&id(2)),
            Times {
                published_at: Some(20),
                superseded_at: None,
                turn: Some(1),
            }
        );
        facts.settle(Some(id(1)), |_| true, 30);
        assert_eq!(
            facts.times(&id(1)),
            Times {
                published_at: Some(10),
                superseded_at: None,
                turn: Some(0),
            }
        );
        let settled = facts.clone();
        facts.settle(Some(id(1)), |_| true, 40);
        assert_eq!(facts, settled, "settling twice changes nothing");
    }

    #[test]
    fn facts_about_what_is_gone_are_forgotten() {
        let mut facts = Facts {
            rolled_back_from: Some(id(3)),
            ..Facts::default()
        };
        facts.settle(Some(id(3)), |_| true, 10);
        assert_eq!(facts.rolled_back_from, None);
        facts.settle(Some(id(4)), |other| *other == id(4), 20);
        assert_eq!(facts.snapshots.keys().copied().collect::<Vec<_>>(), [id(4)]);
    }
}
