//! One region tries a snapshot before the others serve it: the canary.
//!
//! All have the snapshot by then. What is tried is served by the canary alone until it has soaked and was found good; found
//! bad, it is given up, and the canary goes back to what the others serve. Nothing waits for a canary that is away, nor for
//! longer than patience for one of which nobody can tell.

use fleet_types::Sha256;

use super::{Member, Round, Wish};

/// A snapshot that the canary serves, and nobody else yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    pub snapshot: Sha256,
    /// Since when, in Unix seconds.
    pub since: i64,
    /// What was found out of it; none yet.
    pub verdict: Option<Verdict>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Good,
    Bad,
}

/// What becomes of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Waits,
    /// The canary serves it.
    Tries(Trial),
    /// Nobody is to serve it.
    GivesUp,
    /// All are told to serve it.
    Publishes,
}

impl Round<'_> {
    /// `is_ready`: whether all that are waited for could serve it.
    pub(super) fn step(&self, trial: Option<Trial>, wish: &Wish, is_ready: bool) -> Step {
        let Some(target) = self.target else {
            return Step::Waits;
        };
        let may_go_on = is_ready && !wish.paused;
        let Some(soak) = wish.soak else {
            return match may_go_on {
                true => Step::Publishes,
                false => Step::Waits,
            };
        };
        let Some(trial) = trial else {
            return match may_go_on {
                true if self.has_canary() => Step::Tries(Trial {
                    snapshot: target.snapshot,
                    since: self.clock.now,
                    verdict: None,
                }),
                true => Step::Publishes,
                false => Step::Waits,
            };
        };
        let over = trial.ends_at(soak, self.clock.patience);
        match trial.verdict {
            Some(Verdict::Bad) => Step::GivesUp,
            _ if may_go_on && self.clock.now >= over => Step::Publishes,
            _ => Step::Tries(trial),
        }
    }

    /// Whether somebody can try it for the others: clients are led there, and it does what it is told.
    fn has_canary(&self) -> bool {
        let mut members = self.members.iter().zip(&self.withdrawn);
        members.any(|(member, withdrawn)| {
            let answers = member.copy.told.is_some() && !member.is_deaf;
            member.is_canary && withdrawn.is_none() && answers
        })
    }

    /// What a member is to serve, besides what is decided for all.
    pub(super) fn tried_by(&self, member: &Member) -> Option<Sha256> {
        let trial = self.trial.filter(|_| member.is_canary);
        trial.map(|trial| trial.snapshot)
    }
}

impl Trial {
    /// When nobody waits for it any longer, by what is known of it.
    pub fn ends_at(&self, soak: i64, patience: i64) -> i64 {
        let soaked = self.since.saturating_add(soak);
        match self.verdict {
            Some(_) => soaked,
            None => soaked.saturating_add(patience),
        }
    }
}
