//! What tells which snapshot is to be served.

use fleet_store::{SnapshotId, SnapshotInfo, Store, StoreError};
use fleet_types::{Order, Sha256};

use crate::orders::{Given, Orders};
use crate::view::View;

/// As long as it stands as it did, nothing else needs to be read.
#[derive(Debug, PartialEq)]
pub struct Signs {
    /// What `current` names, whether or not that can be opened.
    named: Option<SnapshotId>,
    given: Given,
}

impl Signs {
    pub fn read(store: &Store, orders: &Orders) -> Signs {
        Signs {
            named: store.current().ok().flatten(),
            given: orders.read(),
        }
    }

    /// What is to be served, of what was served so far, of what `current` names and of what is ordered.
    pub fn choose(
        &self,
        store: &Store,
        before: &View,
        infos: &[SnapshotInfo],
        problems: &mut Vec<String>,
    ) -> Result<Option<Order>, StoreError> {
        let is_kept = |id: &Sha256| infos.iter().any(|info| info.id.0 == *id);
        let order = self.given.clone().unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        let (settled, damage) = match store.settled_order() {
            Err(error) if error.is_damage() => (None, Some(error)),
            other => (other?, None),
        };
        let epoch = settled.map_or(0, |settled| settled.epoch);
        let followed = before.follows().filter(|before| before.epoch > epoch);
        let chosen = Order::next(followed.or(settled), order, is_kept);
        let missing = order.filter(|order| !is_kept(&order.snapshot) && chosen != Some(*order));
        problems.extend(missing.map(|Order { epoch, snapshot }| {
            format!("order {epoch} is to serve snapshot {snapshot}, which is not kept here")
        }));
        match (chosen, damage) {
            (None, Some(damage)) => Err(damage),
            (chosen, damage) => {
                problems.extend(damage.map(|damage| damage.to_string()));
                Ok(chosen)
            }
        }
    }
}
