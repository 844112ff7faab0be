//! The identity of an upstream's state.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Reason, Sha256};

/// The state of one unit of an upstream: the part that is signed, refused and carried forward on its own. For Debian
/// a unit is a suite. A revision of an upstream is the list of these, sorted by unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitRevision {
    /// The name as the manifest declares it, for example `trixie-updates` or `./`.
    pub unit: String,
    /// SHA-256 of the signed payload (not of the signature: another signature over the same payload is the same state).
    pub digest: Sha256,
    /// The upstream's own date of this state, seconds since 1970-01-01T00:00:00Z; [`UnitRevision::NO_DATE`] where it has
    /// none, which is accepted only of upstreams whose signatures are not looked at.
    pub date: i64,
    /// Until when the upstream vouches for it, in the same unit; none where neither it nor the manifest sets a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<i64>,
}

/// How one state of a unit stands to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    Same,
    Older,
    Newer,
    /// Another content that claims the same place: one of the two is a lie, or the upstream contradicts itself.
    Contradiction,
    /// Another content, and nothing tells which is newer.
    Undecided,
}

impl UnitRevision {
    pub const NO_DATE: i64 = 0;

    /// Whether it can be older or newer than another. Otherwise only its digest tells it from others.
    pub fn is_dated(&self) -> bool {
        self.date != Self::NO_DATE
    }

    /// How it stands to another state of the same unit, by their dates.
    pub fn compare(&self, other: &UnitRevision) -> Relation {
        match self.date.cmp(&other.date) {
            Ordering::Less => Relation::Older,
            Ordering::Greater => Relation::Newer,
            Ordering::Equal if self.digest == other.digest => Relation::Same,
            Ordering::Equal if self.is_dated() => Relation::Contradiction,
            Ordering::Equal => Relation::Undecided,
        }
    }

    /// Whether it is dated later than `now` (seconds since 1970-01-01T00:00:00Z), with apt's own tolerance for clocks.
    pub fn is_from_future(&self, now: i64) -> bool {
        self.date > now.saturating_add(10)
    }
}

/// What is remembered of a unit so that no older or other state passes for a newer one: the high-water mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The newest state that was ever accepted, or the one that a person let through instead.
    #[serde(flatten)]
    pub revision: UnitRevision,
    /// Of whom and what the unit said that it is, by field (Debian: Origin, Label, Codename, Priority); empty where an
    /// older version of us remembered.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub identity: BTreeMap<String, String>,
    /// Why this state would have been refused had a person not let it through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<Reason>,
    /// A person let it through in the place of a state of this date (seconds since 1970-01-01T00:00:00Z), which is not
    /// newer than the mark in any memory from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<i64>,
}

impl Accepted {
    /// The newer of two memories of one unit, ours and another's. A mark that a person has lowered wins over what it was set in the place of.
    pub fn newer(self, other: Accepted) -> Accepted {
        let gives_way = |one: &Accepted, to: &Accepted| {
            to.instead_of.is_some_and(|date| one.revision.date <= date)
        };
        let other_wins = match (gives_way(&self, &other), gives_way(&other, &self)) {
            (true, gives_way_back) => !gives_way_back,
            (false, true) => false,
            // Of one state that memory counts which knows more of why a person let it through.
            (false, false) => {
                let rank = |one: &Accepted| (one.revision.date, one.allowed.len());
                rank(&other) > rank(&self)
            }
        };
        let (mut winner, loser) = if other_wins {
            (other, self)
        } else {
            (self, other)
        };
        if winner.identity.is_empty() {
            winner.identity = loser.identity;
        }
        winner
    }
}

impl From<UnitRevision> for Accepted {
    fn from(revision: UnitRevision) -> Accepted {
        Accepted {
            revision,
            identity: BTreeMap::new(),
            allowed: Vec::new(),
            instead_of: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_tell_older_from_newer_and_two_contents_of_one_date_contradict_each_other() {
        let state = |content: u8, date| UnitRevision {
            unit: "trixie".to_owned(),
            digest: Sha256([content; 32]),
            date,
            valid_until: None,
        };
        let undated = UnitRevision::NO_DATE;
        for (ours, theirs, expected) in [
            (state(1, 5), state(1, 5), Relation::Same),
            (state(1, 4), state(2, 5), Relation::Older),
            (state(1, 4), state(1, 5), Relation::Older),
            (state(1, 6), state(2, 5), Relation::Newer),
            (state(1, 5), state(2, 5), Relation::Contradiction),
            (state(1, undated), state(2, undated), Relation::Undecided),
            (state(1, undated), state(2, 5), Relation::Older),
        ] {
            assert_eq!(ours.compare(&theirs), expected, "{ours:?} {theirs:?}");
        }
    }
}
