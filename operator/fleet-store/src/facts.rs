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
