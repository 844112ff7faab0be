//! What a run settles before it begins: what the store says is served, by what was decided about it meanwhile.

use fleet_store::{SnapshotId, Store, StoreError, Writer};
use fleet_types::Order;

use super::memory::Memory;
use crate::{Problem, Publishing};

/// Brings what the store says is served in line with what was decided about it.
pub(super) fn settle(store: &Writer, publishing: &Publishing, now: i64) -> Result<(), Problem> {
    match publishing {
        Publishing::ByRun { pinned, .. } => settle_pin(store, pinned.as_deref(), now),
        Publishing::ByOrder { order: None, .. } => Ok(()),
        Publishing::ByOrder {
            order: Some(order), ..
        } => settle_order(store, order, now),
    }
}

/// A snapshot that was ordered and is lost or damaged is made again by this run, if it can be.
fn settle_order(store: &Writer, order: &Order, now: i64) -> Result<(), Problem> {
    match store.settle(order, now) {
        Err(error) if error.is_damage() || matches!(error, StoreError::SnapshotNotFound { .. }) => {
        }
        other => other?,
    }
    let memory: Option<Memory> = store.take_state(Memory::DOCUMENT)?;
    if let Some(mut memory) = memory.filter(|memory| memory.declared_pin.is_some()) {
        memory.declared_pin = None;
        store.state_write(Memory::DOCUMENT, &memory)?;
    }
    Ok(())
}

/// Makes the store's pin what the manifest says. A pin that a person set by hand stays where the manifest has none.
fn settle_pin(store: &Writer, declared: Option<&str>, now: i64) -> Result<(), Problem> {
    let mut memory: Memory = store.take_state(Memory::DOCUMENT)?.unwrap_or_default();
    let declared = declared.filter(|id| !id.is_empty());
    let lost = |prefix: &str| {
        let pinned = memory.declared_pin.as_ref();
        pinned.is_some_and(|id| id.starts_with(&prefix.to_ascii_lowercase()))
    };
    let wanted = match declared.map(|prefix| (prefix, resolve(store, prefix))) {
        // It was there, and is damaged: this run may well make it again.
        Some((prefix, Err(_))) if lost(prefix) => return Ok(()),
        other => other.map(|(_, id)| id).transpose()?,
    };
    match wanted {
        Some(id) => {
            // A damaged index is found out before the switch, which itself reads none of it.
            if store.take_snapshot(&id)?.is_none() {
                return Ok(());
            }
            store.pin(&id, now)?;
        }
        None if memory.declared_pin.is_some() && pin_of(store)? == memory.declared_pin => {
            store.unpin()?
        }
        None => {}
    }
    let declared_pin = wanted.map(|id| id.to_string());
    if declared_pin != memory.declared_pin {
        memory.declared_pin = declared_pin;
        store.state_write(Memory::DOCUMENT, &memory)?;
    }
    Ok(())
}

fn pin_of(store: &Store) -> Result<Option<String>, Problem> {
    Ok(store.pinned()?.map(|id| id.to_string()))
}

fn resolve(store: &Store, prefix: &str) -> Result<SnapshotId, Problem> {
    store
        .resolve(prefix)
        .map_err(|e| Problem::new(e.reason(), format!("snapshots.pinned: {e}")))
}
