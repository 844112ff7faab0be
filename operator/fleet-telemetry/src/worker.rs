//! The metrics of a sync run while it goes on. What a finished run amounted to is in its report and the controller's
//! metrics; these vanish with the run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::Definition;
use crate::definition::definitions;
use crate::registry::{Registry, RegistryError, Source};
use crate::samples::Samples;
use fleet_types::lock;

definitions! {
    /// Always 1; the label names what the run does at the moment.
    PHASE: Gauge = "mirrorfleet_sync_phase_info" [namespace, mirror, region, phase];
    /// Unix time at which the run started.
    STARTED: Gauge = "mirrorfleet_sync_started_timestamp_seconds" [namespace, mirror, region];
    /// Bytes that the run means to fetch, as far as it knows by now.
    PLANNED_BYTES: Gauge = "mirrorfleet_sync_planned_bytes" [namespace, mirror, region];
    /// Files that the run means to fetch, as far as it knows by now.
    PLANNED_FILES: Gauge = "mirrorfleet_sync_planned_files" [namespace, mirror, region];
    /// Bytes that the run has received.
    RECEIVED_BYTES: Counter = "mirrorfleet_sync_received_bytes_total" [namespace, mirror, region];
    /// Files that the run has received whole and checked.
    RECEIVED_FILES: Counter = "mirrorfleet_sync_received_files_total" [namespace, mirror, region];
    /// Entries of the indices that are left out since nothing can be copied by them, as far as the run knows by now.
    LEFT_OUT: Gauge = "mirrorfleet_sync_left_out_entries" [namespace, mirror, region];
}

/// Which copy of which mirror a run fills. Empty where there is no cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunPlace {
    pub namespace: String,
    pub mirror: String,
    pub region: String,
}

/// The runs that go on in this process.
pub struct WorkerMetrics {
    runs: Mutex<BTreeMap<RunPlace, Arc<RunProgress>>>,
}

/// How far one run is. Every method may be called from any thread.
#[derive(Debug)]
pub struct RunProgress {
    phase: Mutex<&'static str>,
    started: i64,
    planned_bytes: AtomicU64,
    planned_files: AtomicU64,
    received_bytes: AtomicU64,
    received_files: AtomicU64,
    left_out: AtomicU64,
}

/// How far a run is, as plain values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFigures {
    /// One fixed word for what it does at the moment.
    pub phase: String,
    /// Unix seconds.
    pub started: i64,
    pub planned_bytes: u64,
    pub received_bytes: u64,
    pub planned_files: u64,
    pub received_files: u64,
}

impl RunFigures {
    /// What the metrics of a process say of its one run; none if there is no run.
    pub fn parse(metrics: &str) -> Option<RunFigures> {
        let value = |of: &Definition| samples(metrics, of.name).next().map(|(_, value)| value);
        let count = |of: &Definition| value(of).map_or(0, |value| value as u64);
        let (labels, _) = samples(metrics, PHASE.name).next()?;
        let (_, phase) = labels.split_once("phase=\"")?;
        Some(RunFigures {
            phase: phase.split('"').next().unwrap_or_default().to_owned(),
            started: value(&STARTED).map_or(0, |value| value as i64),
            planned_bytes: count(&PLANNED_BYTES),
            received_bytes: count(&RECEIVED_BYTES),
            planned_files: count(&PLANNED_FILES),
            received_files: count(&RECEIVED_FILES),
        })
    }
}

/// The samples of one metric: labels and value.
fn samples<'t>(metrics: &'t str, name: &'t str) -> impl Iterator<Item = (&'t str, f64)> {
    metrics.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = rest.rsplit_once(' ')?;
        let own = labels.is_empty() || labels.starts_with('{');
        Some((labels, value.parse().ok()?)).filter(|_| own)
    })
}

impl WorkerMetrics {
    pub fn register(registry: &Registry) -> Result<Arc<WorkerMetrics>, RegistryError> {
        let metrics = Arc::new(WorkerMetrics {
            runs: Mutex::default(),
        });
        registry.add(metrics.clone())?;
        Ok(metrics)
    }

    /// Starts the series of a run that began at `started` (Unix seconds).
    pub fn begin(&self, place: RunPlace, started: i64) -> Arc<RunProgress> {
        let progress = Arc::new(RunProgress {
            phase: Mutex::new("start"),
            started,
            planned_bytes: AtomicU64::new(0),
            planned_files: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            received_files: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        });
        self.runs().insert(place, progress.clone());
        progress
    }

    /// Drops the series of a run that has ended.
    pub fn end(&self, place: &RunPlace) {
        self.runs().remove(place);
    }

    /// How far the run of that place is; none where none goes on.
    pub fn figures(&self, place: &RunPlace) -> Option<RunFigures> {
        let run = self.runs().get(place)?.clone();
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        Some(RunFigures {
            phase: (*lock(&run.phase)).to_owned(),
            started: run.started,
            planned_bytes: count(&run.planned_bytes),
            received_bytes: count(&run.received_bytes),
            planned_files: count(&run.planned_files),
            received_files: count(&run.received_files),
        })
    }

    fn runs(&self) -> MutexGuard<'_, BTreeMap<RunPlace, Arc<RunProgress>>> {
        lock(&self.runs)
    }
}

impl RunProgress {
    /// One fixed word for each phase, for example `fetch`.
    pub fn set_phase(&self, phase: &'static str) {
        *lock(&self.phase) = phase;
    }

    /// Replaces what the run means to fetch in all.
    pub fn set_planned(&self, files: u64, bytes: u64) {
        self.planned_files.store(files, Ordering::Relaxed);
        self.planned_bytes.store(bytes, Ordering::Relaxed);
    }

    pub fn add_received_bytes(&self, bytes: u64) {
        self.received_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn add_received_file(&self) {
        self.received_files.fetch_add(1, Ordering::Relaxed);
    }

    pub fn set_left_out(&self, entries: u64) {
        self.left_out.store(entries, Ordering::Relaxed);
    }

    fn collect(&self, out: &mut Samples, place: &RunPlace) {
        let phase = *lock(&self.phase);
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        let labels = [
            place.namespace.as_str(),
            place.mirror.as_str(),
            place.region.as_str(),
        ];
        out.gauge(&PHASE, &[labels[0], labels[1], labels[2], phase], 1.0);
        out.gauge(&STARTED, &labels, self.started as f64);
        out.gauge(&PLANNED_BYTES, &labels, value(&self.planned_bytes));
        out.gauge(&PLANNED_FILES, &labels, value(&self.planned_files));
        out.counter(&RECEIVED_BYTES, &labels, value(&self.received_bytes));
        out.counter(&RECEIVED_FILES, &labels, value(&self.received_files));
        out.gauge(&LEFT_OUT, &labels, value(&self.left_out));
    }
}

impl Source for WorkerMetrics {
    fn definitions(&self) -> &'static [Definition] {
        ALL
    }

    fn collect(&self, out: &mut Samples) {
        for (place, progress) in self.runs().iter() {
            progress.collect(out, place);
        }
    }
}
