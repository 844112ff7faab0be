//! One replica.

use super::run::Run;
use super::*;

/// What a pod is told: by its template, and by what is written on it.
pub type Written = (Option<Order>, Labels);

/// Whether the Service of all regions leads to a pod, and that of its region.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Labels {
    pub offered: bool,
    pub routed: bool,
}

/// One replica: its volume, its pod, and what the controller wrote for it.
#[derive(Debug, Default)]
pub struct Site {
    /// By number, oldest first.
    pub kept: Vec<u8>,
    /// What a run settled.
    pub settled: Option<Order>,
    /// What the server follows since it was started.
    pub follows: Option<Order>,
    pub annotation: Option<Order>,
    pub labels: Labels,
    pub template: Written,
    /// Whether routing leads to it.
    pub routed: Labels,
    pub unreachable: bool,
    pub fails: bool,
    pub run: Option<Run>,
}

pub fn number(id: &Sha256) -> u8 {
    id.0[0]
}

impl Site {
    pub fn look(&mut self) {
        let keeps = |id: &Sha256| self.kept.contains(&number(id));
        self.follows = Order::next(self.follows, self.annotation, keeps);
    }

    pub fn restart(&mut self) {
        (self.annotation, self.labels) = self.template;
        self.follows = self.settled;
        self.routed = Labels::default();
        self.look();
    }

    pub fn serves(&self) -> Option<u8> {
        self.follows.map(|order| number(&order.snapshot))
    }

    pub fn told(&self) -> Option<Told> {
        // What a run may drop before it ends may not be ordered meanwhile.
        let stays = |n: &&u8| self.run.as_ref().is_none_or(|run| run.keep.contains(n));
        let kept = self.kept.iter().filter(stays).copied().map(kept).collect();
        let follows = self.follows;
        (!self.unreachable).then_some(Told { kept, follows })
    }
}
