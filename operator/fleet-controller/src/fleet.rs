//! What the leader remembers of the whole fleet: who stands at which Upstream, and whose regions are being restarted.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use fleet_plan::{Line, Plan, Turn, TurnBook};

use crate::world::ObjectName;

/// What one Mirror's plan must know of all others.
#[derive(Default)]
pub struct FleetMemory {
    turns: TurnBook,
    /// At which Upstream each Mirror last stood in line.
    lines: HashMap<ObjectName, String>,
    rollouts: HashMap<ObjectName, Rollout>,
    /// How many runs of each Mirror copy from one region to another.
    copies: HashMap<ObjectName, u32>,
    regions: Regions,
}

/// How many regions each Mirror declares that was planned.
#[derive(Default)]
struct Regions {
    of: HashMap<ObjectName, u32>,
    all: u32,
}

impl Regions {
    fn note(&mut self, mirror: &ObjectName, regions: u32) {
        let before = match regions {
            0 => self.of.remove(mirror),
            regions => self.of.insert(mirror.clone(), regions),
        };
        let others = self.all.saturating_sub(before.unwrap_or(0));
        self.all = others.saturating_add(regions);
    }
}

/// What a Mirror takes of what there is once for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub turn: Turn,
    /// Regions that are being restarted.
    pub rollouts: u32,
    /// Runs that copy from one region to another.
    pub copies: u32,
}

impl Share {
    pub const NOTHING: Share = Share {
        turn: Turn::Idle,
        rollouts: 0,
        copies: 0,
    };

    /// What a plan takes.
    pub fn of(plan: &Plan) -> Share {
        Share {
            turn: plan.turn,
            rollouts: plan.rollouts,
            copies: plan.copies,
        }
    }
}

/// Restarts of one Mirror's regions that are under way.
struct Rollout {
    regions: u32,
    /// When they began; a restart that is followed by another one begins anew only when all are done.
    since: Instant,
}

/// For each so many regions one may be restarted at once, where that is more than what is set: an image has to come to ten
/// thousand of them within hours.
const REGIONS_PER_ROLLOUT: u32 = 100;

/// A restart that takes longer holds up nobody else's: perhaps its old pod can never be deleted.
const ROLLOUT_PATIENCE: Duration = Duration::from_secs(600);

/// Who asks, as its manifest says it.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    pub mirror: &'a ObjectName,
    pub upstream: &'a str,
    /// How many regions it declares.
    pub regions: u32,
    /// How many regions of the whole fleet may be restarted at once, however few there are.
    pub max_rollouts: u32,
}

/// How the others stood when a plan was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Others {
    pub line: Line,
    /// How many regions of the whole fleet may be restarted at once.
    pub max_rollouts: u32,
    pub rollouts_elsewhere: u32,
    pub copies_elsewhere: u32,
}

impl FleetMemory {
    pub fn others(&self, asking: &Asking) -> Others {
        let upstream = (asking.mirror.namespace.clone(), asking.upstream.to_owned());
        let max_rollouts = asking
            .max_rollouts
            .max(self.regions.all / REGIONS_PER_ROLLOUT);
        Others {
            line: self.turns.line(&upstream, &asking.mirror.name),
            max_rollouts,
            rollouts_elsewhere: self.rollouts_elsewhere(asking.mirror, max_rollouts),
            copies_elsewhere: self.copies_elsewhere(asking.mirror),
        }
    }

    /// Notes what a Mirror does by a plan that was made while the others stood as `planned`; gives back the Mirror that
    /// should be planned again.
    ///
    /// # Errors
    /// They stand otherwise now, and the plan takes a turn, restarts a region or copies: it has to be made again.
    pub fn commit(
        &mut self,
        asking: &Asking,
        planned: &Others,
        share: Share,
    ) -> Result<Option<ObjectName>, Others> {
        let takes_nothing = share == Share::NOTHING;
        let now = self.others(asking);
        if !takes_nothing && now != *planned {
            return Err(now);
        }
        self.regions.note(asking.mirror, asking.regions);
        Ok(self.record(asking.mirror, asking.upstream, share))
    }

    /// Notes what a Mirror does; gives back the Mirror that should be planned again.
    pub fn record(
        &mut self,
        mirror: &ObjectName,
        upstream: &str,
        share: Share,
    ) -> Option<ObjectName> {
        self.lines.insert(mirror.clone(), upstream.to_owned());
        match share.copies {
            0 => self.copies.remove(mirror),
            copies => self.copies.insert(mirror.clone(), copies),
        };
        match share.rollouts {
            0 => drop(self.rollouts.remove(mirror)),
            regions => {
                let begin = Rollout {
                    regions,
                    since: Instant::now(),
                };
                self.rollouts.entry(mirror.clone()).or_insert(begin).regions = regions;
            }
        };
        let upstream = (mirror.namespace.clone(), upstream.to_owned());
        let woken = self.turns.record(&upstream, &mirror.name, share.turn)?;
        Some(ObjectName::new(&mirror.namespace, woken))
    }

    /// Notes that a Mirror is gone; gives back the Mirror that should be planned again.
    pub fn leave(&mut self, mirror: &ObjectName) -> Option<ObjectName> {
        self.copies.remove(mirror);
        self.regions.note(mirror, 0);
        let upstream = self.lines.remove(mirror)?;
        let woken = self.record(mirror, &upstream, Share::NOTHING);
        self.lines.remove(mirror);
        woken
    }

    /// Notes that a Mirror cannot be planned: it waits for nothing, and what runs of it runs on. Gives back the Mirror that
    /// should be planned again.
    pub fn stop_waiting(&mut self, mirror: &ObjectName) -> Option<ObjectName> {
        let upstream = self.lines.get(mirror)?;
        let upstream = (mirror.namespace.clone(), upstream.clone());
        match self.turns.turn(&upstream, &mirror.name) {
            Turn::Waiting(_) => self.leave(mirror),
            Turn::Idle | Turn::Running => None,
        }
    }

    /// Notes that one more run of a Mirror copies.
    pub fn adds_copy(&mut self, mirror: &ObjectName) {
        *self.copies.entry(mirror.clone()).or_default() += 1;
    }

    fn copies_elsewhere(&self, mirror: &ObjectName) -> u32 {
        let others = self.copies.iter().filter(|(other, _)| *other != mirror);
        others.map(|(_, copies)| copies).sum()
    }

    /// How many regions of other Mirrors are being restarted by us, of at most `max`. Half of them are for whoever comes;
    /// of the other half a namespace that has one already gets none, so that no tenant holds up all others.
    fn rollouts_elsewhere(&self, mirror: &ObjectName, max: u32) -> u32 {
        let (mut all, mut own) = (0, 0);
        for (other, rollout) in &self.rollouts {
            if other == mirror || rollout.since.elapsed() > ROLLOUT_PATIENCE {
                continue;
            }
            all += rollout.regions;
            if other.namespace == mirror.namespace {
                own += rollout.regions;
            }
        }
        match own > 0 && all >= max.div_ceil(2) {
            true => all.max(max),
            false => all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(turn: Turn, rollouts: u32) -> Share {
        Share {
            turn,
            rollouts,
            copies: 0,
        }
    }

    #[test]
    fn restarts_of_others_are_counted_without_the_own() {
        let (a, b) = (ObjectName::new("ns", "a"), ObjectName::new("ns", "b"));
        let mut memory = FleetMemory::default();
        memory.record(&a, "debian", share(Turn::Idle, 2));
        memory.record(&b, "debian", share(Turn::Idle, 1));
        assert_eq!(memory.rollouts_elsewhere(&a, 8), 1);
        memory.leave(&b);
        assert_eq!(memory.rollouts_elsewhere(&a, 8), 0);
    }

    #[test]
    fn no_namespace_has_all_restarts_and_none_has_them_for_ever() {
        let mut memory = FleetMemory::default();
        for mirror in ["a", "b"] {
            memory.record(
                &ObjectName::new("greedy", mirror),
                "debian",
                share(Turn::Idle, 1),
            );
        }
        let (third, other) = (ObjectName::new("greedy", "c"), ObjectName::new("ns", "d"));
        assert_eq!(memory.rollouts_elsewhere(&third, 4), 4, "it has its share");
        assert_eq!(memory.rollouts_elsewhere(&other, 4), 2, "there is room");
        // A pod that cannot be deleted.
        let Some(long_ago) = Instant::now().checked_sub(2 * ROLLOUT_PATIENCE) else {
            return;
        };
        memory
            .rollouts
            .values_mut()
            .for_each(|rollout| rollout.since = long_ago);
        memory.record(
            &ObjectName::new("greedy", "a"),
            "debian",
            share(Turn::Idle, 1),
        );
        assert_eq!(memory.rollouts_elsewhere(&third, 4), 0);
    }

    #[test]
    fn a_mirror_that_is_deleted_while_it_runs_frees_its_turn() {
        let (a, b) = (ObjectName::new("ns", "a"), ObjectName::new("ns", "b"));
        let mut memory = FleetMemory::default();
        memory.record(&a, "debian", share(Turn::Running, 0));
        memory.record(
            &b,
            "debian",
            share(Turn::Waiting(jiff::Timestamp::UNIX_EPOCH), 0),
        );
        assert_eq!(memory.leave(&a), Some(b.clone()));
        assert_eq!(memory.others(&asking(&b)).line, Line::default());
    }

    #[test]
    fn a_mirror_that_can_no_longer_be_read_holds_up_nobody() {
        let (a, b) = (ObjectName::new("ns", "a"), ObjectName::new("ns", "b"));
        let mut memory = FleetMemory::default();
        for (mirror, second) in [(&a, 1), (&b, 2)] {
            let since = jiff::Timestamp::from_second(second).unwrap();
            memory.record(mirror, "debian", share(Turn::Waiting(since), 0));
        }
        assert_eq!(memory.stop_waiting(&a), Some(b.clone()));
        memory.record(&b, "debian", share(Turn::Running, 0));
        assert_eq!(memory.stop_waiting(&b), None);
        let line = memory.others(&asking(&a)).line;
        assert_eq!(line.running.as_deref(), Some("b"), "its Job runs on");
    }

    fn asking(mirror: &ObjectName) -> Asking<'_> {
        Asking {
            mirror,
            upstream: "debian",
            regions: 1,
            max_rollouts: 1,
        }
    }

    #[test]
    fn of_two_plans_that_were_made_at_once_only_one_takes_the_turn() {
        let (a, b) = (ObjectName::new("ns", "a"), ObjectName::new("ns", "b"));
        let mut memory = FleetMemory::default();
        let planned = memory.others(&asking(&a));
        assert_eq!(memory.others(&asking(&b)), planned, "nobody is there");
        let first = memory.commit(&asking(&a), &planned, share(Turn::Running, 0));
        assert_eq!(first, Ok(None));
        let now = memory.commit(&asking(&b), &planned, share(Turn::Running, 0));
        let now = now.unwrap_err();
        assert_eq!(now.line.running.as_deref(), Some("a"));
        let idle = memory.commit(&asking(&b), &planned, share(Turn::Idle, 0));
        assert_eq!(idle, Ok(None), "what takes nothing is always right");
        let waits = Turn::Waiting(jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(memory.commit(&asking(&b), &now, share(waits, 0)), Ok(None));
    }

    #[test]
    fn of_two_restarts_that_were_planned_at_once_only_one_begins() {
        let (a, b) = (ObjectName::new("ns", "a"), ObjectName::new("other", "b"));
        let mut memory = FleetMemory::default();
        let planned = memory.others(&asking(&a));
        assert!(
            memory
                .commit(&asking(&a), &planned, share(Turn::Idle, 1))
                .is_ok()
        );
        let now = memory.commit(&asking(&b), &planned, share(Turn::Idle, 1));
        assert_eq!(now.unwrap_err().rollouts_elsewhere, 1);
    }

    #[test]
    fn of_a_large_fleet_a_hundredth_is_restarted_at_once() {
        let mut memory = FleetMemory::default();
        let small = ObjectName::new("ns", "small");
        let of_small = Asking {
            max_rollouts: 4,
            ..asking(&small)
        };
        assert_eq!(memory.others(&of_small).max_rollouts, 4);
        let large = ObjectName::new("ns", "large");
        let of_large = Asking {
            regions: 1_234,
            ..asking(&large)
        };
        for _ in 0..2 {
            let planned = memory.others(&of_large);
            let noted = memory.commit(&of_large, &planned, Share::NOTHING);
            assert!(noted.is_ok());
        }
        assert_eq!(memory.others(&of_small).max_rollouts, 12);
        memory.leave(&large);
        assert_eq!(memory.others(&of_small).max_rollouts, 4);
    }

    #[test]
    fn copies_of_others_are_counted_and_two_plans_never_take_the_same_room() {
        let (a, b) = (ObjectName::new("ns", "a"), ObjectName::new("other", "b"));
        let mut memory = FleetMemory::default();
        let copies = |copies| Share {
            copies,
            ..Share::NOTHING
        };
        let planned = memory.others(&asking(&a));
        assert!(memory.commit(&asking(&a), &planned, copies(3)).is_ok());
        let now = memory.commit(&asking(&b), &planned, copies(1)).unwrap_err();
        assert_eq!(now.copies_elsewhere, 3);
        assert!(memory.commit(&asking(&b), &now, copies(1)).is_ok());
        assert_eq!(memory.others(&asking(&a)).copies_elsewhere, 1);
        memory.leave(&b);
        assert_eq!(memory.others(&asking(&a)).copies_elsewhere, 0);
    }
}
