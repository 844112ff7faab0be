//! Whose turn it is at an Upstream: one run fetches from it at a time, over all Mirrors of a namespace.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// What one Mirror does with its Upstream's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nothing to fetch.
    Idle,
    /// Could start at once if it were its turn; since when.
    Waiting(Timestamp),
    /// A Job runs or is being created.
    Running,
}

/// Another Mirror of the same Upstream, and what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    pub mirror: String,
    pub turn: Turn,
}

/// Whether `mirror`, which could start since `since`, may start now: nobody else runs, and nobody waits for longer.
pub fn may_start(mirror: &str, since: Timestamp, others: &[Claimant]) -> bool {
    others
        .iter()
        .filter(|other| other.mirror != mirror)
        .all(|other| match other.turn {
            Turn::Idle => true,
            Turn::Waiting(theirs) => (since, mirror) < (theirs, other.mirror.as_str()),
            Turn::Running => false,
        })
}

/// Names an Upstream: namespace and name.
pub type UpstreamKey = (String, String);

/// The leader's memory of turns. Read [`TurnBook::others`], plan, and [`TurnBook::record`] the plan's turn under one
/// lock, before the plan is carried out: then no two Mirrors take one turn. After a start, enter every running Job
/// first ([`Turn::Running`]); who waits enters itself with its first plan.
#[derive(Debug, Default)]
pub struct TurnBook {
    turns: BTreeMap<UpstreamKey, BTreeMap<String, Turn>>,
}

impl TurnBook {
    /// What everybody but `mirror` does at `upstream`.
    pub fn others(&self, upstream: &UpstreamKey, mirror: &str) -> Vec<Claimant> {
        let turns = self.turns.get(upstream).into_iter().flatten();
        let others = turns.filter(|(name, _)| *name != mirror);
        others
            .map(|(name, turn)| Claimant {
                mirror: name.clone(),
                turn: *turn,
            })
            .collect()
    }

    /// Notes what `mirror` does at `upstream`; gives back the Mirrors that should be planned again because a turn
    /// became free.
    pub fn record(&mut self, upstream: &UpstreamKey, mirror: &str, turn: Turn) -> Vec<String> {
        let turns = self.turns.entry(upstream.clone()).or_default();
        let before = match turn {
            Turn::Idle => turns.remove(mirror),
            turn => turns.insert(mirror.to_owned(), turn),
        };
        let freed = before.is_some_and(|before| before != Turn::Idle) && turn == Turn::Idle;
        let waiting = turns
            .iter()
            .filter(|(_, turn)| matches!(turn, Turn::Waiting(_)));
        let woken = if freed {
            waiting.map(|(name, _)| name.clone()).collect()
        } else {
            Vec::new()
        };
        if self.turns.get(upstream).is_some_and(BTreeMap::is_empty) {
            self.turns.remove(upstream);
        }
        woken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_longest_waiting_goes_first_and_nobody_beside_a_running_one() {
        let upstream = ("ns".to_owned(), "debian".to_owned());
        let mut book = TurnBook::default();
        book.record(&upstream, "a", Turn::Waiting(at(20)));
        assert!(may_start("b", at(10), &book.others(&upstream, "b")));
        assert!(!may_start("b", at(30), &book.others(&upstream, "b")));
        book.record(&upstream, "b", Turn::Running);
        assert!(!may_start("a", at(20), &book.others(&upstream, "a")));
        assert_eq!(book.record(&upstream, "b", Turn::Idle), ["a"]);
        assert!(may_start("a", at(20), &book.others(&upstream, "a")));
        book.record(&upstream, "a", Turn::Idle);
        assert!(book.turns.is_empty());
    }

    #[test]
    fn equal_waits_are_ordered_by_name_so_that_exactly_one_starts() {
        let claim = |mirror: &str| Claimant {
            mirror: mirror.to_owned(),
            turn: Turn::Waiting(at(1)),
        };
        assert!(may_start("a", at(1), &[claim("b")]));
        assert!(!may_start("b", at(1), &[claim("a")]));
    }
}
