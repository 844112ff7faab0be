//! The metrics of the controller (and of `mirrorfleet local`, of whose copies the same is told by the same rules).
//!
//! All series of one object hang on one entry of a map. [`ControllerMetrics::replace_mirror`] replaces what is true
//! now as a whole, so that a removed region or suite loses its series, and [`ControllerMetrics::remove_mirror`] drops
//! the object with its counters. A standby exports nothing but `mirrorfleet_controller_leader 0`.

mod region_runs;
mod series;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use fleet_types::gauges::{CheckGauges, MirrorGauges, UpstreamGauges};
use fleet_types::{Reason, lock};

use crate::Definition;
use crate::definition::definitions;
use crate::registry::{Registry, RegistryError, Source};
use crate::samples::{Samples, histogram};
use crate::state::{ObjectKey, Run};

use self::region_runs::RegionRuns;

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
    /// For how many seconds a region may be behind its authority (spec.freshness.objective); one that is behind for longer is stale.
    REGION_OBJECTIVE: Gauge = "mirrorfleet_region_freshness_objective_seconds" [namespace, mirror, region];
    /// Unix time since when the region is there to be filled: its volume claim was made, or the Mirror if that is newer; in `mirrorfleet local`, the program began or its last run did.
    REGION_CREATED: Gauge = "mirrorfleet_region_created_timestamp_seconds" [namespace, mirror, region];
    /// Unix time of the last run for the region that published or confirmed what is served; absent before the first.
    REGION_LAST_SUCCESS: Gauge = "mirrorfleet_region_last_success_timestamp_seconds" [namespace, mirror, region];
    /// Unix time until which the upstream vouches for the index that the region serves, by unit (a Debian suite); absent where there is no limit.
    INDEX_VALID_UNTIL: Gauge = "mirrorfleet_index_valid_until_timestamp_seconds" [namespace, mirror, region, unit];
    /// Seconds by which the clock of the node of the region's pod is ahead of the controller's (behind, where below 0); 0 while they differ by five at most.
    REGION_CLOCK_SKEW: Gauge = "mirrorfleet_region_clock_skew_seconds" [namespace, mirror, region];
    /// Unix time since when the region has been in no list of regions, and left out of the Mirror's Service where there is one, as it does not serve what the others do or is too far behind; 0 while clients are led there.
    REGION_WITHDRAWN: Gauge = "mirrorfleet_region_withdrawn_timestamp_seconds" [namespace, mirror, region];
    /// Checks of the region in the last day (the controller's questions to its serving pods, twice a minute; in `mirrorfleet local`, its own to itself); absent before the first, as the next five. Kept in memory: a new leader begins anew.
    REGION_CHECKS: Gauge = "mirrorfleet_region_checks" [namespace, mirror, region];
    /// Which part of these checks was answered with what is served and until when that was known to be the upstream's, from 0 to 1.
    REGION_COMPLETION: Gauge = "mirrorfleet_region_check_completion_ratio" [namespace, mirror, region];
    /// Mean delay of the checks that were: from the instant until when what is served was known to be the upstream's (the `lastsync` of Arch Linux, else the last run that found it so) to the check.
    REGION_DELAY: Gauge = "mirrorfleet_region_check_delay_seconds" [namespace, mirror, region];
    /// Mean of how long answers to these checks took.
    REGION_DURATION_MEAN: Gauge = "mirrorfleet_region_check_duration_mean_seconds" [namespace, mirror, region];
    /// Standard deviation of how long answers to these checks took; absent before the second.
    REGION_DURATION_STDDEV: Gauge = "mirrorfleet_region_check_duration_stddev_seconds" [namespace, mirror, region];
    /// archweb's score of the region, the lower the better: (hours of mean delay + mean duration + its standard deviation) / completion; absent while no check has succeeded.
    REGION_SCORE: Gauge = "mirrorfleet_region_score" [namespace, mirror, region];
    /// Number of the newest decision what regions are to serve; absent before the first.
    PUBLICATION_EPOCH: Gauge = "mirrorfleet_publication_epoch" [namespace, mirror];
    /// Unix time since when regions copy the next snapshot, which none serves yet; 0 while there is none.
    PUBLICATION_PREPARING: Gauge = "mirrorfleet_publication_preparing_timestamp_seconds" [namespace, mirror];
    /// How many regions the next snapshot waits for; 0 while there is none.
    PUBLICATION_WAITING: Gauge = "mirrorfleet_publication_waiting_regions" [namespace, mirror];
    /// Unix time since when one region serves the next snapshot before the others do; 0 while none does.
    PUBLICATION_CANARY: Gauge = "mirrorfleet_publication_canary_timestamp_seconds" [namespace, mirror];
    /// Unix time since when a snapshot is not served that was found bad in the region that served it first; 0 while there is none.
    PUBLICATION_HALTED: Gauge = "mirrorfleet_publication_halted_timestamp_seconds" [namespace, mirror];
    /// Bytes in use on the region's volume.
    STORAGE_USED: Gauge = "mirrorfleet_storage_used_bytes" [namespace, mirror, region];
    /// Size of the region's volume in bytes.
    STORAGE_CAPACITY: Gauge = "mirrorfleet_storage_capacity_bytes" [namespace, mirror, region];
    /// Finished sync runs by result (Prepared, or Published without a cluster, Unchanged, Failed) and reason. As other counters, it begins with 0 when its region is first seen, for each of the some hundred pairs that a run can end with.
    SYNC_RUNS: Counter = "mirrorfleet_sync_runs_total" [namespace, mirror, region, result, reason];
    /// How long finished sync runs took.
    SYNC_DURATION: Histogram = "mirrorfleet_sync_duration_seconds" [namespace, mirror, region];
    /// Bytes that finished sync runs fetched.
    SYNC_BYTES: Counter = "mirrorfleet_sync_fetched_bytes_total" [namespace, mirror, region];
    /// Files that finished sync runs fetched.
    SYNC_FILES: Counter = "mirrorfleet_sync_fetched_files_total" [namespace, mirror, region];
    /// Always 1; the label says how the last run for the region that ended did so.
    LAST_RUN: Gauge = "mirrorfleet_sync_last_run_info" [namespace, mirror, region, reason];
    /// Unix time at which the last run for the region that ended did so.
    LAST_RUN_FINISHED: Gauge = "mirrorfleet_sync_last_run_finished_timestamp_seconds" [namespace, mirror, region];
    /// How many seconds the last run that ended took; absent where it left no report, as the next two.
    LAST_RUN_DURATION: Gauge = "mirrorfleet_sync_last_run_duration_seconds" [namespace, mirror, region];
    /// Bytes that the last run that ended fetched.
    LAST_RUN_BYTES: Gauge = "mirrorfleet_sync_last_run_fetched_bytes" [namespace, mirror, region];
    /// Files that the last run that ended fetched.
    LAST_RUN_FILES: Gauge = "mirrorfleet_sync_last_run_fetched_files" [namespace, mirror, region];
    /// Failed runs since the last that succeeded; kept over a restart of the controller.
    CONSECUTIVE_FAILURES: Gauge = "mirrorfleet_sync_consecutive_failures" [namespace, mirror, region];
    /// Seconds between two scheduled runs: the longest of the next eight such times; absent while the Mirror is suspended.
    SYNC_INTERVAL: Gauge = "mirrorfleet_sync_interval_seconds" [namespace, mirror];
    /// Scheduled runs that did not start before the next one was due.
    SYNC_MISSED: Counter = "mirrorfleet_sync_missed_runs_total" [namespace, mirror];
    /// Unix time at which the next sync is due; absent while none is planned.
    NEXT_RUN: Gauge = "mirrorfleet_sync_next_run_timestamp_seconds" [namespace, mirror];
    /// Always 1; the label names the Upstream that the Mirror is of.
    MIRROR: Gauge = "mirrorfleet_mirror_info" [namespace, mirror, upstream];
    /// 1 for the present status of each condition of the Mirror, with its reason; 0, without one, for the two others.
    MIRROR_CONDITION: Gauge = "mirrorfleet_mirror_condition" [namespace, mirror, type, status, reason];
    /// Unix time since when each condition of the Mirror has had its status; in `mirrorfleet local`, since when this process has known that.
    MIRROR_TRANSITION: Gauge = "mirrorfleet_mirror_condition_last_transition_timestamp_seconds" [namespace, mirror, type];
    /// Unix time that the upstream gives as the date of the newest revision seen, by unit (a Debian suite).
    UPSTREAM_REVISION: Gauge = "mirrorfleet_upstream_revision_timestamp_seconds" [namespace, upstream, unit];
    /// Unix time at which the first keys expire of those that signed what Mirrors have of the upstream, so that fewer are left than trust.minGoodSignatures; absent where that never comes and where nothing was verified.
    UPSTREAM_KEY_EXPIRY: Gauge = "mirrorfleet_upstream_key_expiry_timestamp_seconds" [namespace, upstream];
    /// Questions to the authority for its revision, one a unit, by whether it was told (answered) or not (failed).
    UPSTREAM_PROBES: Counter = "mirrorfleet_upstream_probes_total" [namespace, upstream, result];
    /// 1 while the endpoint tells what it has, 0 after three probes in a row that could read nothing; absent while nobody can ask it.
    ENDPOINT_REACHABLE: Gauge = "mirrorfleet_upstream_endpoint_reachable" [namespace, upstream, endpoint];
    /// Unix time that the upstream gives as the newest date of what the endpoint has; absent where nothing has a date.
    ENDPOINT_REVISION: Gauge = "mirrorfleet_upstream_endpoint_revision_timestamp_seconds" [namespace, upstream, endpoint];
    /// Unix time at which what the endpoint has was superseded at the authority; 0 while it is the authority's own; absent while unknown.
    ENDPOINT_SUPERSEDED: Gauge = "mirrorfleet_upstream_endpoint_superseded_timestamp_seconds" [namespace, upstream, endpoint];
    /// 1 for the present status of each condition of the Upstream, with its reason; 0, without one, for the two others.
    UPSTREAM_CONDITION: Gauge = "mirrorfleet_upstream_condition" [namespace, upstream, type, status, reason];
    /// Unix time since when each condition of the Upstream has had its status; in `mirrorfleet local`, since when this process has known that.
    UPSTREAM_TRANSITION: Gauge = "mirrorfleet_upstream_condition_last_transition_timestamp_seconds" [namespace, upstream, type];
    /// Finished reconciliations by kind of object.
    RECONCILES: Counter = "mirrorfleet_reconciles_total" [kind];
    /// Failed reconciliations by kind of object and reason.
    RECONCILE_ERRORS: Counter = "mirrorfleet_reconcile_errors_total" [kind, reason];
    /// How long one reconciliation took.
    RECONCILE_DURATION: Histogram = "mirrorfleet_reconcile_duration_seconds" [kind];
    /// Objects that are due to be handled and wait for room, by kind (Mirror, Upstream, Pod).
    QUEUE_DEPTH: Gauge = "mirrorfleet_queue_depth" [kind];
    /// How many seconds an object that was due had to wait.
    QUEUE_WAIT: Histogram = "mirrorfleet_queue_wait_seconds" [kind];
    /// Questions to serving pods for what they serve, by answer (serves, nothing, unreachable).
    POD_POLLS: Counter = "mirrorfleet_pod_polls_total" [answer];
}

const RECONCILE_BUCKETS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];
const WAIT_BUCKETS: &[f64] = &[0.01, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0];

/// The controller's metrics.
pub struct ControllerMetrics {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    leading: bool,
    /// Whether runs only prepare.
    prepares: bool,
    mirrors: BTreeMap<ObjectKey, MirrorEntry>,
    upstreams: BTreeMap<ObjectKey, UpstreamEntry>,
    reconciles: BTreeMap<&'static str, Reconciles>,
    queues: BTreeMap<&'static str, Queue>,
    /// By answer.
    pod_polls: BTreeMap<&'static str, u64>,
}

/// What a controller will count. Its series begin with 0: `increase` sees no step from nothing to 1, so that the first
/// of a series that comes with it is never shown.
#[derive(Debug, Clone, Copy)]
pub struct Countable {
    /// Kinds of objects that are reconciled.
    pub kinds: &'static [&'static str],
    /// Why a reconciliation can fail.
    pub errors: &'static [Reason],
    /// What questions to serving pods are answered with.
    pub answers: &'static [&'static str],
    /// Whether runs only prepare what others order to be served.
    pub prepares: bool,
}

#[derive(Default)]
struct UpstreamEntry {
    state: UpstreamGauges,
    answered_probes: u64,
    failed_probes: u64,
}

struct Queue {
    /// How many wait now.
    depth: Depth,
    wait: prometheus::Histogram,
}

type Depth = Box<dyn Fn() -> usize + Send>;

#[derive(Default)]
struct MirrorEntry {
    state: MirrorGauges,
    missed_runs: u64,
    runs: BTreeMap<String, RegionRuns>,
    /// By region.
    checks: BTreeMap<String, CheckGauges>,
}

struct Reconciles {
    finished: u64,
    /// By reason.
    errors: BTreeMap<Reason, u64>,
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

    /// What will be counted of the controller's own work begins with 0.
    pub fn expect(&self, countable: Countable) {
        let mut known = self.known();
        known.prepares = countable.prepares;
        for kind in countable.kinds {
            let errors = &mut known.reconciles.entry(*kind).or_default().errors;
            errors.extend(countable.errors.iter().map(|reason| (*reason, 0)));
        }
        let answers = countable.answers.iter().map(|answer| (*answer, 0));
        known.pod_polls.extend(answers);
    }

    /// Replaces everything that is true of a Mirror now. Counters of regions that `state` no longer lists are dropped, and
    /// those of new ones begin with 0.
    pub fn replace_mirror(&self, key: &ObjectKey, state: MirrorGauges) {
        let mut known = self.known();
        let prepares = known.prepares;
        let entry = known.mirrors.entry(key.clone()).or_default();
        entry
            .runs
            .retain(|region, _| state.regions.iter().any(|known| known.region == *region));
        entry
            .checks
            .retain(|region, _| state.regions.iter().any(|known| known.region == *region));
        for region in &state.regions {
            if !entry.runs.contains_key(&region.region) {
                entry
                    .runs
                    .insert(region.region.clone(), RegionRuns::new(prepares));
            }
        }
        entry.state = state;
    }

    /// Replaces what the checks of a region come to, if anything. A Mirror that is gone stays so.
    pub fn replace_checks(&self, key: &ObjectKey, region: &str, checks: Option<CheckGauges>) {
        let mut known = self.known();
        let Some(entry) = known.mirrors.get_mut(key) else {
            return;
        };
        match checks {
            Some(checks) => entry.checks.insert(region.to_owned(), checks),
            None => entry.checks.remove(region),
        };
    }

    /// Drops every series of a Mirror that is gone. Nothing may be recorded for it afterwards.
    pub fn remove_mirror(&self, key: &ObjectKey) {
        self.known().mirrors.remove(key);
    }

    /// Replaces everything that is true of an Upstream now.
    pub fn replace_upstream(&self, key: &ObjectKey, state: UpstreamGauges) {
        self.known().upstreams.entry(key.clone()).or_default().state = state;
    }

    /// Drops every series of an Upstream that is gone.
    pub fn remove_upstream(&self, key: &ObjectKey) {
        self.known().upstreams.remove(key);
    }

    /// Counts what became of asking an authority for one unit.
    pub fn record_probe(&self, key: &ObjectKey, answered: bool) {
        let mut known = self.known();
        let entry = known.upstreams.entry(key.clone()).or_default();
        match answered {
            true => entry.answered_probes += 1,
            false => entry.failed_probes += 1,
        }
    }

    /// Counts one question to a serving pod; `answer` is one fixed word.
    pub fn record_pod_poll(&self, answer: &'static str) {
        *self.known().pod_polls.entry(answer).or_default() += 1;
    }

    /// From now on the depth of the queue of this kind is asked for at every scrape.
    pub fn watch_queue(&self, kind: &'static str, depth: impl Fn() -> usize + Send + 'static) {
        let queue = Queue {
            depth: Box::new(depth),
            wait: histogram(WAIT_BUCKETS),
        };
        self.known().queues.insert(kind, queue);
    }

    /// Notes how long an object of a queue that is watched had to wait.
    pub fn record_wait(&self, kind: &'static str, seconds: f64) {
        if let Some(queue) = self.known().queues.get(kind) {
            queue.wait.observe(seconds);
        }
    }

    /// Counts one finished run, once.
    pub fn record_run(&self, key: &ObjectKey, region: &str, run: Run) {
        let mut known = self.known();
        let prepares = known.prepares;
        let runs = known
            .mirrors
            .entry(key.clone())
            .or_default()
            .runs
            .entry(region.to_owned())
            .or_insert_with(|| RegionRuns::new(prepares));
        *runs.finished.entry((run.result, run.reason)).or_default() += 1;
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
    pub fn record_reconcile(&self, kind: &'static str, seconds: f64, error: Option<Reason>) {
        let mut known = self.known();
        let reconciles = known.reconciles.entry(kind).or_default();
        reconciles.finished += 1;
        reconciles.duration.observe(seconds);
        if let Some(reason) = error {
            *reconciles.errors.entry(reason).or_default() += 1;
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
            series::mirror(out, key, entry);
        }
        for (key, entry) in &known.upstreams {
            series::upstream(out, key, entry);
        }
        for (kind, reconciles) in &known.reconciles {
            series::reconciles(out, kind, reconciles);
        }
        for (kind, queue) in &known.queues {
            out.gauge(&QUEUE_DEPTH, &[*kind], (queue.depth)() as f64);
            out.histogram(&QUEUE_WAIT, &[*kind], &queue.wait);
        }
        for (answer, count) in &known.pod_polls {
            out.counter(&POD_POLLS, &[*answer], *count as f64);
        }
    }
}
