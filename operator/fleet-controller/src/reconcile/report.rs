//! What is said of a Mirror after its plan was carried out: its status with what failed, its metrics.

use std::collections::BTreeMap;

use fleet_api::{ConditionType, Mirror, MirrorStatus, RegionStatus};
use fleet_plan::{Answer, Plan, PlannedEvent};
use fleet_telemetry::{ConditionState, MirrorState, ObjectKey, RegionState, Run};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::context::Context;
use crate::error::WriteError;
use crate::world::ObjectName;

/// The status to write.
pub struct Settled {
    pub status: MirrorStatus,
    /// Whether it differs from the one that is there.
    pub changed: bool,
    /// What the failure is worth telling.
    pub events: Vec<PlannedEvent>,
}

/// What came of a plan's writes.
#[derive(Debug, Default)]
pub struct Carried {
    /// Why some were not carried out, in their order.
    pub failures: Vec<WriteError>,
    /// The Job that was not made, whether it was refused or something before it.
    pub unmade_job: Option<String>,
}

impl Carried {
    /// That the world was not as it was planned for.
    pub fn outdated(&self) -> Option<&WriteError> {
        let mut failures = self.failures.iter();
        failures.find(|error| {
            matches!(
                error,
                WriteError::NameConflict { .. } | WriteError::Outdated { .. }
            )
        })
    }

    pub fn result(&self) -> Result<(), WriteError> {
        self.failures.first().cloned().map_or(Ok(()), Err)
    }
}

/// Folds a failed write into the planned status: it is still being reconciled, and why it does not get on. What is not
/// ready without it is not ready because of it.
pub fn settle(mirror: &Mirror, plan: &Plan, carried: &Carried, now: Timestamp) -> Settled {
    let Some(failure) = carried.failures.first() else {
        return Settled {
            status: plan.status.clone(),
            changed: plan.status_changed,
            events: Vec::new(),
        };
    };
    let before = mirror
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let known = before
        .iter()
        .find(|condition| condition.type_ == ConditionType::Reconciling.as_str());
    let since = known
        .filter(|known| known.status == "True")
        .map(|known| known.last_transition_time.clone());
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let reconciling = Condition {
        type_: ConditionType::Reconciling.as_str().to_owned(),
        status: "True".to_owned(),
        reason: failure.reason().as_str().to_owned(),
        message: failure.to_string(),
        observed_generation: mirror.metadata.generation,
        last_transition_time: since.unwrap_or(Time(now)),
    };
    let news = known.is_none_or(|known| {
        known.reason != reconciling.reason || known.message != reconciling.message
    });
    let event = PlannedEvent {
        warning: true,
        reason: failure.reason(),
        action: "Reconcile",
        message: failure.to_string(),
    };
    let mut status = plan.status.clone();
    if let Some(job) = &carried.unmade_job {
        not_begun(&mut status, mirror, job);
    }
    let stalled = status
        .conditions
        .iter()
        .any(|condition| condition.type_ == ConditionType::Stalled.as_str());
    let ready = status.conditions.iter_mut().find(|condition| {
        condition.type_ == ConditionType::Ready.as_str() && condition.status == "False"
    });
    if let Some(ready) = ready.filter(|_| !stalled) {
        status.state = Some(reconciling.reason.clone());
        ready.reason.clone_from(&reconciling.reason);
        ready.message.clone_from(&reconciling.message);
    }
    status
        .conditions
        .retain(|condition| condition.type_ != reconciling.type_);
    status.conditions.push(reconciling);
    status.conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    Settled {
        changed: !same(mirror.status.as_ref(), &status),
        status,
        events: news.then_some(event).into_iter().collect(),
    }
}

/// A run whose Job was not made did not begin: what the status says of its region's runs stays as it was.
fn not_begun(status: &mut MirrorStatus, mirror: &Mirror, job: &str) {
    let regions = status.regions.iter_mut();
    let begun = |region: &&mut RegionStatus| {
        region
            .current_run
            .as_ref()
            .is_some_and(|run| run.job == job)
    };
    for region in regions.filter(begun) {
        let before = mirror.status.iter().flat_map(|status| &status.regions);
        let before = before.into_iter().find(|before| before.name == region.name);
        if before.and_then(|before| before.current_run.as_ref()) == region.current_run.as_ref() {
            continue;
        }
        region.current_run = None;
        region.round_started_at = before.and_then(|before| before.round_started_at.clone());
        region.handled_sync_request = before.and_then(|before| before.handled_sync_request.clone());
        if region.snapshot.is_none() {
            region.state = fleet_api::RegionState::Pending;
        }
    }
    status.last_handled_sync_request = mirror
        .status
        .as_ref()
        .and_then(|status| status.last_handled_sync_request.clone());
}

/// Whether two statuses say the same, in whatever order the conditions stand.
fn same(before: Option<&MirrorStatus>, after: &MirrorStatus) -> bool {
    let ordered = |status: &MirrorStatus| {
        let mut status = status.clone();
        status.conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
        status
    };
    before.is_some_and(|before| ordered(before) == ordered(after))
}

pub fn key(name: &ObjectName) -> ObjectKey {
    ObjectKey::new(&name.namespace, &name.name)
}

/// Exports what is true of a Mirror now.
pub fn mirror_metrics(
    context: &Context,
    name: &ObjectName,
    plan: &Plan,
    answers: &BTreeMap<String, Answer>,
) {
    let status = &plan.status;
    // What is assumed is no measurement: a lag of zero would look like one.
    let judged = status.conditions.iter().any(|c| {
        c.type_ == ConditionType::Fresh.as_str()
            && c.status != "Unknown"
            && c.reason != fleet_types::Reason::AssumedFresh.as_str()
    });
    let state = MirrorState {
        regions: status
            .regions
            .iter()
            .map(|region| region_state(name, region, judged, answers))
            .collect(),
        next_run: status.next_sync_time.as_ref().map(|at| at.0.as_second()),
        conditions: conditions(&status.conditions),
    };
    context.metrics.replace_mirror(&key(name), state);
}

fn region_state(
    mirror: &ObjectName,
    region: &RegionStatus,
    judged: bool,
    answers: &BTreeMap<String, Answer>,
) -> RegionState {
    let pod = fleet_plan::names::serving_pod_name(&fleet_plan::names::child_name(
        &mirror.name,
        &region.name,
    ));
    let served = match answers.get(&pod) {
        Some(Answer::Serves(served)) => Some(served),
        _ => None,
    };
    let storage = served.and_then(|served| served.storage.as_ref());
    let behind = region
        .superseded_at
        .as_ref()
        .map(|since| Some(since.0.as_second()));
    let current = (judged && served.is_some() && region.snapshot.is_some()).then_some(None);
    RegionState {
        region: region.name.clone(),
        superseded: behind.or(current),
        snapshot: served.and_then(|served| served.snapshot.clone()),
        last_success: region.last_success.as_ref().map(|at| at.0.as_second()),
        index_valid_until: served
            .iter()
            .flat_map(|s| &s.revision)
            .filter_map(|u| Some((u.unit.clone(), u.valid_until?)))
            .collect(),
        storage_used_bytes: storage.map(|storage| storage.used),
        storage_capacity_bytes: storage.map(|storage| storage.capacity),
    }
}

/// Conditions as metrics tell them.
pub fn conditions(conditions: &[Condition]) -> Vec<(String, ConditionState)> {
    let state = |condition: &Condition| match condition.status.as_str() {
        "True" => ConditionState::True,
        "False" => ConditionState::False,
        _ => ConditionState::Unknown,
    };
    conditions
        .iter()
        .map(|condition| (condition.type_.clone(), state(condition)))
        .collect()
}

/// Counts the runs whose result has just entered the status, and the slots that passed without one.
pub fn count_runs(context: &Context, mirror: &Mirror, plan: &Plan, after: &MirrorStatus) {
    let meta = &mirror.metadata;
    let key = ObjectKey::new(
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    );
    for run in &plan.finished {
        let report = run.report.as_ref();
        let counted = Run {
            result: report.map_or("Failed", |report| result_word(&report.result)),
            reason: run.reason.as_str(),
            seconds: report.map_or(0.0, |report| report.seconds),
            bytes: report.map_or(0, |report| report.bytes_fetched),
            files: report.map_or(0, |report| report.files_fetched),
        };
        context.metrics.record_run(&key, &run.region, counted);
    }
    if missed(mirror.status.as_ref(), after, Timestamp::now()) {
        context.metrics.record_missed_runs(&key, 1);
    }
}

/// A report comes from a pod: only the three words are taken for a label.
fn result_word(word: &str) -> &'static str {
    match word {
        "Published" => "Published",
        "Unchanged" => "Unchanged",
        _ => "Failed",
    }
}

/// Whether the slot that was announced passed, and another one is announced, without any run since.
fn missed(before: Option<&MirrorStatus>, after: &MirrorStatus, now: Timestamp) -> bool {
    let (Some(announced), Some(next)) = (
        before.and_then(|before| before.next_sync_time.as_ref()),
        &after.next_sync_time,
    ) else {
        return false;
    };
    let ran = |region: &RegionStatus| {
        let current = region.current_run.iter().map(|run| &run.started_at);
        current
            .chain(
                region
                    .last_attempt
                    .iter()
                    .map(|attempt| &attempt.started_at),
            )
            .any(|at| at.0 >= announced.0)
    };
    announced.0 < now && next.0 > announced.0 && next.0 > now && !after.regions.iter().any(ran)
}

#[cfg(test)]
mod tests;
