//! Giving up snapshots and blobs.
//!
//! # Order, and what a crash leaves
//!
//! 1. What clients may still ask for of the snapshots to drop is put on the list of names that stay ([`crate::retain`]),
//!    durably. Then they are renamed (`<id>.<time>.dropped`): readers no longer list or open them. The rename is
//!    durable before anything else, so no listed snapshot ever lacks a blob.
//! 2. The blobs that only they named, those of names whose time is over, and the noted blobs of runs that made no snapshot, are removed.
//! 3. After a `syncfs` the dropped indices themselves are removed. A crash before that leaves the dropped index or
//!    the note, and the next collection takes up from there.
//!
//! What is compared is only what changed: the digests of a dropped snapshot that its kept neighbour does not have
//! under the same path, and those of blobs committed since the last collection, a bounded number at a time. No blob is
//! looked at unless it is removed.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleet_types::Sha256;
use rustix::fs::FlockOperation;

use crate::dropping::drop_snapshots;
use crate::error::{Doing, Result, StoreError};
use crate::layout::Layout;
use crate::merge::Changes;
use crate::retained::Retained;
use crate::shared::Shared;
use crate::snapshot::{Snapshot, scan_blobs};
use crate::{Entry, EntryState, Retention, SnapshotId, Store, retain};

/// What a collection came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CollectReport {
    /// No longer listed.
    pub dropped: Vec<SnapshotId>,
    /// Not listed, but a reader still has them open: their blobs go with a later collection.
    pub in_use: Vec<SnapshotId>,
    pub blobs_removed: u64,
    pub bytes_freed: u64,
}

/// Calls its argument for every digest that the plan names. It may be asked several times.
pub type WantedDigests<'a> = dyn Fn(&mut dyn FnMut(&Sha256)) -> Result<()> + 'a;

/// A reader that still has a dropped snapshot open after so many seconds is not waited for: what it has open stays
/// readable, and a blob that it does not find makes it resolve the path again.
const READER_GRACE_SECONDS: i64 = 3600;
/// Digests that are held in memory at once: some 3 MiB.
const CHUNK: usize = 64 << 10;
const DOING: &str = "collecting what is no longer needed";

pub(crate) fn collect(
    store: &Store,
    shared: &Shared,
    now: i64,
    protect: &[SnapshotId],
) -> Result<CollectReport> {
    let _deciding = shared.deciding();
    let _collecting = shared.collecting();
    let mut report = CollectReport {
        dropped: drop_snapshots(store, shared, now, protect)?,
        ..CollectReport::default()
    };
    give_up_blobs(
        store,
        shared,
        now,
        |dropped| now.saturating_sub(dropped.at) >= READER_GRACE_SECONDS,
        &mut report,
    )?;
    Ok(report)
}

pub(crate) fn collect_for_space(
    store: &Store,
    shared: &Shared,
    now: i64,
    protect: &[SnapshotId],
    wanted: &WantedDigests<'_>,
) -> Result<CollectReport> {
    let _deciding = shared.deciding();
    let _collecting = shared.collecting();
    let mut report = CollectReport::default();
    remove_idle_staging(shared, &mut report)?;
    // Nothing can be written on a full disk, so what needs no writing comes first.
    sweep(store, shared, now, wanted, &mut report)?;
    report.dropped = drop_snapshots(store, shared, now, protect)?;
    let dropped = dropped_snapshots(shared)?;
    sweep(store, shared, now, wanted, &mut report)?;
    shared.fs.sync_all().doing(DOING)?;
    remove_indices(shared, &dropped)?;
    Ok(report)
}

/// Steps 2 and 3.
fn give_up_blobs(
    store: &Store,
    shared: &Shared,
    now: i64,
    grace_is_over: impl Fn(&Dropped) -> bool,
    report: &mut CollectReport,
) -> Result<()> {
    let noted = fs::metadata(shared.layout.committed()).map_or(0, |m| m.len());
    let (free, in_use): (Vec<_>, Vec<_>) = dropped_snapshots(shared)?
        .into_iter()
        .partition(|dropped| grace_is_over(dropped) || !has_reader(&dropped.path));
    report.in_use = in_use.iter().map(|dropped| dropped.id).collect();
    if free.is_empty() && noted == 0 {
        return Ok(());
    }
    // An earlier process may have been killed between step 1's rename and its sync.
    shared
        .fs
        .sync_dir(&shared.layout.snapshots())
        .doing(DOING)?;
    let mut garbage = Garbage {
        shared,
        kept: kept(store, shared, &in_use, now)?,
        chunk: HashSet::new(),
        report,
    };
    for dropped in &free {
        garbage.add_snapshot(store, dropped)?;
    }
    garbage.add_noted()?;
    garbage.remove_chunk()?;
    shared.fs.sync_all().doing(DOING)?;
    remove_indices(shared, &free)?;
    if noted > 0 {
        shared.replace(&shared.layout.committed(), &[], DOING)
    } else {
        Ok(())
    }
}

fn remove_indices(shared: &Shared, dropped: &[Dropped]) -> Result<()> {
    for dropped in dropped {
        shared.fs.remove_file(&dropped.path).doing(DOING)?;
    }
    Ok(())
}

/// A snapshot after step 1.
struct Dropped {
    id: SnapshotId,
    at: i64,
    path: PathBuf,
}

fn dropped_snapshots(shared: &Shared) -> Result<Vec<Dropped>> {
    let mut found = Vec::new();
    for file in fs::read_dir(shared.layout.snapshots()).doing(DOING)? {
        let path = file.doing(DOING)?.path();
        let parsed = path
            .file_name()
            .and_then(|name| Layout::parse_dropped(name.to_str()?));
        found.extend(parsed.map(|(id, at)| Dropped { id, at, path }));
    }
    Ok(found)
}

/// Readers hold a shared lock on the index that they have open.
fn has_reader(index: &Path) -> bool {
    let lock = |file: File| rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
    File::open(index).is_ok_and(|file| lock(file) == Err(rustix::io::Errno::WOULDBLOCK))
}

/// What blobs must stay for.
struct Kept {
    indices: Vec<(SnapshotId, PathBuf)>,
    retained: Option<Arc<Retained>>,
    retention: Retention,
    now: i64,
}

fn kept(store: &Store, shared: &Shared, in_use: &[Dropped], now: i64) -> Result<Kept> {
    let listed = store.snapshot_ids()?.into_iter();
    let listed = listed.map(|id| (id, shared.layout.snapshot(&id)));
    let in_use = in_use.iter().map(|old| (old.id, old.path.clone()));
    Ok(Kept {
        indices: listed.chain(in_use).collect(),
        retained: retain::take(store, shared)?,
        retention: store.identity().retention,
        now,
    })
}

/// Digests that may no longer be needed, until it is known.
struct Garbage<'a> {
    shared: &'a Shared,
    kept: Kept,
    chunk: HashSet<[u8; 32]>,
    report: &'a mut CollectReport,
}

impl Garbage<'_> {
    fn add(&mut self, digest: [u8; 32]) -> Result<()> {
        self.chunk.insert(digest);
        if self.chunk.len() >= CHUNK {
            self.remove_chunk()
        } else {
            Ok(())
        }
    }

    fn add_snapshot(&mut self, store: &Store, dropped: &Dropped) -> Result<()> {
        let old = match Snapshot::open(&dropped.path, &dropped.id) {
            Ok(old) => old,
            Err(StoreError::Corrupt { problem, .. }) => {
                let id = dropped.id;
                tracing::warn!(snapshot = %id, problem, "a dropped index is damaged: its blobs stay until the disk is full");
                return Ok(());
            }
            Err(other) => return Err(other),
        };
        let neighbour = store
            .snapshots()?
            .last()
            .map(|newest| store.snapshot(&newest.id))
            .transpose()?;
        match &neighbour {
            Some(neighbour) => Changes::new(Some(&old), neighbour)
                .filter(|change| !same_content(change.before.as_ref(), change.after.as_ref()))
                .filter_map(|change| change.before)
                .try_for_each(|entry| self.add_entry(&entry)),
            None => old.iter().try_for_each(|(_, entry)| self.add_entry(&entry)),
        }
    }

    fn add_entry(&mut self, entry: &Entry) -> Result<()> {
        if entry.state.is_offered() {
            self.add(entry.digest.0)
        } else {
            Ok(())
        }
    }

    /// Blobs that were committed since the last collection.
    fn add_noted(&mut self) -> Result<()> {
        use std::io::Read;
        let file = match File::open(self.shared.layout.committed()) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            other => other.doing(DOING)?,
        };
        let mut notes = std::io::BufReader::new(file);
        let mut digest = [0; 32];
        loop {
            match notes.read_exact(&mut digest) {
                Ok(()) => self.add(digest)?,
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                Err(e) => return Err(e).doing(DOING),
            }
        }
    }

    fn remove_chunk(&mut self) -> Result<()> {
        retain_needed(&mut self.chunk, &self.kept)?;
        remove_blobs(self.shared, self.chunk.drain(), self.report)
    }
}

fn same_content(before: Option<&Entry>, after: Option<&Entry>) -> bool {
    let content = |entry: &Entry| (entry.state, entry.digest);
    before.map(content) == after.map(content)
}

/// Takes out what a kept snapshot offers, also what is only there since somebody asked for it, and what clients may still ask for by name.
fn retain_needed(chunk: &mut HashSet<[u8; 32]>, kept: &Kept) -> Result<()> {
    for (id, index) in &kept.indices {
        if chunk.is_empty() {
            return Ok(());
        }
        scan_blobs(index, id, EntryState::is_offered, &mut |digest, _| {
            chunk.remove(digest);
        })?;
    }
    let Some(retained) = &kept.retained else {
        return Ok(());
    };
    for (_, gone) in retained.iter() {
        if kept.retention.is_recent(gone.at, kept.now) {
            chunk.remove(&gone.entry.digest.0);
        }
    }
    retained.expect_whole()
}

fn remove_blobs(
    shared: &Shared,
    digests: impl Iterator<Item = [u8; 32]>,
    report: &mut CollectReport,
) -> Result<()> {
    for digest in digests {
        remove_counted(shared, &shared.layout.blob(&Sha256(digest)), report)?;
    }
    Ok(())
}

fn remove_counted(shared: &Shared, path: &Path, report: &mut CollectReport) -> Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    shared.fs.remove_file(path).doing(DOING)?;
    report.blobs_removed += 1;
    report.bytes_freed += metadata.len();
    Ok(())
}

/// Removes unfinished downloads that nobody is writing.
fn remove_idle_staging(shared: &Shared, report: &mut CollectReport) -> Result<()> {
    let busy = shared.reserved();
    for file in fs::read_dir(shared.layout.staging()).doing(DOING)? {
        let path = file.doing(DOING)?.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        if metadata.is_file() && !busy.contains(path.as_os_str()) {
            shared.fs.remove_file(&path).doing(DOING)?;
            report.bytes_freed += metadata.len();
        }
    }
    Ok(())
}

/// Goes over all blobs, a bounded number at a time.
fn sweep(
    store: &Store,
    shared: &Shared,
    now: i64,
    wanted: &WantedDigests<'_>,
    report: &mut CollectReport,
) -> Result<()> {
    let kept = kept(store, shared, &[], now)?;
    let mut chunk = HashSet::new();
    for shard in 0..=u8::MAX {
        add_shard(shared, shard, &mut chunk)?;
        if chunk.len() >= CHUNK || shard == u8::MAX {
            retain_needed(&mut chunk, &kept)?;
            wanted(&mut |digest| {
                chunk.remove(&digest.0);
            })?;
            remove_blobs(shared, chunk.drain(), report)?;
        }
    }
    Ok(())
}

fn add_shard(shared: &Shared, shard: u8, chunk: &mut HashSet<[u8; 32]>) -> Result<()> {
    let files = match fs::read_dir(shared.layout.shard(shard)) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.doing(DOING)?,
    };
    for file in files {
        let name = file.doing(DOING)?.file_name();
        let digest = name
            .to_str()
            .and_then(|rest| format!("{shard:02x}{rest}").parse::<Sha256>().ok());
        chunk.extend(digest.map(|digest| digest.0));
    }
    Ok(())
}
