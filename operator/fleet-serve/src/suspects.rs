//! Blobs that could not be served. Whoever syncs next is told: by an empty file in the store where the server may write
//! there (`mirrorfleet local`, or `serve` beside `sync`), and by the status document, which the controller reads and
//! hands to the next run where the volume is mounted read-only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use fleet_store::{Entry, Store};
use fleet_telemetry::{MirrorTraffic, StoreHealth};
use fleet_types::documents::{Damaged, ScrubState};
use fleet_types::{Sha256, lock};
use serde::de::DeserializeOwned;

/// Blobs that are told of at a time: the next ones are met again.
const MOST: usize = 64;
/// How often the metrics of a store's health are read again.
const HEALTH_AGE: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct Suspects {
    entries: Mutex<BTreeMap<Sha256, Entry>>,
    told: Mutex<Option<Instant>>,
}

impl Suspects {
    /// True when this is news.
    pub fn add(&self, store: &Store, entry: &Entry) -> bool {
        let mut entries = self.entries();
        if entries.len() >= MOST || entries.insert(entry.digest, *entry).is_some() {
            return false;
        }
        drop(entries);
        if !store.suspect(&entry.digest) {
            tracing::debug!(blob = %entry.digest, "the server may not write to the store: the status tells");
        }
        true
    }

    /// Those that are not whole yet. Blocks on the disk.
    pub fn of(&self, store: &Store) -> Vec<Sha256> {
        if self.entries().is_empty() {
            return Vec::new();
        }
        self.still_open(store, &document::<Damaged>(store, Damaged::DOCUMENT).lost)
    }

    fn still_open(&self, store: &Store, lost: &BTreeSet<Sha256>) -> Vec<Sha256> {
        let mut entries = self.entries();
        entries.retain(|digest, entry| {
            if lost.contains(digest) {
                return false;
            }
            let opened = store.open_blob(digest).ok().flatten();
            let size = opened
                .and_then(|file| file.metadata().ok())
                .map(|about| about.len());
            size != Some(entry.size)
        });
        entries.keys().copied().collect()
    }

    /// Brings the metrics up to date every now and then. Blocks on the disk.
    pub fn tell(&self, store: &Store, traffic: &MirrorTraffic) {
        let mut told = lock(&self.told);
        if told.is_some_and(|at| at.elapsed() < HEALTH_AGE) {
            return;
        }
        *told = Some(Instant::now());
        let noted: Damaged = document(store, Damaged::DOCUMENT);
        let met = self.still_open(store, &noted.lost).len();
        traffic.set_health(StoreHealth {
            damaged_blobs: noted.blobs.len().max(met) as u64,
            scrubbed_at: document::<ScrubState>(store, ScrubState::DOCUMENT)
                .finished_at
                .map(|at| at.0),
        });
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Sha256, Entry>> {
        lock(&self.entries)
    }
}

fn document<T: DeserializeOwned + Default>(store: &Store, name: &str) -> T {
    store.state(name).ok().flatten().unwrap_or_default()
}
