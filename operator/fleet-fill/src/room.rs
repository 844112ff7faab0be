//! Room for what is fetched: what was used longest ago goes for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fleet_origin::WHOLE_FIRST;
use fleet_store::Inserter;
use fleet_telemetry::FillCounts;
use fleet_types::{Problem, counted, lock};

use crate::options::Keep;

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

    /// Makes room for so many bytes, as far as there is something to give up; whether there is room then. Blocks on the disk.
    pub fn make(&self, bytes: u64) -> Result<bool, Problem> {
        self.count()?;
        let now = self.now()?;
        if now.to_keep(bytes).is_none() {
            return Ok(now.has(bytes));
        }
        let _one_at_a_time = lock(&self.evicting);
        // Another may have made room meanwhile.
        if let Some(keep) = self.now()?.to_keep(bytes) {
            self.evict(keep)?;
        }
        Ok(self.now()?.has(bytes))
    }

    /// Whether there is room for what nearly everything needs that is asked for.
    pub fn may_have_room(&self) -> bool {
        self.now().is_ok_and(|now| now.has(WHOLE_FIRST))
    }

    /// Makes room for so many bytes although there seemed to be enough: the disk said that it is full.
    pub fn make_more(&self, bytes: u64) -> Result<(), Problem> {
        let _one_at_a_time = lock(&self.evicting);
        self.evict(self.now()?.to_keep_when_full(bytes))
    }

    fn now(&self) -> Result<fleet_origin::Room, Problem> {
        Ok(fleet_origin::Room {
            cached_bytes: self.cached_bytes(),
            free_bytes: self.inserter.store().free_space()?.free_bytes,
            limit_bytes: lock(&self.keep).cache_bytes,
        })
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
