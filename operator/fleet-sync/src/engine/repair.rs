//! Repair: what `mirrorfleet verify` found damaged is fetched again, for whichever kept snapshot names it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fleet_store::{EntryState, Snapshot, Store, Writer};
use fleet_types::{Digest, Expected, RepoPath, Sha256};

use super::run::{Run, blocking};
use super::shelves::Shelves;
use crate::Damaged;
use crate::fetch::{Arrival, Delivery, FailureKind, Sink, Want};
use crate::{Phase, Problem};

/// The names of one content that are tried upstream.
const MAX_SOURCES: usize = 4;

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

    fn give_up(&self, digest: &Sha256) {
        let mut lists = self.lists();
        lists.open.remove(digest);
        lists.lost.remove(digest);
    }

    fn open(&self) -> BTreeSet<Sha256> {
        self.lists().open.clone()
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A damaged blob as the snapshots name it.
struct Named {
    size: u64,
    /// Whether each may name something else upstream by now, and the name: names that never change come first.
    names: BTreeSet<(bool, RepoPath)>,
}

impl Run {
    /// Fetches damaged blobs again where the upstream still has them. What cannot be had stays on the list and counts
    /// as missing.
    pub(super) async fn repair(self: Arc<Self>) -> Result<(), Problem> {
        if self.shelves.damage.is_empty() {
            return Ok(());
        }
        self.progress.phase(Phase::Fetch);
        let run = self.clone();
        let named: Vec<(Sha256, Named)> =
            blocking(move || Ok(run.named_damage()?.into_iter().collect())).await?;
        self.preflight_sizes(named.iter().map(|(_, named)| named.size))?;
        self.progress.note(&format!(
            "fetching {} files again that were found damaged",
            named.len()
        ));
        let wants: Vec<_> = named
            .iter()
            .enumerate()
            .map(|(tag, (digest, named))| Ok(self.repair_want(tag, *digest, named)))
            .collect();
        let mut not_there = BTreeSet::new();
        let mut deliver = |delivery: Delivery| {
            let asked = usize::try_from(delivery.tag).ok();
            let asked = asked.and_then(|tag| named.get(tag));
            match delivery.result {
                Ok(Arrival::Complete(received)) => {
                    self.count_files(1);
                    self.shelves.damage.arrived(&received.digest);
                }
                Ok(Arrival::NotModified) => {}
                Err(error) => {
                    let lacks = matches!(error.kind, FailureKind::NotFound | FailureKind::Mismatch);
                    not_there.extend(asked.filter(|_| lacks).map(|(digest, _)| *digest));
                    self.progress.note(&format!(
                        "a damaged file cannot be fetched again: {}",
                        error.message
                    ));
                }
            }
            Ok(())
        };
        self.fetch_durably(wants, &mut deliver).await?;
        let run = self.clone();
        blocking(move || run.lose(not_there)).await
    }

    /// What the upstream does not have and neither the newest snapshot nor the served one names is lost. Other bytes in
    /// its place go.
    fn lose(&self, not_there: BTreeSet<Sha256>) -> Result<(), Problem> {
        let damage = &self.shelves.damage;
        let mut lost = not_there;
        lost.extend(&damage.lists().lost);
        if lost.is_empty() {
            return Ok(());
        }
        let served = self.shelves.writer.current_snapshot().ok().flatten();
        let newest = self.base.as_ref().map(|base| &base.snapshot);
        let another = served
            .as_ref()
            .filter(|served| newest.is_none_or(|newest| newest.id() != served.id()));
        for snapshot in newest.into_iter().chain(another) {
            for (_, entry) in snapshot.iter() {
                lost.remove(&entry.digest);
            }
        }
        for digest in &lost {
            self.shelves
                .writer
                .set_aside_blob(digest, "it is damaged, and the upstream no longer has it")?;
        }
        damage.lists().lost = lost;
        Ok(())
    }

    fn repair_want(&self, tag: usize, digest: Sha256, named: &Named) -> Want {
        let expected = Expected {
            size: named.size,
            digest: Digest::Sha256(digest),
        };
        let sources = named.names.iter().take(MAX_SOURCES);
        Want {
            tag: tag as u64,
            sources: sources.map(|(_, path)| path.clone()).collect(),
            only: None,
            validators: None,
            sink: Sink::stored(expected, self.writers.clone()),
        }
    }

    /// Looks for the damaged blobs in all kept snapshots. What no snapshot names is of no use.
    fn named_damage(&self) -> Result<BTreeMap<Sha256, Named>, Problem> {
        let damage = &self.shelves.damage;
        let mut found = BTreeMap::new();
        let kept = self
            .base
            .iter()
            .flat_map(|base| base.older.iter().chain([&base.snapshot]));
        for snapshot in kept {
            self.stop.check()?;
            find_names(snapshot, damage, &mut found);
        }
        for digest in damage.open() {
            if !found.contains_key(&digest) {
                let why = "it is damaged, and nothing names it";
                self.shelves.writer.set_aside_blob(&digest, why)?;
                damage.give_up(&digest);
            }
        }
        Ok(found)
    }

    /// Whether the newest snapshot names something that is still damaged.
    pub(super) fn base_is_damaged(&self) -> bool {
        let damage = &self.shelves.damage;
        let Some(base) = self.base.as_ref().filter(|_| !damage.is_empty()) else {
            return false;
        };
        let mut entries = base.snapshot.iter();
        entries
            .any(|(_, entry)| entry.state == EntryState::Present && damage.contains(&entry.digest))
    }

    /// Fetches all of this, and makes durable what came.
    pub(super) async fn fetch_durably(
        &self,
        wants: Vec<Result<Want, Problem>>,
        deliver: &mut (dyn FnMut(Delivery) -> Result<(), Problem> + Send),
    ) -> Result<(), Problem> {
        let wants = futures::stream::iter(wants);
        self.fetcher.fetch_all(wants, deliver).await?;
        self.make_durable().await
    }

    /// Makes everything durable that was fetched so far.
    pub(super) async fn make_durable(&self) -> Result<(), Problem> {
        self.writers.flush().await?;
        self.shelves.damage.arrivals_are_durable();
        Ok(())
    }
}

fn find_names(snapshot: &Snapshot, damage: &Damage, found: &mut BTreeMap<Sha256, Named>) {
    for (path, entry) in snapshot.iter() {
        if entry.state != EntryState::Present || !damage.contains(&entry.digest) {
            continue;
        }
        let named = found.entry(entry.digest).or_insert_with(|| Named {
            size: entry.size,
            names: BTreeSet::new(),
        });
        named.names.insert((entry.mutable, path));
    }
}

impl Shelves {
    /// Brings the store's list in line: what was found is on it, what is whole again is not.
    pub fn settle_damage(&self) -> Result<(), Problem> {
        let mut lists = self.damage.lists();
        let damaged = Damaged {
            blobs: lists.open.difference(&lists.lost).copied().collect(),
            lost: lists.lost.clone(),
        };
        if damaged != lists.recorded {
            self.writer.state_write(Damaged::DOCUMENT, &damaged)?;
            lists.recorded = damaged;
        }
        Ok(())
    }
}
