//! Which snapshot is to be served, and what each copy is told: a decision from plain values.
//!
//! An epoch is the number of a decision. It grows when a copy is told something else than before, so that no copy ever
//! takes an older decision for a newer one. A copy is told only what it keeps: where a snapshot is missing it goes on with
//! what it was told before. What nobody can be asked about stays as it was decided.

pub mod sources;
pub mod together;

use fleet_types::documents::KeptSnapshot;
use fleet_types::{Order, Sha256};

/// What the manifest says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish<'a> {
    /// The id of the snapshot to serve, or the beginning of it; empty: the newest.
    pub pinned: &'a str,
    /// Beginnings of the ids of snapshots that are not served but by a pin.
    pub skip: &'a [String],
    /// Whether nothing newer is served than is.
    pub paused: bool,
    /// For how many seconds one region serves what comes next before the others do; none where all do at once.
    pub soak: Option<i64>,
}

/// The decision as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// Of the newest order; 0 before the first.
    pub epoch: u64,
    /// What is to be served; none before the first.
    pub snapshot: Option<Sha256>,
    /// Whether that is because of a pin.
    pub pinned: bool,
}

/// A snapshot that some copy keeps, or kept when it was last asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    pub id: Sha256,
    /// Unix seconds.
    pub created: i64,
}

/// One copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// What it was told last.
    pub order: Option<Order>,
    /// What it says; none while it cannot be asked.
    pub told: Option<Told>,
}

/// What a copy says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// What it may be told to serve, oldest first.
    pub kept: Vec<KeptSnapshot>,
    /// What it serves, and by which order; none where it serves nothing, or nobody has ordered what it serves.
    pub follows: Option<Order>,
}

/// Why a wish cannot be fulfilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfulfilled {
    /// No copy keeps the pinned snapshot.
    PinNotFound,
    /// Several snapshots begin with what is pinned.
    PinAmbiguous,
    /// Nothing is kept but what is to be skipped.
    AllSkipped,
}

/// The next decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub decided: Decided,
    /// What each copy is told, in the order of the copies.
    pub orders: Vec<Option<Order>>,
    pub unfulfilled: Option<Unfulfilled>,
}

/// Decides. `known` are snapshots of copies that may not be there to be asked.
pub fn decide(before: &Decided, wish: &Wish, known: &[Known], copies: &[Copy]) -> Decision {
    let pin = wish.pin(before, known, copies);
    let (snapshot, pinned) = match pin {
        Ok(Some(pin)) => (Some(pin), true),
        Ok(None) => (
            newest(before, wish, known, copies).or(before.snapshot),
            false,
        ),
        // Nothing moves.
        Err(_) => (before.snapshot, before.pinned),
    };
    let wanted = copies.iter().map(|copy| match pin {
        Ok(Some(pin)) => copy.keeps(&pin).then_some(pin),
        Ok(None) => copy.goes_on(before, wish, known),
        Err(_) => None,
    });
    let (epoch, orders) = orders(before, copies, wanted);
    Decision {
        decided: Decided {
            epoch,
            snapshot,
            pinned,
        },
        orders,
        unfulfilled: unfulfilled(pin, wish, copies),
    }
}

/// What is wrong with the wish, as far as somebody can be asked.
fn unfulfilled(
    pin: Result<Option<Sha256>, Unfulfilled>,
    wish: &Wish,
    copies: &[Copy],
) -> Option<Unfulfilled> {
    let heard = |copy: &Copy| copy.told.is_some();
    match pin {
        Err(problem) => copies.iter().any(heard).then_some(problem),
        Ok(Some(pin)) => {
            let lost = copies.iter().all(|copy| heard(copy) && !copy.keeps(&pin));
            (lost && !copies.is_empty()).then_some(Unfulfilled::PinNotFound)
        }
        Ok(None) => {
            let all_skipped = copies.iter().any(|copy| copy.has_only_skipped(wish));
            all_skipped.then_some(Unfulfilled::AllSkipped)
        }
    }
}

impl Wish<'_> {
    /// The pinned snapshot. It is looked for once: what was found stays it, whatever else comes to begin like it.
    fn pin(
        &self,
        before: &Decided,
        known: &[Known],
        copies: &[Copy],
    ) -> Result<Option<Sha256>, Unfulfilled> {
        if self.pinned.is_empty() {
            return Ok(None);
        }
        let begins = |id: &Sha256| id.to_string().starts_with(self.pinned);
        if let Some(found) = before.snapshot.filter(|id| before.pinned && begins(id)) {
            return Ok(Some(found));
        }
        let kept = copies.iter().flat_map(Copy::kept).map(|kept| kept.id);
        let known = known.iter().map(|known| known.id);
        let mut fitting: Vec<Sha256> = known.chain(kept).filter(begins).collect();
        fitting.sort_unstable();
        fitting.dedup();
        match fitting.as_slice() {
            [] => Err(Unfulfilled::PinNotFound),
            [one] => Ok(Some(*one)),
            _ => Err(Unfulfilled::PinAmbiguous),
        }
    }

    fn skips(&self, id: &Sha256) -> bool {
        let id = id.to_string();
        self.skip.iter().any(|beginning| id.starts_with(beginning))
    }
}

impl Copy {
    fn kept(&self) -> &[KeptSnapshot] {
        self.told.as_ref().map_or(&[], |told| &told.kept)
    }

    /// What it serves by order, as it says.
    fn follows(&self) -> Option<Order> {
        self.told.as_ref()?.follows
    }

    pub fn keeps(&self, id: &Sha256) -> bool {
        self.kept().iter().any(|kept| kept.id == *id)
    }

    /// The newest that is not skipped.
    fn newest(&self, wish: &Wish) -> Option<&KeptSnapshot> {
        self.kept().iter().rfind(|kept| !wish.skips(&kept.id))
    }

    /// The newest; but none that is older than what it was told and has lost: only a person turns the clock back.
    fn goes_on(&self, before: &Decided, wish: &Wish, known: &[Known]) -> Option<Sha256> {
        let stays = self.ordered().filter(|id| wish.paused && !wish.skips(id));
        if stays.is_some() {
            return stays;
        }
        let newest = self.newest(wish)?;
        let counts = |id: &Sha256| !before.pinned && !wish.skips(id) && !self.keeps(id);
        let lost = self.order.map(|order| order.snapshot).filter(counts);
        let made = lost.map_or(i64::MIN, |id| created(known, &id));
        (newest.created.0 >= made).then_some(newest.id)
    }

    /// Whether its newest is skipped.
    pub fn goes_back(&self, wish: &Wish) -> bool {
        self.kept().last().is_some_and(|kept| wish.skips(&kept.id))
    }

    fn has_only_skipped(&self, wish: &Wish) -> bool {
        !self.kept().is_empty() && self.newest(wish).is_none()
    }

    /// Whether it must be told anew to serve this.
    fn must_be_told(&self, wanted: &Sha256) -> bool {
        let Some(order) = self.order else {
            return true;
        };
        if order.snapshot != *wanted {
            return true;
        }
        // Somebody else told it something, and it will not listen to what is older.
        self.follows().is_some_and(|follows| {
            let other = follows.snapshot != *wanted;
            follows.epoch > order.epoch || (other && follows.epoch == order.epoch)
        })
    }

    /// What it goes on with where nothing better is here.
    fn ordered(&self) -> Option<Sha256> {
        let ordered = self.order.map(|order| order.snapshot);
        ordered.filter(|id| self.keeps(id))
    }

    /// The highest epoch that it knows of.
    fn epoch(&self) -> u64 {
        let known = self.order.into_iter().chain(self.follows());
        known.map(|order| order.epoch).max().unwrap_or(0)
    }
}

/// The next order of each copy, and the epoch of the newest.
fn orders(
    before: &Decided,
    copies: &[Copy],
    wanted: impl Iterator<Item = Option<Sha256>>,
) -> (u64, Vec<Option<Order>>) {
    let known = copies.iter().map(Copy::epoch);
    let highest = known.chain([before.epoch]).max().unwrap_or(0);
    let epoch = highest.saturating_add(1).min(Order::MAX_EPOCH);
    let next = copies.iter().zip(wanted).map(|(copy, wanted)| {
        let wanted = wanted.or_else(|| copy.ordered());
        let wanted = wanted.filter(|wanted| copy.must_be_told(wanted));
        let order = wanted.map(|snapshot| Order { epoch, snapshot });
        order.or(copy.order)
    });
    let next: Vec<Option<Order>> = next.collect();
    let moves = (copies.iter().zip(&next)).any(|(copy, next)| copy.order != *next);
    (if moves { epoch } else { before.epoch }, next)
}

/// The newest snapshot that is not skipped, of those that copies keep and of what was decided before.
fn newest(before: &Decided, wish: &Wish, known: &[Known], copies: &[Copy]) -> Option<Sha256> {
    let kept = copies.iter().filter_map(|copy| copy.newest(wish));
    let kept = kept.map(|kept| (kept.created.0, kept.id));
    let stays = before.snapshot.filter(|id| !wish.skips(id));
    if wish.paused && stays.is_some() {
        return stays;
    }
    let decided = stays.filter(|_| !before.pinned);
    let decided = decided.map(|id| (created(known, &id), id));
    kept.chain(decided).max().map(|(_, id)| id)
}

fn created(known: &[Known], id: &Sha256) -> i64 {
    let known = known.iter().find(|known| known.id == *id);
    known.map_or(i64::MIN, |known| known.created)
}

#[cfg(test)]
mod tests;
