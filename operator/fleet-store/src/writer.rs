//! The one writer of a store.
//!
//! # What is served
//!
//! `current` is replaced by rename(2) after the snapshot that it will name has been made durable, and followed by an
//! fsync of the directory; there is no `syncfs` in the switch, which would wait for a neighbour's dirty pages. The
//! facts beside it (`state/snapshots.json`) are written after it and caught up with after a crash. What a person
//! decides (pin, roll back) is written before the switch, so that a crash does not undo the decision.

use std::fs::{self, File};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleet_types::{Order, Sha256};
use rustix::fs::FlockOperation;
use serde::Serialize;

use crate::document;
use crate::error::{Doing, Result, StoreError};
use crate::facts::{self, Facts};
use crate::fs::{Disk, FileSystem};
use crate::layout::Layout;
use crate::shared::Shared;
use crate::store::check_document_name;
use crate::{
    CollectReport, Identity, IndexBuilder, Snapshot, SnapshotId, Staging, Store, WantedDigests,
    collect, dropping, recover, snapshot,
};

/// The one writer of a store; also a [`Store`]. Holds the store's lock until it, its stagings and its builders are
/// dropped.
pub struct Writer {
    pub(crate) store: Store,
    pub(crate) shared: Arc<Shared>,
    staging: Staging,
    pub(crate) blobs_were_lost: bool,
}

/// What a publication came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publication {
    /// It is served from now on.
    Switched { from: Option<SnapshotId> },
    /// It was served already.
    Unchanged,
    /// Prepared; the pinned snapshot is served.
    HeldByPin { pinned: SnapshotId },
    /// It is the one that a person rolled back from.
    HeldByRollback { serving: SnapshotId },
}

impl Deref for Writer {
    type Target = Store;
    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Writer {
    /// Creates the store, or takes up an existing one and removes what a crash left half-made.
    /// [`StoreError::Busy`] while another writer has it, [`StoreError::Mismatch`] when it holds something else.
    pub fn open(dir: &Path, identity: &Identity) -> Result<Writer> {
        create_root(dir)?;
        let disk = Disk::new(dir).doing("opening the store")?;
        Writer::open_on(Box::new(disk), dir, Some(identity))
    }

    /// Takes up an existing store as what it says it is. [`StoreError::Absent`] where there is none.
    pub fn open_existing(dir: &Path) -> Result<Writer> {
        Store::open(dir)?;
        let disk = Disk::new(dir).doing("opening the store")?;
        Writer::open_on(Box::new(disk), dir, None)
    }

    pub(crate) fn open_on(
        fs: Box<dyn FileSystem>,
        dir: &Path,
        wanted: Option<&Identity>,
    ) -> Result<Writer> {
        let layout = Layout::new(dir);
        let existing = recover::identity(&layout, wanted)?;
        match (wanted, &existing) {
            (_, None) => check_nothing_else(dir)?,
            (Some(wanted), Some(existing)) if has_served(&layout) => {
                wanted.may_claim(existing, dir)?;
            }
            // A first run that came to nothing, by a wrong address for example, decides about nothing.
            _ => {}
        }
        let freed = recover::free_the_lock(&layout)?;
        let lock = take_lock(fs.as_ref(), &layout)?;
        let shared = Arc::new(Shared::new(layout.clone(), fs, lock, freed));
        let blobs_were_lost = recover::make_folders(&shared)?;
        recover::mend_documents(&shared)?;
        let identity = settle_identity(&shared, wanted, existing)?;
        let store = Store::new(layout, identity);
        recover::mend_snapshots(&store, &shared)?;
        recover::clean_up(&shared)?;
        Ok(Writer {
            store,
            staging: Staging::new(Arc::clone(&shared)),
            shared,
            blobs_were_lost,
        })
    }

    pub fn staging(&self) -> &Staging {
        &self.staging
    }

    /// As [`Store::has_blob`], and without a look at the disk where no such blob was ever made.
    pub fn has_blob(&self, digest: &Sha256, size: u64) -> bool {
        self.shared.has_blob(digest, size)
    }

    /// Where sorters of this run may spill.
    pub fn spill_dir(&self) -> std::path::PathBuf {
        self.shared.layout.staging()
    }

    /// Begins a new snapshot. Where `parent` has the same content under the same path its blob is taken to be there;
    /// all others are looked for.
    pub fn index_builder(&self, parent: Option<Arc<Snapshot>>) -> IndexBuilder {
        IndexBuilder::new(Arc::clone(&self.shared), parent)
    }

    /// Serves a prepared snapshot from now on, unless a person decided otherwise. `now` is in seconds since
    /// 1970-01-01T00:00:00Z, here and below.
    pub fn publish(&self, id: &SnapshotId, now: i64) -> Result<Publication> {
        let _deciding = self.shared.deciding();
        let (mut facts, current) = self.settled(now)?;
        if let Some(pinned) = facts.pinned.filter(|pinned| pinned != id) {
            if matches!(
                self.expect(&pinned),
                Err(StoreError::SnapshotNotFound { .. })
            ) {
                return Err(StoreError::PinLost { id: pinned });
            }
            self.serve(&pinned, &mut facts, current, now)?;
            return Ok(Publication::HeldByPin { pinned });
        }
        match current {
            Some(serving) if serving != *id && facts.rolled_back_from == Some(*id) => {
                Ok(Publication::HeldByRollback { serving })
            }
            _ if current == Some(*id) => self
                .serve(id, &mut facts, current, now)
                .map(|()| Publication::Unchanged),
            _ => {
                facts.rolled_back_from = None;
                self.serve(id, &mut facts, current, now)?;
                Ok(Publication::Switched { from: current })
            }
        }
    }

    /// Serves this snapshot and keeps it served, whatever is published, until [`Writer::unpin`].
    pub fn pin(&self, id: &SnapshotId, now: i64) -> Result<()> {
        let _deciding = self.shared.deciding();
        self.expect(id)?;
        let (mut facts, current) = self.settled(now)?;
        facts.pinned = Some(*id);
        self.write_facts(&facts)?;
        self.serve(id, &mut facts, current, now)
    }

    /// Ends a pin, and a roll back with it. What is served stays until the next [`Writer::publish`].
    pub fn unpin(&self) -> Result<()> {
        let _deciding = self.shared.deciding();
        let mut facts = self.store.facts()?;
        (facts.pinned, facts.rolled_back_from) = (None, None);
        self.write_facts(&facts)
    }

    /// Serves this snapshot until one is published that is newer than the newest now. Ends a pin.
    pub fn rollback(&self, id: &SnapshotId, now: i64) -> Result<()> {
        let _deciding = self.shared.deciding();
        self.expect(id)?;
        let newest = self.store.snapshots()?.last().map(|newest| newest.id);
        let (mut facts, current) = self.settled(now)?;
        facts.pinned = None;
        facts.rolled_back_from = newest.filter(|newest| newest != id);
        self.write_facts(&facts)?;
        self.serve(id, &mut facts, current, now)
    }

    /// Makes `current` what servers were ordered to serve, and notes the epoch. One that is not newer than what was settled
    /// before changes nothing. Whoever orders decides alone: a pin or a roll back that was made here ends.
    pub fn settle(&self, order: &Order, now: i64) -> Result<()> {
        let _deciding = self.shared.deciding();
        let id = SnapshotId(order.snapshot);
        self.expect(&id)?;
        let (mut facts, current) = self.settled(now)?;
        if order.epoch <= facts.epoch {
            return Ok(());
        }
        let first = std::mem::replace(&mut facts.epoch, order.epoch) == 0;
        (facts.pinned, facts.rolled_back_from) = (None, None);
        if current != Some(id) {
            return self.serve(&id, &mut facts, current, now);
        }
        // Who is told anew to serve what it did was told of another one in between, of which this store never heard.
        if !first {
            facts.date_anew(now);
        }
        self.write_facts(&facts)
    }

    /// Gives up snapshots beyond retention (but never a protected one), the blobs that only they named, and blobs of
    /// runs that came to nothing. To be called after a publication, not while a run has blobs that no snapshot names.
    pub fn collect(&self, now: i64, protect: &[SnapshotId]) -> Result<CollectReport> {
        let _no_insertions = self.exclude_inserter()?;
        collect::collect(&self.store, &self.shared, now, protect)
    }

    /// Whether a [`Writer::collect`] would give up something by now although nothing was published: time is over, or
    /// retention is another one. Reads little.
    pub fn is_collection_due(&self, now: i64, protect: &[SnapshotId]) -> Result<bool> {
        dropping::is_due(&self.store, now, protect)
    }

    /// For a full disk: also removes every blob that neither a snapshot nor the plan names. Lists all blobs.
    pub fn collect_for_space(
        &self,
        now: i64,
        protect: &[SnapshotId],
        wanted: &WantedDigests<'_>,
    ) -> Result<CollectReport> {
        let _no_insertions = self.exclude_inserter()?;
        collect::collect_for_space(&self.store, &self.shared, now, protect, wanted)
    }

    /// Replaces a document of `state/` in one durable step.
    pub fn state_write<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        check_document_name(name)?;
        self.shared.write_document(name, value)
    }

    /// Whether there is such a snapshot. Its head says so: going back must not take the time that reading an index
    /// takes. Servers verify the whole before they serve it, and go on with what they have where it is damaged.
    fn expect(&self, id: &SnapshotId) -> Result<()> {
        snapshot::read_meta(&self.shared.layout.snapshot(id), id).map(drop)
    }

    /// The facts as they must be after any crash, and what is served.
    fn settled(&self, now: i64) -> Result<(Facts, Option<SnapshotId>)> {
        recover::settled_facts(&self.store, &self.shared, now)
    }

    fn serve(
        &self,
        id: &SnapshotId,
        facts: &mut Facts,
        current: Option<SnapshotId>,
        now: i64,
    ) -> Result<()> {
        const DOING: &str = "switching to a snapshot";
        if current == Some(*id) {
            // A process that was killed may have renamed without syncing.
            return self
                .shared
                .fs
                .sync_dir(self.shared.layout.root())
                .doing(DOING);
        }
        self.shared.make_snapshot_durable(id)?;
        // Before the switch: a server that sees it reads the facts once.
        if facts.notice_return(id, current, now) {
            self.write_facts(facts)?;
        }
        self.shared.replace(
            &self.shared.layout.current(),
            format!("{id}\n").as_bytes(),
            DOING,
        )?;
        facts.settle(Some(*id), |_| true, now);
        self.write_facts(facts)
    }

    fn write_facts(&self, facts: &Facts) -> Result<()> {
        self.shared.write_document(facts::DOCUMENT, facts)
    }
}

/// Only the store's own directory is created durably: that of the volume is not ours.
fn create_root(dir: &Path) -> Result<()> {
    const DOING: &str = "creating the store";
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir).doing(DOING)?;
    let parent = dir
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(parent)
        .and_then(|parent| parent.sync_all())
        .doing(DOING)
}

/// Whether a snapshot was ever published here, or something that cannot be read may have been one.
fn has_served(layout: &Layout) -> bool {
    let holds = |folder: &Path| fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some());
    let facts = layout.state_document(facts::DOCUMENT);
    let files = [
        Some(layout.current()),
        document::copy_of(layout, &facts),
        Some(facts),
    ];
    let is_there = |file: &PathBuf| fs::symlink_metadata(file).is_ok();
    files.iter().flatten().any(is_there) || holds(&layout.snapshots()) || holds(&layout.set_aside())
}

/// A directory without `store.json` is only taken when nothing lies in it but files of ours.
fn check_nothing_else(dir: &Path) -> Result<()> {
    const DOING: &str = "looking into the store's directory";
    for file in fs::read_dir(dir).doing(DOING)? {
        let name = file.doing(DOING)?.file_name();
        if !recover::OURS.iter().any(|ours| name == *ours) {
            let claim = format!(
                "it is not a store, and not empty: there is {:?}",
                name.to_string_lossy()
            );
            return Err(StoreError::mismatch(dir, claim));
        }
    }
    Ok(())
}

fn take_lock(fs: &dyn FileSystem, layout: &Layout) -> Result<File> {
    const DOING: &str = "locking the store";
    let lock = fs.open(&layout.lock(), false).doing(DOING)?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Busy {
            dir: layout.root().to_owned(),
        }),
        other => other.doing(DOING).map(|()| lock),
    }
}

/// Writes `store.json` where it is missing or says something older about how the store is kept and served.
fn settle_identity(
    shared: &Shared,
    wanted: Option<&Identity>,
    existing: Option<Identity>,
) -> Result<Identity> {
    let identity = match (wanted, existing) {
        (None, Some(existing)) => return Ok(existing),
        (Some(wanted), Some(existing)) if *wanted == existing => return Ok(existing),
        (Some(wanted), _) => Identity {
            format_version: Identity::FORMAT_VERSION,
            ..wanted.clone()
        },
        (None, None) => {
            return Err(StoreError::Absent {
                dir: shared.layout.root().to_owned(),
            });
        }
    };
    shared.write_sealed(&shared.layout.identity(), &identity)?;
    Ok(identity)
}
