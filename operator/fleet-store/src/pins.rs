//! What the index files of a store are, by their content: read once each, not with every question.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;

use fleet_types::documents::IndexPin;
use fleet_types::lock;

use crate::error::{Doing, Result, StoreError};
use crate::snapshot::open_index;
use crate::verified::{DOING, pin_of};
use crate::{Retention, SnapshotId};

/// More are of snapshots that went.
const MOST: usize = 4 * Retention::MAX_KEPT;

#[derive(Default)]
pub(crate) struct Pins(Mutex<HashMap<SnapshotId, (Version, IndexPin)>>);

/// Is another one when another file has the name. Indices are written once.
type Version = (u64, u64, i64, i64);

impl Pins {
    /// Notes what a file is that was read anyway.
    pub fn learn(&self, id: &SnapshotId, file: &File, pin: IndexPin) {
        if let Some(version) = version(file) {
            self.note(id, version, pin);
        }
    }

    pub fn of(&self, id: &SnapshotId, path: &Path) -> Result<IndexPin> {
        let damaged = |problem: &str| StoreError::corrupt(format!("snapshot {id}"), problem);
        let file = open_index(path, id)?;
        let version = version(&file);
        let known = lock(&self.0).get(id).copied();
        if let Some((_, pin)) = known.filter(|(read, _)| Some(*read) == version) {
            return Ok(pin);
        }
        // Not under the lock: others ask for other snapshots meanwhile.
        let pin = pin_of(&file).map_err(|e| e.into_error(damaged))?;
        if let Some(version) = version {
            self.note(id, version, pin);
        }
        Ok(pin)
    }

    fn note(&self, id: &SnapshotId, version: Version, pin: IndexPin) {
        let mut known = lock(&self.0);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(*id, (version, pin));
    }
}

fn version(file: &File) -> Option<Version> {
    let about = file.metadata().doing(DOING).ok()?;
    Some((about.ino(), about.len(), about.mtime(), about.mtime_nsec()))
}
