//! The newest snapshot that there is: what a run starts from, and what a refused unit is carried forward from.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_store::Snapshot;
use fleet_types::UnitRevision;
use serde::{Deserialize, Serialize};

use super::shelves::Shelves;
use crate::{LeftOut, Problem};

/// What a snapshot's `content` says: the slice as declared, and the older slices of units that were carried forward.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Content {
    pub slice: serde_json::Value,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub carried: BTreeMap<String, serde_json::Value>,
    /// By unit, what its indices list and nothing can be copied by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, LeftOut>,
}

impl Content {
    /// The slice by which a unit of this snapshot was taken.
    pub fn slice_of(&self, unit: &str) -> &serde_json::Value {
        self.carried.get(unit).unwrap_or(&self.slice)
    }
}

pub(super) struct Base {
    pub snapshot: Arc<Snapshot>,
    pub content: Content,
    /// All other kept snapshots: their names are known names too.
    pub older: Vec<Arc<Snapshot>>,
}

impl Base {
    /// A snapshot that is damaged counts as none: what it was is made anew from the upstream and from the blobs.
    pub fn of(shelves: &Shelves) -> Result<Option<Base>, Problem> {
        let Some(store) = shelves.known() else {
            return Ok(None);
        };
        let mut kept = Vec::new();
        for info in store.snapshots()? {
            kept.extend(shelves.snapshot(&info.id)?);
        }
        let Some(snapshot) = kept.pop() else {
            return Ok(None);
        };
        // A snapshot that another version wrote differently has its slice there.
        let content =
            serde_json::from_value(snapshot.meta().content.clone()).unwrap_or_else(|_| Content {
                slice: snapshot.meta().content.clone(),
                carried: BTreeMap::new(),
                left_out: BTreeMap::new(),
            });
        Ok(Some(Base {
            snapshot,
            content,
            older: kept,
        }))
    }

    /// The newest state of each unit in any kept snapshot.
    pub fn newest_revisions(&self) -> impl Iterator<Item = &UnitRevision> {
        let kept = self.older.iter().chain([&self.snapshot]);
        kept.flat_map(|snapshot| &snapshot.meta().revision)
    }

    pub fn revision(&self, unit: &str) -> Option<&UnitRevision> {
        self.snapshot
            .meta()
            .revision
            .iter()
            .find(|revision| revision.unit == unit)
    }
}
