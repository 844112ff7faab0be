//! The metrics of the controller (and of `mirrorfleet local`, which judges freshness by the same rules).
//!
//! All series of one object hang on one entry of a map. [`ControllerMetrics::replace_mirror`] replaces what is true
//! now as a whole, so that a removed region or suite loses its series, and [`ControllerMetrics::remove_mirror`] drops
//! the object with its counters. A standby exports nothing but `mirrorfleet_controller_leader 0`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use fleet_types::gauges::{MirrorGauges, RegionGauges, UpstreamGauges};
use fleet_types::{ConditionStatus, lock};

use crate::Definition;
use crate::definition::definitions;
use crate::registry::{Registry, RegistryError, Source};
use crate::samples::{Samples, histogram};
use crate::state::{ObjectKey, Run};

/// The one expression for how far each region lags, in seconds: 0 while a region serves the authority's revision, else
/// the time since that revision was superseded. A region about which nothing is known has no value.
pub const LAG_QUERY: &str = "(time() - mirrorfleet_region_superseded_timestamp_seconds) * (mirrorfleet_region_superseded_timestamp_seconds > bool 0)";

definitions! {
    /// 1 if this controller holds the Lease, 0 on a standby, which exports nothing else of the fleet.
    LEADER: Gauge = "mirrorfleet_controller_leader" [];
    /// Unix time at which the revision that the region serves was superseded at its authority; 0 while it is the authority's own; absent while unknown. Lag in seconds is (time() - x) * (x > bool 0).
    REGION_SUPERSEDED: Gauge = "mirrorfleet_region_superseded_timestamp_seconds" [namespace, mirror, region];
    /// Always 1; the label names the snapshot that the region serves.
    REGION_SNAPSHOT: Gauge = "mirrorfleet_region_snapshot_info" [namespace, mirror, region, snapshot];
    /// Unix time of the last run for the region that published or confirmed what is served.
    REGION_LAST_SUCCESS: Gauge = "mirrorfleet_region_last_success_timestamp_seconds" [namespace, mirror, region];
    /// Unix time until which the upstream vouches for the index that the region serves, by unit (a Debian suite); absent where there is no limit.
    INDEX_VALID_UNTIL: Gauge = "mirrorfleet_index_valid_until_timestamp_seconds" [namespace, mirror, region, unit];
    /// Bytes in use on the region's volume.
    STORAGE_USED: Gauge = "mirrorfleet_storage_used_bytes" [namespace, mirror, region];
    /// Size of the region's volume in bytes.
    STORAGE_CAPACITY: Gauge = "mirrorfleet_storage_capacity_bytes" [namespace, mirror, region];
    /// Finished sync runs by result (Published, Unchanged, Failed) and reason.
    SYNC_RUNS: Counter = "mirrorfleet_sync_runs_total" [namespace, mirror, region, result, reason];
    /// How long finished sync runs took.
    SYNC_DURATION: Histogram = "mirrorfleet_sync_duration_seconds" [namespace, mirror, region];
    /// Bytes that finished sync runs fetched.
    SYNC_BYTES: Counter = "mirrorfleet_sync_fetched_bytes_total" [namespace, mirror, region];
    /// Files that finished sync runs fetched.
    SYNC_FILES: Counter = "mirrorfleet_sync_fetched_files_total" [namespace, mirror, region];
    /// Scheduled runs that did not start before the next one was due.
    SYNC_MISSED: Counter = "mirrorfleet_sync_missed_runs_total" [namespace, mirror];
    /// Unix time at which the next sync is due; absent while none is planned.
    NEXT_RUN: Gauge = "mirrorfleet_sync_next_run_timestamp_seconds" [namespace, mirror];
    /// 1 for the present status of each condition of the Mirror, 0 for the two others.
    MIRROR_CONDITION: Gauge = "mirrorfleet_mirror_condition" [namespace, mirror, type, status];
    /// Unix time that the upstream gives as the date of the newest revision seen, by unit (a Debian suite).
    UPSTREAM_REVISION: Gauge = "mirrorfleet_upstream_revision_timestamp_seconds" [namespace, upstream, unit];
    /// 1 for the present status of each condition of the Upstream, 0 for the two others.
    UPSTREAM_CONDITION: Gauge = "mirrorfleet_upstream_condition" [namespace, upstream, type, status];
    /// Finished reconciliations by kind of object.
    RECONCILES: Counter = "mirrorfleet_reconciles_total" [kind];
    /// Failed reconciliations by kind of object and reason.
    RECONCILE_ERRORS: Counter = "mirrorfleet_reconcile_errors_total" [kind, reason];
    /// How long one reconciliation took.
    RECONCILE_DURATION: Histogram = "mirrorfleet_reconcile_duration_seconds" [kind];
}

const SYNC_BUCKETS: &[f64] = &[
    1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 21600.0, 86400.0,
];
const RECONCILE_BUCKETS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// The controller's metrics.
pub struct ControllerMetrics {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    leading: bool,
    mirrors: BTreeMap<ObjectKey, MirrorEntry>,
    upstreams: BTreeMap<ObjectKey, UpstreamGauges>,
    reconciles: BTreeMap<&'static str, Reconciles>,
}

#[derive(Default)]
struct MirrorEntry {
    state: MirrorGauges,
    missed_runs: u64,
    runs: BTreeMap<String, RegionRuns>,
}

struct RegionRuns {
    /// By result and reason.
    finished: BTreeMap<(String, String), u64>,
    duration: prometheus::Histogram,
    bytes: u64,
    files: u64,
}

impl Default for RegionRuns {
    fn default() -> Self {
        RegionRuns {
            finished: BTreeMap::new(),
            duration: histogram(SYNC_BUCKETS),
            bytes: 0,
            files: 0,
        }
    }
}

struct Reconciles {
    finished: u64,
    /// By reason.
    errors: BTreeMap<String, u64>,
    duration: prometheus::Histogram,
}

impl Default for Reconciles {
    fn default() -> Self {
        Reconciles {
            finished: 0,
            errors: BTreeMap::new(),
            duration: histogram(RECONCILE_BUCKETS),
        }
    }
}

impl ControllerMetrics {
    /// Metrics of a standby, part of `registry` from now on.
    pub fn register(registry: &Registry) -> Result<Arc<ControllerMetrics>, RegistryError> {
        let metrics = Arc::new(ControllerMetrics {
            known: Mutex::default(),
        });
        registry.add(metrics.clone())?;
        Ok(metrics)
    }

    /// Whether this process decides. A process that does not exports no metrics of the fleet.
    pub fn set_leading(&self, leading: bool) {
        self.known().leading = leading;
    }

    /// Replaces everything that is true of a Mirror now. Counters of regions that `state` no longer lists are dropped.
    pub fn replace_mirror(&self, key: &ObjectKey, state: MirrorGauges) {
        let mut known = self.known();
        let entry = known.mirrors.entry(key.clone()).or_default();
        entry
            .runs
            .retain(|region, _| state.regions.iter().any(|known| known.region == *region));
        entry.state = state;
    }

    /// Drops every series of a Mirror that is gone. Nothing may be recorded for it afterwards.
    pub fn remove_mirror(&self, key: &ObjectKey) {
        self.known().mirrors.remove(key);
    }

    /// Replaces everything that is true of an Upstream now.
    pub fn replace_upstream(&self, key: &ObjectKey, state: UpstreamGauges) {
        self.known().upstreams.insert(key.clone(), state);
    }

    /// Drops every series of an Upstream that is gone.
    pub fn remove_upstream(&self, key: &ObjectKey) {
        self.known().upstreams.remove(key);
    }

    /// Counts one finished run, once.
    pub fn record_run(&self, key: &ObjectKey, region: &str, run: Run<'_>) {
        let mut known = self.known();
        let runs = known
            .mirrors
            .entry(key.clone())
            .or_default()
            .runs
            .entry(region.to_owned())
            .or_default();
        *runs
            .finished
            .entry((run.result.to_owned(), run.reason.to_owned()))
            .or_default() += 1;
        runs.duration.observe(run.seconds);
        runs.bytes = runs.bytes.saturating_add(run.bytes);
        runs.files = runs.files.saturating_add(run.files);
    }

    /// Counts scheduled runs that passed without starting.
    pub fn record_missed_runs(&self, key: &ObjectKey, count: u64) {
        let mut known = self.known();
        let entry = known.mirrors.entry(key.clone()).or_default();
        entry.missed_runs = entry.missed_runs.saturating_add(count);
    }

    /// Counts one reconciliation of an object of `kind`; `error` is the reason of a failed one.
    pub fn record_reconcile(&self, kind: &'static str, seconds: f64, error: Option<&str>) {
        let mut known = self.known();
        let reconciles = known.reconciles.entry(kind).or_default();
        reconciles.finished += 1;
        reconciles.duration.observe(seconds);
        if let Some(reason) = error {
            *reconciles.errors.entry(reason.to_owned()).or_default() += 1;
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

impl Source for ControllerMetrics {
    fn definitions(&self) -> &'static [Definition] {
        ALL
    }

    fn collect(&self, out: &mut Samples) {
        let known = self.known();
        out.gauge(&LEADER, &[], f64::from(u8::from(known.leading)));
        if !known.leading {
            return;
        }
        for (key, entry) in &known.mirrors {
            collect_mirror(out, key, entry);
        }
        for (key, state) in &known.upstreams {
            collect_upstream(out, key, state);
        }
        for (kind, reconciles) in &known.reconciles {
            collect_reconciles(out, kind, reconciles);
        }
    }
}

fn collect_mirror(out: &mut Samples, key: &ObjectKey, entry: &MirrorEntry) {
    let (namespace, mirror) = (key.namespace.as_str(), key.name.as_str());
    out.counter(&SYNC_MISSED, &[namespace, mirror], entry.missed_runs as f64);
    if let Some(at) = entry.state.next_run {
        out.gauge(&NEXT_RUN, &[namespace, mirror], at as f64);
    }
    collect_conditions(out, &MIRROR_CONDITION, key, &entry.state.conditions);
    for region in &entry.state.regions {
        collect_region(out, namespace, mirror, region);
    }
    for (region, runs) in &entry.runs {
        let labels = [namespace, mirror, region.as_str()];
        for ((result, reason), count) in &runs.finished {
            out.counter(
                &SYNC_RUNS,
                &[namespace, mirror, region, result, reason],
                *count as f64,
            );
        }
        out.histogram(&SYNC_DURATION, &labels, &runs.duration);
        out.counter(&SYNC_BYTES, &labels, runs.bytes as f64);
        out.counter(&SYNC_FILES, &labels, runs.files as f64);
    }
}

fn collect_region(out: &mut Samples, namespace: &str, mirror: &str, state: &RegionGauges) {
    let labels = [namespace, mirror, state.region.as_str()];
    let numbers = [
        (
            &REGION_SUPERSEDED,
            state.superseded.map(|since| since.unwrap_or(0) as f64),
        ),
        (&REGION_LAST_SUCCESS, state.last_success.map(|at| at as f64)),
        (
            &STORAGE_USED,
            state.storage_used_bytes.map(|bytes| bytes as f64),
        ),
        (
            &STORAGE_CAPACITY,
            state.storage_capacity_bytes.map(|bytes| bytes as f64),
        ),
    ];
    for (definition, value) in numbers {
        if let Some(value) = value {
            out.gauge(definition, &labels, value);
        }
    }
    if let Some(snapshot) = &state.snapshot {
        out.gauge(
            &REGION_SNAPSHOT,
            &[namespace, mirror, &state.region, snapshot],
            1.0,
        );
    }
    for (unit, at) in &state.index_valid_until {
        out.gauge(
            &INDEX_VALID_UNTIL,
            &[namespace, mirror, &state.region, unit],
            *at as f64,
        );
    }
}

fn collect_upstream(out: &mut Samples, key: &ObjectKey, state: &UpstreamGauges) {
    for (unit, date) in &state.revision {
        out.gauge(
            &UPSTREAM_REVISION,
            &[&key.namespace, &key.name, unit],
            *date as f64,
        );
    }
    collect_conditions(out, &UPSTREAM_CONDITION, key, &state.conditions);
}

fn collect_conditions(
    out: &mut Samples,
    definition: &Definition,
    key: &ObjectKey,
    conditions: &[(String, ConditionStatus)],
) {
    for (kind, state) in conditions {
        for status in ConditionStatus::ALL {
            let value = f64::from(u8::from(status == *state));
            out.gauge(
                definition,
                &[&key.namespace, &key.name, kind, status.as_str()],
                value,
            );
        }
    }
}

fn collect_reconciles(out: &mut Samples, kind: &str, reconciles: &Reconciles) {
    out.counter(&RECONCILES, &[kind], reconciles.finished as f64);
    out.histogram(&RECONCILE_DURATION, &[kind], &reconciles.duration);
    for (reason, count) in &reconciles.errors {
        out.counter(&RECONCILE_ERRORS, &[kind, reason], *count as f64);
    }
}
