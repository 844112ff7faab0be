//! The newest snapshot that there is: what a run starts from, and what a refused unit is carried forward from.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_store::{Entry, Retained, Retention, Snapshot};
use fleet_types::{Sha256, UnitRevision};
use serde::{Deserialize, Serialize};

use super::blocking::now;
use super::shelves::Shelves;
use super::want::Want;
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
    /// And so are those that went, as long as clients may ask for them.
    pub retained: Option<Arc<Retained>>,
    retention: Retention,
    now: i64,
    /// When somebody last went back to an older snapshot, or forward again, in Unix seconds.
    returned_at: Option<i64>,
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
            retained: shelves.retained()?,
            retention: store.identity().retention,
            now: now(),
            returned_at: store.returned()?.at,
        }))
    }

    /// When the content of a path was last modified, as the next snapshot is to say it, where the upstream says `proposed`. Since
    /// somebody went back clients can have names that change with the date of that moment, and what is new is later.
    pub fn modified(&self, want: &Want, digest: &Sha256, proposed: i64) -> i64 {
        let returned_at = self.returned_at.filter(|_| want.mutable);
        let proposed = returned_at.map_or(proposed, |at| proposed.max(at.saturating_add(1)));
        (self.snapshot).mtime_after(want.path.as_str(), digest, proposed)
    }

    /// What is known under a name but in the newest snapshot.
    pub fn known_elsewhere(&self, path: &str) -> impl Iterator<Item = Entry> {
        let older = self.older.iter().filter_map(move |kept| kept.get(path));
        let gone = self.retained.iter().filter_map(move |list| list.get(path));
        let recent = gone.filter(move |gone| self.retention.is_recent(gone.at, self.now));
        older.chain(recent.map(|gone| gone.entry))
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
