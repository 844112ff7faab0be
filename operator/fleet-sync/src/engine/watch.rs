//! Who looks on while a run works: who can end it, and who hears of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fleet_fetch::Stop;

use crate::{LeftOut, Progress};
use fleet_types::lock;

/// By unit.
pub(super) type Notes = BTreeMap<String, BTreeSet<String>>;

pub(super) struct Watch {
    pub stop: Stop,
    pub progress: Arc<dyn Progress>,
    /// Index files and payload that arrived.
    files: AtomicU64,
    /// Bytes of an index that another mirror of ours made.
    index_bytes: AtomicU64,
    /// What people should know about units that are believed.
    notes: Mutex<Notes>,
    /// When the keys that signed what is believed no longer suffice; the earliest of all units.
    key_expiry: Mutex<Option<i64>>,
    /// By unit that advances, as the last plan found it; others are as in the base.
    pub planned_left_out: Mutex<BTreeMap<String, Option<LeftOut>>>,
}

impl Watch {
    pub fn new(stop: Stop, progress: Arc<dyn Progress>) -> Watch {
        Watch {
            stop,
            progress,
            files: AtomicU64::new(0),
            index_bytes: AtomicU64::new(0),
            notes: Mutex::default(),
            key_expiry: Mutex::default(),
            planned_left_out: Mutex::default(),
        }
    }

    /// Tells people, and keeps it for the report.
    pub fn note(&self, unit: &str, note: &str) {
        self.progress.note(&format!("{unit}: {note}"));
        let mut notes = lock(&self.notes);
        notes
            .entry(unit.to_owned())
            .or_default()
            .insert(note.to_owned());
    }

    pub fn notes(&self) -> Notes {
        lock(&self.notes).clone()
    }

    /// Keeps the earliest for the report.
    pub fn keys_expire(&self, at: Option<i64>) {
        let mut known = lock(&self.key_expiry);
        *known = known.into_iter().chain(at).min();
    }

    pub fn key_expiry(&self) -> Option<i64> {
        *lock(&self.key_expiry)
    }

    pub fn count_files(&self, files: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
    }

    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    pub fn count_index_bytes(&self, bytes: u64) {
        self.index_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn index_bytes(&self) -> u64 {
        self.index_bytes.load(Ordering::Relaxed)
    }
}
