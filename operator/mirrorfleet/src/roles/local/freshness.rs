//! What Prometheus is told of the one region that this process is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use fleet_api::upstream::ObservedUnit;
use fleet_plan::freshness::{
    BehindUnit, Freshness as Measured, expired, index_ends, measure, observe,
};
use fleet_plan::report::instant;
use fleet_store::Store;
use fleet_sync::{PlanReport, Report};
use fleet_telemetry::{ControllerMetrics, ObjectKey, Run};
use fleet_types::documents::Success;
use fleet_types::gauges::{ConditionGauges, MirrorGauges, RegionGauges, RunGauges};
use fleet_types::{ConditionStatus, Outcome, Reason, UnitRevision, lock};
use jiff::{SignedDuration, Timestamp};

use super::work::{Ready, Task};

/// The region label of everything that `mirrorfleet local` measures.
pub const REGION: &str = "local";

/// The metrics of all Mirrors, from what the stores hold and what the authority was seen to have.
pub struct Freshness {
    metrics: Arc<ControllerMetrics>,
    data: PathBuf,
    known: Mutex<BTreeMap<ObjectKey, Known>>,
}

#[derive(Clone, Default)]
pub(super) struct Known {
    /// What the authority was seen to have, and whether it may have something else by now.
    authority: Vec<ObservedUnit>,
    is_told: bool,
    pub(super) behind: Vec<BehindUnit>,
    last_reason: Option<Reason>,
    consecutive_failures: u32,
    next_run: Option<i64>,
}

impl Known {
    /// The authority was asked, by a run or a probe. One that was not good does not tell what it has.
    pub(super) fn heard(&mut self, reason: Reason, revision: &[UnitRevision], now: Timestamp) {
        self.is_told = reason.outcome() == Outcome::Good;
        if self.is_told {
            let seen = |unit: &UnitRevision| {
                let known = self.authority.iter().find(|known| known.unit == unit.unit);
                let date = (unit.is_dated()).then(|| Timestamp::from_second(unit.date).ok());
                observe(
                    known,
                    &unit.unit,
                    &unit.digest.to_string(),
                    date.flatten(),
                    now,
                )
            };
            self.authority = revision.iter().map(seen).collect();
        }
    }

    /// Compares what is served with what the authority has, and remembers what is behind.
    pub(super) fn measure(
        &mut self,
        units: &[String],
        served: Option<&[UnitRevision]>,
        now: Timestamp,
    ) -> Measured {
        let authority = if self.is_told {
            &self.authority[..]
        } else {
            &[]
        };
        let measured = served
            .and_then(|served| measure(units, authority, served, &self.behind, now).ok())
            .unwrap_or_else(|| Measured::Unknown(Reason::Unknown, String::new()));
        measured.remember(&mut self.behind);
        measured
    }

    /// As in [`RegionGauges::superseded`].
    pub(super) fn superseded(&self, measured: &Measured) -> Option<Option<i64>> {
        let since = self
            .behind
            .iter()
            .map(|unit| unit.superseded_at.0.as_second());
        let current = (*measured == Measured::Current).then_some(None);
        since.min().map(Some).or(current)
    }
}

impl Freshness {
    pub fn new(metrics: Arc<ControllerMetrics>, data: PathBuf) -> Freshness {
        metrics.set_leading(true);
        Freshness {
            metrics,
            data,
            known: Mutex::default(),
        }
    }

    /// A run has ended.
    pub fn ran(&self, task: &Task, report: &Report) {
        let key = key(task);
        self.change(task, |known| {
            known.last_reason = Some(report.reason);
            known.consecutive_failures = match report.is_good() {
                true => 0,
                false => known.consecutive_failures.saturating_add(1),
            };
            known.heard(report.reason, &report.revision, instant(report.finished_at));
        });
        let run = Run {
            result: report.result.as_str(),
            reason: report.reason.as_str(),
            seconds: report.seconds,
            bytes: report.bytes_fetched,
            files: report.files_fetched,
        };
        self.metrics.record_run(&key, REGION, run);
    }

    /// The authority was asked, and nothing was changed.
    pub fn probed(&self, task: &Task, plan: &PlanReport, now: Timestamp) {
        self.change(task, |known| known.heard(plan.reason, &plan.revision, now));
    }

    /// Whether it is known already that the authority has something newer, so that asking again tells nothing.
    pub fn is_behind(&self, task: &Task) -> bool {
        let known = self.known();
        known
            .get(&key(task))
            .is_some_and(|known| !known.behind.is_empty())
    }

    pub fn scheduled(&self, task: &Task, next_run: Option<i64>) {
        self.change(task, |known| known.next_run = next_run);
    }

    /// Drops the series of Mirrors that are no longer declared.
    pub fn keep_only(&self, tasks: &[&Task]) {
        let declared: Vec<_> = tasks.iter().map(|task| key(task)).collect();
        self.known().retain(|key, _| {
            let stays = declared.contains(key);
            if !stays {
                self.metrics.remove_mirror(key);
            }
            stays
        });
    }

    fn change(&self, task: &Task, change: impl FnOnce(&mut Known)) {
        let key = key(task);
        let Ok(ready) = &task.ready else { return };
        let mut all = self.known();
        let known = all.entry(key.clone()).or_default();
        change(known);
        let store = Store::open(&self.data.join(&task.mirror)).ok();
        let mut state = state(ready, known, store.as_ref(), Timestamp::now());
        state.sync_interval = state.sync_interval.filter(|_| !task.suspended);
        self.metrics.replace_mirror(&key, state);
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Known>> {
        lock(&self.known)
    }
}

fn state(ready: &Ready, known: &mut Known, store: Option<&Store>, now: Timestamp) -> MirrorGauges {
    let snapshot = store.and_then(|store| store.current_snapshot().ok().flatten());
    let success: Option<Success> =
        store.and_then(|store| store.state(Success::DOCUMENT).ok().flatten());
    let last_run: Option<Report> =
        store.and_then(|store| store.state(Report::DOCUMENT).ok().flatten());
    let space = store.and_then(|store| store.free_space().ok());
    let served = (snapshot.as_ref()).map(|snapshot| snapshot.meta().revision.as_slice());
    let measured = known.measure(&ready.options.format.units(), served, now);
    let served = served.unwrap_or_default();
    let fresh = is_fresh(&measured, served, ready.objective, now);
    let verified = (known.last_reason).map(|reason| reason.outcome() != Outcome::Refused);
    let conditions = [
        ("Ready", Some(snapshot.is_some())),
        ("Fresh", fresh),
        ("Verified", verified),
    ];
    let region = RegionGauges {
        region: REGION.to_owned(),
        superseded: known.superseded(&measured),
        snapshot: snapshot.as_ref().map(|snapshot| snapshot.id().to_string()),
        last_success: success.map(|success| success.at.0),
        last_run: last_run.as_ref().map(run),
        consecutive_failures: known.consecutive_failures,
        index_valid_until: index_ends(served)
            .map(|(unit, end)| (unit.to_owned(), end.as_second()))
            .collect(),
        storage_used_bytes: space.map(|space| space.total_bytes.saturating_sub(space.free_bytes)),
        storage_capacity_bytes: space.map(|space| space.total_bytes),
    };
    MirrorGauges {
        upstream: None,
        conditions: conditions
            .map(|(name, is)| ConditionGauges {
                kind: name.to_owned(),
                status: truth(is),
                reason: None,
                since: None,
            })
            .into(),
        regions: vec![region],
        freshness_objective: u64::try_from(ready.objective.as_secs()).ok(),
        next_run: known.next_run,
        sync_interval: ready.timing.schedule.interval(now),
    }
}

fn run(report: &Report) -> RunGauges {
    RunGauges {
        reason: report.reason,
        finished_at: report.finished_at.0,
        seconds: Some(report.seconds),
        bytes: Some(report.bytes_fetched),
        files: Some(report.files_fetched),
    }
}

/// As the condition `Fresh` says it; none where it cannot be told.
pub(super) fn is_fresh(
    measured: &Measured,
    served: &[UnitRevision],
    objective: SignedDuration,
    now: Timestamp,
) -> Option<bool> {
    match measured {
        _ if expired(served, now).is_some() => Some(false),
        Measured::Unknown(..) => None,
        known => Some(known.stale_since(objective, now).is_none()),
    }
}

fn truth(known: Option<bool>) -> ConditionStatus {
    match known {
        Some(true) => ConditionStatus::True,
        Some(false) => ConditionStatus::False,
        None => ConditionStatus::Unknown,
    }
}

fn key(task: &Task) -> ObjectKey {
    ObjectKey::new(task.namespace.clone(), task.mirror.clone())
}
