//! What Prometheus is told of the one region that this process is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fleet_store::Store;
use fleet_sync::{PlanReport, Report, RunResult};
use fleet_telemetry::{
    ConditionState, ControllerMetrics, MirrorState, ObjectKey, RegionState, Run,
};
use fleet_types::{Outcome, Reason};

use super::work::Task;
use crate::runtime::now;

/// The region label of everything that `mirrorfleet local` measures.
pub const REGION: &str = "local";

/// The metrics of all Mirrors, from what the stores hold and what the authority was seen to have.
pub struct Freshness {
    metrics: Arc<ControllerMetrics>,
    data: PathBuf,
    known: Mutex<BTreeMap<ObjectKey, Known>>,
}

#[derive(Clone, Default)]
struct Known {
    /// As in [`RegionState::superseded`].
    superseded: Option<Option<i64>>,
    last_reason: Option<Reason>,
    next_run: Option<i64>,
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
        let result = match report.result {
            RunResult::Published => "Published",
            RunResult::Unchanged => "Unchanged",
            RunResult::Failed => "Failed",
        };
        self.change(task, |known| {
            known.last_reason = Some(report.reason);
            known.superseded = match (report.reason.outcome(), report.reason) {
                (Outcome::Good, Reason::Published | Reason::Unchanged) => Some(None),
                // Something newer is there and a person keeps it from being served.
                (Outcome::Good, _) => known
                    .superseded
                    .filter(Option::is_some)
                    .or(Some(Some(report.finished_at))),
                // Whether the authority has something newer is not known, unless it already was.
                _ => known.superseded.filter(Option::is_some),
            };
        });
        let run = Run {
            result,
            reason: report.reason.as_str(),
            seconds: report.seconds,
            bytes: report.bytes_fetched,
            files: report.files_fetched,
        };
        self.metrics.record_run(&key, REGION, run);
    }

    /// The authority was asked, and nothing was changed.
    pub fn probed(&self, task: &Task, plan: &PlanReport, now: i64) {
        self.change(task, |known| {
            known.superseded = match (plan.reason.outcome(), plan.result) {
                (Outcome::Good, RunResult::Unchanged) => Some(None),
                (Outcome::Good, _) => known.superseded.filter(Option::is_some).or(Some(Some(now))),
                _ => known.superseded.filter(Option::is_some),
            };
        });
    }

    /// Whether it is known already that the authority has something newer, so that asking again tells nothing.
    pub fn is_behind(&self, task: &Task) -> bool {
        self.known()
            .get(&key(task))
            .is_some_and(|known| matches!(known.superseded, Some(Some(_))))
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
        let known = {
            let mut all = self.known();
            let known = all.entry(key.clone()).or_default();
            change(known);
            known.clone()
        };
        self.metrics.replace_mirror(&key, self.state(task, &known));
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self, task: &Task, known: &Known) -> MirrorState {
        let store = Store::open(&self.data.join(&task.mirror)).ok();
        let snapshot = store
            .as_ref()
            .and_then(|store| store.current_snapshot().ok().flatten());
        let success = store
            .as_ref()
            .and_then(|store| store.state::<serde_json::Value>("success").ok().flatten());
        let space = store.as_ref().and_then(|store| store.free_space().ok());
        let valid_until = snapshot
            .iter()
            .flat_map(|snapshot| &snapshot.meta().revision);
        let region = RegionState {
            region: REGION.to_owned(),
            superseded: known.superseded,
            snapshot: snapshot.as_ref().map(|snapshot| snapshot.id().to_string()),
            last_success: success.and_then(|success| success.get("at")?.as_i64()),
            index_valid_until: valid_until
                .filter_map(|unit| Some((unit.unit.clone(), unit.valid_until?)))
                .collect(),
            storage_used_bytes: space
                .map(|space| space.total_bytes.saturating_sub(space.free_bytes)),
            storage_capacity_bytes: space.map(|space| space.total_bytes),
        };
        MirrorState {
            conditions: conditions(&region, known, now()),
            regions: vec![region],
            next_run: known.next_run,
        }
    }
}

fn conditions(region: &RegionState, known: &Known, now: i64) -> Vec<(String, ConditionState)> {
    let is = |truth| {
        if truth {
            ConditionState::True
        } else {
            ConditionState::False
        }
    };
    // Clients refuse an index that is past its time, however new it is.
    let expired = region.index_valid_until.iter().any(|(_, end)| *end < now);
    let fresh = match region.superseded {
        _ if expired => ConditionState::False,
        None => ConditionState::Unknown,
        Some(superseded) => is(superseded.is_none()),
    };
    let verified = known.last_reason.map_or(ConditionState::Unknown, |reason| {
        is(reason.outcome() != Outcome::Refused)
    });
    let list = [
        ("Ready", is(region.snapshot.is_some())),
        ("Fresh", fresh),
        ("Verified", verified),
    ];
    list.map(|(name, state)| (name.to_owned(), state)).into()
}

fn key(task: &Task) -> ObjectKey {
    ObjectKey::new(task.namespace.clone(), task.mirror.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_expired_is_not_fresh_although_the_authority_has_nothing_newer() {
        let fresh = |superseded, ends: &[i64]| {
            let region = RegionState {
                region: REGION.to_owned(),
                superseded,
                snapshot: None,
                last_success: None,
                index_valid_until: ends.iter().map(|end| ("stable".to_owned(), *end)).collect(),
                storage_used_bytes: None,
                storage_capacity_bytes: None,
            };
            let all = conditions(&region, &Known::default(), 100);
            all.into_iter().find(|(name, _)| name == "Fresh").unwrap().1
        };
        assert_eq!(fresh(Some(None), &[]), ConditionState::True);
        assert_eq!(fresh(Some(None), &[100, 101]), ConditionState::True);
        assert_eq!(fresh(Some(None), &[101, 99]), ConditionState::False);
        assert_eq!(fresh(None, &[99]), ConditionState::False);
        assert_eq!(fresh(None, &[]), ConditionState::Unknown);
        assert_eq!(fresh(Some(Some(7)), &[]), ConditionState::False);
    }
}
