//! Room for what is fetched: what was used longest ago goes for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fleet_store::{Inserter, Space};
use fleet_telemetry::FillCounts;
use fleet_types::{Problem, counted, lock};

use crate::options::Keep;

/// Of the volume, what stays free for the runs where nothing is declared.
const TENTH: u64 = 10;
/// What stays free in any case.
const LEAST_FREE: u64 = 1 << 20;
/// An eviction makes so much more room than is needed just now: each lists all blobs.
const BEFOREHAND: u64 = 20;

/// How much is kept of what was fetched on demand.
pub struct Room {
    inserter: Arc<Inserter>,
    keep: Mutex<Keep>,
    /// What there is of it, as far as is known.
    cached_bytes: AtomicU64,
    is_counted: AtomicBool,
    evicting: Mutex<()>,
    counts: Arc<FillCounts>,
}

impl Room {
    pub fn new(inserter: Arc<Inserter>, keep: Keep, counts: Arc<FillCounts>) -> Room {
        Room {
            inserter,
            keep: Mutex::new(keep),
            cached_bytes: AtomicU64::new(0),
            is_counted: AtomicBool::new(false),
            evicting: Mutex::default(),
            counts,
        }
    }

    /// Something else is declared.
    pub fn keep(&self, keep: Keep) {
        *lock(&self.keep) = keep;
    }

    /// What was fetched on demand and is still here.
    fn cached_bytes(&self) -> u64 {
        self.cached_bytes.load(Ordering::Relaxed)
    }

    /// Makes room for so many bytes, as far as there is something to give up. Blocks on the disk.
    pub fn make(&self, bytes: u64) -> Result<(), Problem> {
        self.count()?;
        let keep = |space: &Space| self.to_keep(bytes, space);
        if keep(&self.inserter.store().free_space()?).is_none() {
            return Ok(());
        }
        let _one_at_a_time = lock(&self.evicting);
        // Another may have made room meanwhile.
        match keep(&self.inserter.store().free_space()?) {
            Some(keep) => self.evict(keep),
            None => Ok(()),
        }
    }

    /// Makes room for so many bytes although there seemed to be enough: the disk said that it is full.
    pub fn make_more(&self, bytes: u64) -> Result<(), Problem> {
        let _one_at_a_time = lock(&self.evicting);
        let cached = self.cached_bytes();
        self.evict(cached.saturating_sub(bytes + cached / BEFOREHAND))
    }

    /// Something came.
    pub fn add(&self, bytes: u64) {
        let before = self.cached_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.counts.set_cached(before.saturating_add(bytes));
    }

    fn know(&self, cached_bytes: u64) {
        self.cached_bytes.store(cached_bytes, Ordering::Relaxed);
        self.counts.set_cached(cached_bytes);
    }

    /// How much may be left before so many bytes come; none where nothing has to go.
    fn to_keep(&self, bytes: u64, space: &Space) -> Option<u64> {
        let cached = self.cached_bytes();
        let limit = lock(&self.keep).cache_bytes;
        let reserve = match limit {
            Some(_) => LEAST_FREE,
            None => space.total_bytes / TENTH,
        };
        let limit = limit.unwrap_or(u64::MAX);
        let too_much = cached.saturating_add(bytes).saturating_sub(limit);
        let too_little = bytes
            .saturating_add(reserve)
            .saturating_sub(space.free_bytes);
        let give_up = too_much.max(too_little);
        (give_up > 0).then(|| cached.saturating_sub(give_up + cached / BEFOREHAND))
    }

    fn evict(&self, keep: u64) -> Result<(), Problem> {
        let pinned = lock(&self.keep).pinned.clone();
        // One that is not here has nothing to keep.
        let pinned = pinned.and_then(|id| self.inserter.store().resolve(&id).ok());
        let evicted = self.inserter.evict(keep, pinned.as_slice())?;
        self.know(evicted.left.bytes);
        self.counts.evicted(evicted.files, evicted.bytes);
        tracing::info!(
            "{} of {} that were used longest ago were given up, {} are left",
            counted(evicted.files, "file"),
            counted(evicted.bytes, "byte"),
            counted(evicted.left.bytes, "byte")
        );
        Ok(())
    }

    /// What earlier processes have left is looked up once.
    fn count(&self) -> Result<(), Problem> {
        if self.is_counted.load(Ordering::Acquire) {
            return Ok(());
        }
        let _one_at_a_time = lock(&self.evicting);
        if !self.is_counted.load(Ordering::Acquire) {
            let cached = self.inserter.cached()?;
            self.know(cached.bytes);
            self.is_counted.store(true, Ordering::Release);
        }
        Ok(())
    }
}
