//! Whose turn it is at an Upstream: one run fetches from it at a time, over all Mirrors of a namespace.

use std::collections::{BTreeMap, BTreeSet};

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

/// Who stands at an Upstream beside one Mirror, as far as it decides whether that one may start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// Another Mirror that runs.
    pub running: Option<String>,
    /// Of the others that wait the one that has for longest, and since when.
    pub first: Option<(Timestamp, String)>,
}

impl Line {
    /// Whether `mirror`, which could start since `since`, may start now: nobody else runs, and nobody waits for longer.
    pub fn lets_start(&self, mirror: &str, since: Timestamp) -> bool {
        let first = self.first.as_ref();
        self.running.is_none()
            && first.is_none_or(|(theirs, other)| (since, mirror) < (*theirs, other.as_str()))
    }
}

/// Names an Upstream: namespace and name.
pub type UpstreamKey = (String, String);

/// The leader's memory of turns. Plan with a [`TurnBook::line`], and [`TurnBook::record`] the plan's turn before it is
/// carried out and only while the line is still the same: then no two Mirrors take one turn. After a start, enter every
/// running Job first ([`Turn::Running`]); who waits enters itself with its first plan.
#[derive(Debug, Default)]
pub struct TurnBook {
    queues: BTreeMap<UpstreamKey, Queue>,
}

/// Everybody at one Upstream who is not idle.
#[derive(Debug, Default)]
struct Queue {
    turns: BTreeMap<String, Turn>,
    running: BTreeSet<String>,
    waiting: BTreeSet<(Timestamp, String)>,
}

impl TurnBook {
    /// Who stands at `upstream` beside `mirror`.
    pub fn line(&self, upstream: &UpstreamKey, mirror: &str) -> Line {
        let Some(queue) = self.queues.get(upstream) else {
            return Line::default();
        };
        Line {
            running: queue.running.iter().find(|other| *other != mirror).cloned(),
            first: queue
                .waiting
                .iter()
                .find(|(_, other)| other != mirror)
                .cloned(),
        }
    }

    /// What `mirror` does at `upstream`.
    pub fn turn(&self, upstream: &UpstreamKey, mirror: &str) -> Turn {
        let queue = self.queues.get(upstream);
        let turn = queue.and_then(|queue| queue.turns.get(mirror));
        turn.copied().unwrap_or(Turn::Idle)
    }

    /// Notes what `mirror` does at `upstream`; gives back the Mirror that should be planned again because its turn has come.
    pub fn record(&mut self, upstream: &UpstreamKey, mirror: &str, turn: Turn) -> Option<String> {
        let queue = self.queues.entry(upstream.clone()).or_default();
        let before = queue.next().cloned();
        queue.note(mirror, turn);
        let next = queue.next().filter(|next| *next != mirror);
        let woken = next.filter(|next| before.as_ref() != Some(next)).cloned();
        if queue.turns.is_empty() {
            self.queues.remove(upstream);
        }
        woken
    }
}

impl Queue {
    /// Whose turn it is, while nobody runs.
    fn next(&self) -> Option<&String> {
        let first = self.waiting.first().map(|(_, mirror)| mirror);
        first.filter(|_| self.running.is_empty())
    }

    fn note(&mut self, mirror: &str, turn: Turn) {
        match self.turns.remove(mirror) {
            Some(Turn::Running) => drop(self.running.remove(mirror)),
            Some(Turn::Waiting(since)) => drop(self.waiting.remove(&(since, mirror.to_owned()))),
            Some(Turn::Idle) | None => {}
        }
        match turn {
            Turn::Idle => return,
            Turn::Running => self.running.insert(mirror.to_owned()),
            Turn::Waiting(since) => self.waiting.insert((since, mirror.to_owned())),
        };
        self.turns.insert(mirror.to_owned(), turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn upstream() -> UpstreamKey {
        ("ns".to_owned(), "debian".to_owned())
    }

    #[test]
    fn the_longest_waiting_goes_first_and_nobody_beside_a_running_one() {
        let upstream = upstream();
        let mut book = TurnBook::default();
        let may_start = |book: &TurnBook, mirror: &str, since| {
            book.line(&upstream, mirror).lets_start(mirror, since)
        };
        book.record(&upstream, "a", Turn::Waiting(at(20)));
        assert!(may_start(&book, "b", at(10)));
        assert!(!may_start(&book, "b", at(30)));
        book.record(&upstream, "b", Turn::Running);
        assert!(!may_start(&book, "a", at(20)));
        assert_eq!(
            book.record(&upstream, "b", Turn::Idle).as_deref(),
            Some("a")
        );
        assert!(may_start(&book, "a", at(20)));
        book.record(&upstream, "a", Turn::Idle);
        assert!(book.queues.is_empty());
    }

    #[test]
    fn equal_waits_are_ordered_by_name_so_that_exactly_one_starts() {
        let beside = |mirror: &str| Line {
            running: None,
            first: Some((at(1), mirror.to_owned())),
        };
        assert!(beside("b").lets_start("a", at(1)));
        assert!(!beside("a").lets_start("b", at(1)));
    }

    #[test]
    fn a_turn_that_becomes_free_wakes_the_head_of_the_line_only() {
        let upstream = upstream();
        let mut book = TurnBook::default();
        book.record(&upstream, "runs", Turn::Running);
        for (second, mirror) in [(3, "c"), (1, "a"), (2, "b")] {
            let woken = book.record(&upstream, mirror, Turn::Waiting(at(second)));
            assert_eq!(woken, None, "somebody runs");
        }
        let mut next = |mirror: &str, turn| book.record(&upstream, mirror, turn);
        assert_eq!(next("runs", Turn::Idle).as_deref(), Some("a"));
        assert_eq!(next("c", Turn::Idle), None, "not its turn, and it leaves");
        // What the head waited for is no longer due, or is due later: the next one is at the head.
        assert_eq!(next("a", Turn::Waiting(at(9))).as_deref(), Some("b"));
        assert_eq!(next("b", Turn::Idle).as_deref(), Some("a"));
        assert_eq!(next("a", Turn::Running), None);
    }
}
