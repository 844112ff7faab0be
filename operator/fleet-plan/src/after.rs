//! What a plan comes to where it could not be carried out.

use fleet_api::{ConditionStatus, ConditionType, Mirror, MirrorStatus, RegionState, ReplicaStatus};
use fleet_types::Reason;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::plan::{Plan, PlannedEvent};
use crate::verdict::{Verdict, conditions, said};

/// A write that failed, the first of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub reason: Reason,
    pub message: String,
    /// The Jobs that were not made, whether they were refused or something before them.
    pub unmade_jobs: Vec<String>,
}

impl Plan {
    /// The plan after a write of it failed: what it decided is still being reconciled, and why it does not get on. What
    /// is not ready without that is not ready because of it.
    pub fn after(mut self, mirror: &Mirror, failure: &Failure, now: Timestamp) -> Plan {
        let before = mirror.status.as_ref();
        let known = before.map_or(&[][..], |status| &status.conditions);
        let verdict = Verdict::yes(failure.reason, &failure.message);
        if said(ConditionType::Reconciling, known).as_ref() != Some(&verdict) {
            self.events.push(PlannedEvent {
                warning: true,
                reason: failure.reason,
                action: "Reconcile",
                message: failure.message.clone(),
            });
        }
        let status = &mut self.status;
        for job in &failure.unmade_jobs {
            not_begun(status, before, job);
        }
        if ConditionType::Stalled.find(&status.conditions).is_none() {
            blame(status, failure);
        }
        let generation = mirror.metadata.generation.unwrap_or(0);
        let reconciling = vec![(ConditionType::Reconciling, verdict)];
        let is_other = |other: &Condition| other.type_ != ConditionType::Reconciling.as_str();
        status.conditions.retain(is_other);
        status
            .conditions
            .extend(conditions(reconciling, known, generation, now));
        status.conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
        self.status_changed = !same(before, &self.status);
        self
    }

    /// Whether the slot that the status `before` announced passed, and another one is announced, without any run since.
    pub fn missed_slot(&self, before: Option<&MirrorStatus>, now: Timestamp) -> bool {
        let announced = before.and_then(|before| before.next_sync_time.as_ref());
        let (Some(announced), Some(next)) = (announced, &self.status.next_sync_time) else {
            return false;
        };
        let ran = |replica: &ReplicaStatus| {
            let current = replica.current_run.iter().map(|run| &run.started_at);
            let last = replica.last_attempt.iter().map(|last| &last.started_at);
            current.chain(last).any(|at| at.0 >= announced.0)
        };
        let passed = announced.0 < now && next.0 > announced.0 && next.0 > now;
        passed && !self.status.replicas().any(|(_, replica)| ran(replica))
    }
}

/// What is not ready names the failure.
fn blame(status: &mut MirrorStatus, failure: &Failure) {
    let not_ready = |known: &&mut Condition| {
        known.type_ == ConditionType::Ready.as_str() && ConditionStatus::False.is(&known.status)
    };
    if let Some(ready) = status.conditions.iter_mut().find(not_ready) {
        failure.reason.as_str().clone_into(&mut ready.reason);
        ready.message.clone_from(&failure.message);
        status.state = Some(failure.reason.to_string());
    }
}

/// A run whose Job was not made did not begin: what the status says of its region's runs stays as it was.
fn not_begun(status: &mut MirrorStatus, before: Option<&MirrorStatus>, job: &str) {
    let nothing = ReplicaStatus::default();
    for region in &mut status.regions {
        let mut known = before.iter().flat_map(|before| &before.regions);
        let known = known.find(|known| known.name == region.name);
        for (index, replica) in region.replicas.iter_mut().enumerate() {
            let known = known.and_then(|known| known.replicas.get(index));
            let known = known.unwrap_or(&nothing);
            let run = replica.current_run.as_ref();
            if run.is_none_or(|run| run.job != job) || known.current_run.as_ref() == run {
                continue;
            }
            replica.current_run = None;
            (replica.round_started_at).clone_from(&known.round_started_at);
            (replica.handled_sync_request).clone_from(&known.handled_sync_request);
            if replica.snapshot.is_none() {
                region.state = RegionState::Pending;
            }
        }
    }
    status.last_handled_sync_request =
        before.and_then(|before| before.last_handled_sync_request.clone());
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

#[cfg(test)]
mod tests;
