//! The store of a Mirror, once a sync has made it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use fleet_store::{Inserter, Store};
use fleet_telemetry::FillCounts;
use fleet_types::{Problem, lock};

use crate::options::Keep;
use crate::room::Room;

/// Opened when something is fetched for the first time, and kept over a change of the manifests: one at a time may fill a
/// store.
pub struct Shelf {
    dir: PathBuf,
    open: Mutex<Option<Arc<Open>>>,
}

/// A store that is being filled.
pub struct Open {
    pub inserter: Arc<Inserter>,
    pub room: Room,
}

impl Shelf {
    pub fn new(dir: PathBuf) -> Shelf {
        Shelf {
            dir,
            open: Mutex::default(),
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `keep` is what is declared now. Blocks on the disk.
    pub fn open(&self, keep: Keep, counts: Arc<FillCounts>) -> Result<Arc<Open>, Problem> {
        let mut open = lock(&self.open);
        if let Some(open) = open.as_ref() {
            open.room.keep(keep);
            return Ok(open.clone());
        }
        let inserter = Arc::new(Inserter::open(&Store::open(&self.dir)?)?);
        let opened = Arc::new(Open {
            room: Room::new(inserter.clone(), keep, counts),
            inserter,
        });
        *open = Some(opened.clone());
        Ok(opened)
    }

    /// What is open already.
    pub fn at_hand(&self) -> Option<Arc<Open>> {
        lock(&self.open).clone()
    }
}
