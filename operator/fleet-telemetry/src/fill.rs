//! The metrics of who fetches for clients what a mirror lists and does not have.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Definition;
use crate::by_mirror::{ByMirror, Series, ServerPlace};
use crate::definition::definitions;
use crate::keeping::Keeping;
use crate::samples::Samples;

definitions! {
    /// Fetches from the upstream that clients caused, by what came of them: `ok`, `absent` (the upstream does not have it), `failed`, `abandoned` (nobody waited for it any more).
    FETCHES: Counter = "mirrorfleet_fill_fetches_total" [namespace, mirror, region, result];
    /// Requests that waited for a fetch which another request had begun.
    SHARED: Counter = "mirrorfleet_fill_shared_requests_total" [namespace, mirror, region];
    /// Bytes of files that were fetched for clients, and found right.
    FETCHED_BYTES: Counter = "mirrorfleet_fill_fetched_bytes_total" [namespace, mirror, region];
    /// Files that were given up so that others had room: those that were used longest ago.
    EVICTED_FILES: Counter = "mirrorfleet_fill_evicted_files_total" [namespace, mirror, region];
    /// Bytes of files that were given up so that others had room.
    EVICTED_BYTES: Counter = "mirrorfleet_fill_evicted_bytes_total" [namespace, mirror, region];
    /// Bytes that are stored only since a client asked for them.
    CACHED_BYTES: Gauge = "mirrorfleet_fill_cached_bytes" [namespace, mirror, region];
    /// Files that were given to who asked and not kept, because the volume had no room for them.
    NOT_KEPT: Counter = "mirrorfleet_fill_not_kept_files_total" [namespace, mirror, region];
    /// Unix time since which what is fetched cannot be kept, because the volume has no room; absent while it can.
    FULL_SINCE: Gauge = "mirrorfleet_fill_full_since_timestamp_seconds" [namespace, mirror, region];
}

const RESULTS: [&str; 4] = ["ok", "absent", "failed", "abandoned"];

/// What came of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchResult {
    Ok,
    Absent,
    Failed,
    Abandoned,
}

/// The Mirrors that are filled on demand.
pub type FillMetrics = ByMirror<FillCounts>;

/// Those of one Mirror.
#[derive(Debug, Default)]
pub struct FillCounts {
    fetches: [AtomicU64; RESULTS.len()],
    shared: AtomicU64,
    fetched_bytes: AtomicU64,
    evicted_files: AtomicU64,
    evicted_bytes: AtomicU64,
    cached_bytes: AtomicU64,
    keeping: Keeping,
}

impl FillCounts {
    /// A fetch is over; `bytes` of content came.
    pub fn fetched(&self, result: FetchResult, bytes: u64) {
        if let Some(count) = self.fetches.get(result as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if result == FetchResult::Ok {
            self.fetched_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// A request waits for a fetch of another.
    pub fn shared(&self) {
        self.shared.fetch_add(1, Ordering::Relaxed);
    }

    pub fn evicted(&self, files: u64, bytes: u64) {
        self.evicted_files.fetch_add(files, Ordering::Relaxed);
        self.evicted_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn set_cached(&self, bytes: u64) {
        self.cached_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Whether what is fetched can be kept.
    pub fn keeping(&self) -> &Keeping {
        &self.keeping
    }
}

impl Series for FillCounts {
    const DEFINITIONS: &'static [Definition] = ALL;

    fn collect(&self, out: &mut Samples, place: &ServerPlace, mirror: &str) {
        let (namespace, region) = (place.namespace.as_str(), place.region.as_str());
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        for (result, count) in RESULTS.iter().zip(&self.fetches) {
            out.counter(&FETCHES, &[namespace, mirror, region, result], value(count));
        }
        let labels = [namespace, mirror, region];
        out.counter(&SHARED, &labels, value(&self.shared));
        out.counter(&FETCHED_BYTES, &labels, value(&self.fetched_bytes));
        out.counter(&EVICTED_FILES, &labels, value(&self.evicted_files));
        out.counter(&EVICTED_BYTES, &labels, value(&self.evicted_bytes));
        out.gauge(&CACHED_BYTES, &labels, value(&self.cached_bytes));
        self.keeping.collect(out, (&NOT_KEPT, &FULL_SINCE), &labels);
    }
}
