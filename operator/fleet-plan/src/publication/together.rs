//! Regions of which some follow another publish together: none serves a snapshot before all that can have it do.
//!
//! What the hub prepared newest becomes the target, and stays it until it is served, however fast the upstream goes on.
//! Who is waited for is *offered*: the Mirror's Service leads there. A region that cannot be reached, or whose copies fail,
//! is not waited for, and one that is slow not for longer than patience lasts. It is withdrawn first, and the others are
//! told only once routing has left it. It comes back by catching up, and is waited for when it has almost done so. So every offered region has what any of them serves.
//! A pin, and the way back from what is skipped, wait for nobody: who lacks the snapshot is withdrawn until it has it.
//! One region can be told before the others ([`Trial`]).

mod trial;

use fleet_types::{Order, Sha256};

use self::trial::Step;
pub use self::trial::{Trial, Verdict};
use super::{Copy, Decided, Decision, Known, Wish, orders, unfulfilled};

/// How it stands, or what comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub decided: Decided,
    /// What regions copy that none serves yet, but the canary while it tries it.
    pub target: Option<Target>,
    /// Of the target.
    pub trial: Option<Trial>,
    /// A snapshot that was found bad when it was tried: only something newer comes after what is served.
    pub halted: Option<Sha256>,
}

/// The snapshot that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    pub snapshot: Sha256,
    /// Since when, in Unix seconds.
    pub since: i64,
}

/// A copy, and how it gets on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub copy: Copy,
    /// Whether it fetches for the others.
    pub is_hub: bool,
    /// Whether it is of the region that serves first what comes next.
    pub is_canary: bool,
    /// Whether it is known that it cannot be asked, where it says nothing.
    pub is_away: bool,
    /// Whether it cannot get on by itself with copying the target.
    pub fails: bool,
    /// Whether it does not follow what it was told, although it had its time.
    pub is_deaf: bool,
    /// Since when it is not offered, in Unix seconds; none while it is.
    pub withdrawn: Option<i64>,
    /// Whether routing still leads to it.
    pub is_routed: bool,
}

/// The instant of a decision and how long is waited, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    pub now: i64,
    /// For regions that are slow.
    pub patience: i64,
}

/// Routing that still leads to a withdrawn region after so many seconds is not waited for.
pub const ROUTING_PATIENCE: i64 = 180;

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Together {
    pub decision: Decision,
    pub target: Option<Target>,
    pub trial: Option<Trial>,
    pub halted: Option<Sha256>,
    /// Since when each member is not offered.
    pub withdrawn: Vec<Option<i64>>,
    /// Whether each holds up the target.
    pub waited_for: Vec<bool>,
    /// When time alone changes this, in Unix seconds.
    pub look_again: Option<i64>,
}

/// Decides. `known` are snapshots of copies that may not be there to be asked.
pub fn decide(
    before: &Standing,
    wish: &Wish,
    known: &[Known],
    members: &[Member],
    clock: Clock,
) -> Together {
    let copies: Vec<Copy> = members.iter().map(|member| member.copy.clone()).collect();
    let pin = wish.pin(&before.decided, known, &copies);
    let mut snapshots = Snapshots {
        wish,
        known,
        copies: &copies,
        halted: before.halted,
    };
    let (served, pinned) = match pin {
        Ok(Some(pin)) => (Some(pin), true),
        Ok(None) => (snapshots.served(&before.decided), false),
        // Nothing moves.
        Err(_) => (before.decided.snapshot, before.decided.pinned),
    };
    let target = match pin {
        Ok(None) => snapshots.target(before.target, served, members, clock.now),
        Ok(Some(_)) | Err(_) => None,
    };
    let of_target = |trial: &Trial| target.is_some_and(|it| it.snapshot == trial.snapshot);
    let mut round = Round {
        served,
        target,
        trial: before.trial.filter(of_target),
        halted: before.halted,
        members,
        clock,
        withdrawn: Vec::new(),
    };
    round.withdrawn = members.iter().map(|one| round.standing(one)).collect();
    let waited_for = round.waited_for();
    let look_again = round.look_again();
    let is_ready = round.is_ready(&waited_for) && !round.takes_back();
    let halted = round.take(round.step(round.trial, wish, is_ready));
    snapshots.halted = halted.or(before.halted);
    let look_again = look_again.into_iter().chain(round.trial_ends(wish)).min();
    let moves = round.served.filter(|_| pin.is_ok());
    let wanted = members.iter().map(|member| {
        let copy = &member.copy;
        let tried = round.tried_by(member).filter(|id| copy.keeps(id));
        let wanted = tried.or_else(|| moves.filter(|id| copy.keeps(id)))?;
        let may_serve = pinned || !snapshots.would_turn_back(copy, &wanted);
        may_serve.then_some(wanted)
    });
    let (epoch, orders) = orders(&before.decided, &copies, wanted);
    Together {
        decision: Decision {
            decided: Decided {
                epoch,
                snapshot: round.served,
                pinned,
            },
            orders,
            unfulfilled: unfulfilled(pin, wish, &copies),
        },
        target: round.target,
        trial: round.trial,
        halted: snapshots
            .halted
            .filter(|id| snapshots.is_newer(id, round.served)),
        withdrawn: round.withdrawn,
        waited_for: match round.target {
            Some(_) => waited_for,
            None => vec![false; members.len()],
        },
        look_again,
    }
}

/// What is known of snapshots.
struct Snapshots<'a> {
    wish: &'a Wish<'a>,
    known: &'a [Known],
    copies: &'a [Copy],
    halted: Option<Sha256>,
}

impl Snapshots<'_> {
    /// Whether nobody is to serve it, but by a pin.
    fn is_out(&self, id: &Sha256) -> bool {
        self.wish.skips(id) || self.halted == Some(*id)
    }

    /// When one was made, as whoever keeps it says; nobody knows of one that is known to nobody.
    fn made(&self, id: &Sha256) -> i64 {
        let kept = self.copies.iter().flat_map(Copy::kept);
        let kept = kept.filter(|kept| kept.id == *id);
        let kept = kept.map(|kept| kept.created.0).max();
        kept.unwrap_or_else(|| super::created(self.known, id))
    }

    fn is_newer(&self, id: &Sha256, served: Option<Sha256>) -> bool {
        self.made(id) > served.map_or(i64::MIN, |served| self.made(&served))
    }

    /// What was served goes on being served. Where that was nothing, or is skipped, it is the newest that anybody keeps.
    fn served(&self, before: &Decided) -> Option<Sha256> {
        let stays = before.snapshot.filter(|id| !self.wish.skips(id));
        let newest = || {
            let all = self.copies.iter();
            let newest =
                all.filter_map(|copy| copy.kept().iter().rfind(|kept| !self.is_out(&kept.id)));
            newest
                .map(|kept| (kept.created.0, kept.id))
                .max()
                .map(|(_, id)| id)
        };
        stays.or_else(newest).or(before.snapshot)
    }

    /// The target before, as long as it can be reached; else the newest of the hub's, if that is newer than what is served.
    fn target(
        &self,
        before: Option<Target>,
        served: Option<Sha256>,
        members: &[Member],
        now: i64,
    ) -> Option<Target> {
        let comes_next = |id: &Sha256| Some(*id) != served && self.is_newer(id, served);
        let hub = members.iter().find(|member| member.is_hub)?;
        let is_gone = |id: &Sha256| {
            let kept = self.copies.iter().any(|copy| copy.keeps(id));
            hub.copy.told.is_some() && !kept
        };
        let stays = before.filter(|target| {
            let id = &target.snapshot;
            !self.is_out(id) && comes_next(id) && !is_gone(id)
        });
        let newest = hub.copy.newest(self.wish).map(|kept| kept.id);
        let newest = newest.filter(|id| self.halted != Some(*id));
        let next = newest.filter(comes_next).map(|snapshot| Target {
            snapshot,
            since: now,
        });
        stays.or(next)
    }

    /// Whether a copy serves something newer, that no person took back.
    fn would_turn_back(&self, copy: &Copy, wanted: &Sha256) -> bool {
        let serves = copy.follows().or(copy.order);
        serves.is_some_and(|Order { snapshot, .. }| {
            !self.is_out(&snapshot) && self.made(&snapshot) > self.made(wanted)
        })
    }
}

/// One decision, once it is known what is served and what comes next.
struct Round<'a> {
    served: Option<Sha256>,
    target: Option<Target>,
    trial: Option<Trial>,
    halted: Option<Sha256>,
    members: &'a [Member],
    clock: Clock,
    withdrawn: Vec<Option<i64>>,
}

impl Round<'_> {
    /// Since when a member is not offered.
    fn standing(&self, member: &Member) -> Option<i64> {
        let out = member.withdrawn.or(Some(self.clock.now));
        let gives_way = self.is_given_up(member) && self.goes_without(member);
        if member.copy.told.is_none() {
            return match gives_way {
                true => out,
                false => member.withdrawn,
            };
        }
        let keeps = self.served.is_some_and(|id| member.copy.keeps(&id));
        let returns = self.serves(member) && self.fits(member) && !self.is_given_up(member);
        let is_deaf = member.is_deaf && self.is_served_elsewhere(member);
        match member.withdrawn {
            _ if !keeps || is_deaf => out,
            Some(since) => (!returns).then_some(since),
            None => gives_way.then_some(self.clock.now),
        }
    }

    /// Whether it lacks the target and is not waited for any longer.
    fn is_given_up(&self, member: &Member) -> bool {
        self.target.is_some_and(|target| {
            let late = self.clock.now >= target.since.saturating_add(self.clock.patience);
            let lacks = !member.copy.keeps(&target.snapshot);
            lacks && (late || member.fails || member.is_away)
        })
    }

    /// Whether another one has the target, so that clients lose nothing.
    fn goes_without(&self, member: &Member) -> bool {
        let others = self.members.iter();
        let others = others.filter(|other| !std::ptr::eq(*other, member));
        self.target.is_some_and(|target| {
            let mut offered = others.filter(|other| other.withdrawn.is_none());
            offered.any(|other| other.copy.keeps(&target.snapshot))
        })
    }

    /// Whether the newest that a withdrawn member has was new when the target's copies began: it has all but caught up, and
    /// where it is not waited for, an upstream that is faster than its copies would leave it out for ever.
    fn is_close(&self, member: &Member) -> bool {
        let newest = member.copy.kept().last();
        newest.zip(self.target).is_some_and(|(newest, target)| {
            let since = newest.created.0.saturating_add(self.clock.patience);
            since >= target.since && !self.is_given_up(member)
        })
    }

    /// Whether another one to which clients are led serves what is decided. Where none does, who does not follow is as all others
    /// are: while nodes hear of nothing, everybody would be left out at once.
    fn is_served_elsewhere(&self, member: &Member) -> bool {
        let others = self.members.iter();
        let others = others.filter(|other| !std::ptr::eq(*other, member));
        let mut offered = others.filter(|other| other.withdrawn.is_none());
        offered.any(|other| self.serves(other))
    }

    fn serves(&self, member: &Member) -> bool {
        let follows = member.copy.follows();
        follows.is_some_and(|Order { snapshot, .. }| {
            Some(snapshot) == self.served || Some(snapshot) == self.tried_by(member)
        })
    }

    /// Goes this step; the snapshot that nobody is to serve then.
    fn take(&mut self, step: Step) -> Option<Sha256> {
        let target = self.target.map(|target| target.snapshot);
        self.trial = None;
        match step {
            Step::Waits => return None,
            Step::Tries(trial) => {
                self.trial = Some(trial);
                return None;
            }
            Step::Publishes => self.served = target,
            Step::GivesUp => {}
        }
        self.target = None;
        target.filter(|_| step == Step::GivesUp)
    }

    /// When time alone ends the trial.
    fn trial_ends(&self, wish: &Wish) -> Option<i64> {
        let at = self.trial?.ends_at(wish.soak?, self.clock.patience);
        (at > self.clock.now).then_some(at)
    }

    /// Whether it follows what it was told last.
    fn heeds(member: &Member) -> bool {
        let epoch = |order: Option<Order>| order.map_or(0, |order| order.epoch);
        epoch(member.copy.follows()) >= epoch(member.copy.order)
    }

    fn leaves(&self, member: &Member, withdrawn: Option<i64>) -> Option<i64> {
        let until = withdrawn?.saturating_add(ROUTING_PATIENCE);
        (member.is_routed && self.clock.now < until).then_some(until)
    }

    /// Who is offered, or close to it, and lacks the target, or does not follow yet what it was told before; and to whom
    /// routing leads that is not offered.
    fn waited_for(&self) -> Vec<bool> {
        let members = self.members.iter().zip(&self.withdrawn);
        let waited_for = members.map(|(member, withdrawn)| {
            self.target.is_some_and(|target| match withdrawn {
                Some(_) if self.leaves(member, *withdrawn).is_some() => true,
                Some(_) => !member.copy.keeps(&target.snapshot) && self.is_close(member),
                None => !member.copy.keeps(&target.snapshot) || !Self::heeds(member),
            })
        });
        waited_for.collect()
    }

    /// Whether the target may be served.
    fn is_ready(&self, waited_for: &[bool]) -> bool {
        self.target.is_some_and(|target| {
            let mut members = self.members.iter();
            let is_kept = members.any(|member| member.copy.keeps(&target.snapshot));
            is_kept && waited_for.iter().all(|waited_for| !waited_for)
        })
    }

    /// Whether somebody is offered from now on who was not: its siblings that are not leave routing from now on only, which the
    /// next decision looks at.
    fn takes_back(&self) -> bool {
        let mut members = self.members.iter().zip(&self.withdrawn);
        members.any(|(member, withdrawn)| member.withdrawn.is_some() && withdrawn.is_none())
    }

    fn look_again(&self) -> Option<i64> {
        let members = self.members.iter().zip(&self.withdrawn);
        let leaves = members.filter_map(|(member, withdrawn)| self.leaves(member, *withdrawn));
        let late = self.target.iter();
        let late = late.map(|target| target.since.saturating_add(self.clock.patience));
        leaves.chain(late).filter(|at| *at > self.clock.now).min()
    }
}

#[cfg(test)]
pub(super) mod tests;
