//! Blobs that are there and damaged: what a run knows of them, and what becomes of it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

use fleet_store::{Store, Writer};
use fleet_types::{Sha256, lock};

use crate::Damaged;
use crate::Problem;

/// The damaged blobs while a run mends them.
#[derive(Debug, Default)]
pub(super) struct Damage(Mutex<Lists>);

#[derive(Debug, Default)]
struct Lists {
    recorded: Damaged,
    open: BTreeSet<Sha256>,
    /// Those of them that only older snapshots name, where the upstream said at last that it does not have them.
    lost: BTreeSet<Sha256>,
    /// Fetched, and not durable yet.
    arrived: Vec<Sha256>,
}

impl Damage {
    /// What is recorded, and what the store's server and `told` met. All of it is recorded then.
    pub fn take(writer: &Writer, told: &[Sha256]) -> Result<Damage, Problem> {
        let recorded: Option<Damaged> = writer.take_state(Damaged::DOCUMENT)?;
        let mut damaged = recorded.unwrap_or_default();
        let before = damaged.blobs.len();
        let met = writer.suspects()?;
        let mut blobs = writer.lost_blobs()?;
        blobs.extend(met.iter().chain(told));
        damaged.blobs.extend(blobs.difference(&damaged.lost));
        if damaged.blobs.len() > before {
            writer.state_write(Damaged::DOCUMENT, &damaged)?;
        }
        writer.forget_suspects(&met)?;
        Ok(Damage::known(damaged))
    }

    /// What is recorded, for a dry run.
    pub fn of(store: &Store) -> Damage {
        let recorded: Option<Damaged> = store.state(Damaged::DOCUMENT).unwrap_or_default();
        Damage::known(recorded.unwrap_or_default())
    }

    fn known(recorded: Damaged) -> Damage {
        Damage(Mutex::new(Lists {
            open: recorded.blobs.union(&recorded.lost).copied().collect(),
            lost: recorded.lost.clone(),
            recorded,
            arrived: Vec::new(),
        }))
    }

    /// Something is damaged that nobody knew of.
    pub fn found(&self, digest: Sha256) {
        self.lists().open.insert(digest);
    }

    pub fn is_lost(&self, digest: &Sha256) -> bool {
        self.lists().lost.contains(digest)
    }

    pub fn contains(&self, digest: &Sha256) -> bool {
        self.lists().open.contains(digest)
    }

    pub fn is_empty(&self) -> bool {
        self.lists().open.is_empty()
    }

    pub fn count(&self) -> usize {
        self.lists().open.len()
    }

    pub fn arrived(&self, digest: &Sha256) {
        let mut lists = self.lists();
        if lists.open.contains(digest) {
            lists.arrived.push(*digest);
        }
    }

    /// Everything that has arrived is in the store for good.
    pub fn arrivals_are_durable(&self) {
        let mut lists = self.lists();
        for digest in std::mem::take(&mut lists.arrived) {
            lists.open.remove(&digest);
            lists.lost.remove(&digest);
        }
    }

    pub fn give_up(&self, digest: &Sha256) {
        let mut lists = self.lists();
        lists.open.remove(digest);
        lists.lost.remove(digest);
    }

    pub fn open(&self) -> BTreeSet<Sha256> {
        self.lists().open.clone()
    }

    /// What nobody has any more, as of now.
    pub fn lose(&self, lost: BTreeSet<Sha256>) {
        self.lists().lost = lost;
    }

    pub fn lost(&self) -> BTreeSet<Sha256> {
        self.lists().lost.clone()
    }

    /// Brings the store's list in line: what was found is on it, what is whole again is not.
    pub fn settle(&self, writer: &Writer) -> Result<(), Problem> {
        let mut lists = self.lists();
        let damaged = Damaged {
            blobs: lists.open.difference(&lists.lost).copied().collect(),
            lost: lists.lost.clone(),
        };
        if damaged != lists.recorded {
            writer.state_write(Damaged::DOCUMENT, &damaged)?;
            lists.recorded = damaged;
        }
        Ok(())
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        lock(&self.0)
    }
}
