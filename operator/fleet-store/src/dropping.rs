//! Giving up snapshots: which, and in what order.

use crate::error::{Doing, Result};
use crate::retained::Retained;
use crate::shared::Shared;
use crate::{SnapshotId, SnapshotInfo, Store, StoreError, recover, retain, retention};

const DOING: &str = "collecting what is no longer needed";

/// Whether time alone, or another `keep` or `minAge` than before, gives something up.
pub(crate) fn is_due(store: &Store, now: i64, protect: &[SnapshotId]) -> Result<bool> {
    let facts = store.facts()?;
    let (_, leaving) = leaving(store, facts.rolled_back_from, now, protect)?;
    if !leaving.is_empty() {
        return Ok(true);
    }
    match Retained::earliest(&store.layout().retained()) {
        // The collection sets it aside.
        Err(error) if error.is_damage() => Ok(true),
        other => {
            let retention = store.identity().retention;
            Ok(other?.is_some_and(|at| !retention.is_recent(at, now)))
        }
    }
}

/// All snapshots, and which of them are to be dropped.
fn leaving(
    store: &Store,
    rolled_back_from: Option<SnapshotId>,
    now: i64,
    protect: &[SnapshotId],
) -> Result<(Vec<SnapshotInfo>, Vec<SnapshotId>)> {
    let protected = protect.iter().copied();
    let held: Vec<SnapshotId> = protected.chain(rolled_back_from).collect();
    let all = store.snapshots()?;
    let leaving = retention::to_drop(&all, &store.identity().retention, &held, now);
    Ok((all, leaving))
}

/// Step 1 of a collection.
pub(crate) fn drop_snapshots(
    store: &Store,
    shared: &Shared,
    now: i64,
    protect: &[SnapshotId],
) -> Result<Vec<SnapshotId>> {
    let (facts, _) = recover::settled_facts(store, shared, now)?;
    let (all, mut dropped) = leaving(store, facts.rolled_back_from, now, protect)?;
    let retention = store.identity().retention;
    let early: Vec<(SnapshotId, i64)> = all
        .iter()
        .filter(|info| dropped.contains(&info.id))
        .filter_map(|info| Some((info.id, info.superseded_at?)))
        .filter(|(_, at)| retention.is_recent(*at, now))
        .collect();
    match retain::settle(store, shared, &early, now) {
        // Those whose names cannot be noted for want of space stay.
        Err(StoreError::Full { .. }) => {
            dropped.retain(|id| early.iter().all(|(early, _)| early != id));
        }
        other => other?,
    }
    for id in &dropped {
        shared
            .fs
            .rename(&shared.layout.snapshot(id), &shared.layout.dropped(id, now))
            .doing(DOING)?;
    }
    if !dropped.is_empty() {
        shared
            .fs
            .sync_dir(&shared.layout.snapshots())
            .doing(DOING)?;
    }
    Ok(dropped)
}
