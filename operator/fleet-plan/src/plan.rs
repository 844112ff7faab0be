//! What planning decides: writes in their order, the status, events, and when to look again.

use fleet_api::{MirrorStatus, labels};
use fleet_types::Reason;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::observed::SeenMeta;
use crate::report::RunReport;
use crate::turn::Turn;

/// The decision for one Mirror.
///
/// Carry it out in this order: `writes` one after another; then the status, if `status_changed`; then `after_status`,
/// only if the status was really written (or did not change). Stopping after any step is safe: planning again goes on.
/// After a write that fails, those of other regions may still be carried out, but none of the same region and none of
/// the whole Mirror ([`Write::region`]): they build on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub writes: Vec<Write>,
    /// The whole status.
    pub status: MirrorStatus,
    /// Whether it differs from what the Mirror has.
    pub status_changed: bool,
    /// What destroys facts that only the status then holds.
    pub after_status: Vec<Write>,
    /// For people, once the status is written.
    pub events: Vec<PlannedEvent>,
    /// Runs whose result enters the status with this plan: for counters, once the status is written.
    pub finished: Vec<FinishedRun>,
    /// What this Mirror does with its Upstream's turn; for [`crate::TurnBook::record`].
    pub turn: Turn,
    /// How many of its regions are being restarted by us; for the other Mirrors' `rollouts_elsewhere`.
    pub rollouts: u32,
    /// When time alone changes the decision.
    pub wake_at: Option<Timestamp>,
}

/// One write. Nothing is written to an object that is not ours.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Puts [`fleet_api::labels::CLAIM_FINALIZER`] on the Mirror.
    AddFinalizer,
    /// Takes it off.
    RemoveFinalizer,
    /// POST. AlreadyExists: read it, and plan again.
    CreateClaim(Box<PersistentVolumeClaim>),
    /// Raises the request; a merge patch of `spec.resources.requests.storage` alone.
    GrowClaim {
        region: String,
        name: String,
        size: String,
    },
    /// Server-side apply, forced.
    ApplyService(Box<Service>),
    /// Server-side apply, forced.
    ApplyStatefulSet(Box<StatefulSet>),
    /// Server-side apply, forced.
    ApplyDisruptionBudget(Box<PodDisruptionBudget>),
    /// POST. AlreadyExists is success: the name says what the run is for.
    CreateJob(Box<Job>),
    /// DELETE with the uid as precondition, and of a Job with background propagation.
    Delete {
        kind: ChildKind,
        region: String,
        name: String,
        uid: String,
    },
}

/// A kind of which a region has objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildKind {
    Claim,
    Service,
    StatefulSet,
    DisruptionBudget,
    Job,
}

impl Write {
    pub fn delete(kind: ChildKind, meta: &SeenMeta) -> Write {
        Write::Delete {
            kind,
            region: meta.region().unwrap_or_default().to_owned(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
        }
    }

    /// The region whose objects it is about; none where it is the whole Mirror.
    pub fn region(&self) -> Option<&str> {
        let meta = match self {
            Write::AddFinalizer | Write::RemoveFinalizer => return None,
            Write::GrowClaim { region, .. } | Write::Delete { region, .. } => return Some(region),
            Write::CreateClaim(claim) => &claim.metadata,
            Write::ApplyService(service) => &service.metadata,
            Write::ApplyStatefulSet(set) => &set.metadata,
            Write::ApplyDisruptionBudget(budget) => &budget.metadata,
            Write::CreateJob(job) => &job.metadata,
        };
        meta.labels
            .as_ref()?
            .get(labels::REGION)
            .map(String::as_str)
    }
}

/// An Event on the Mirror or Upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedEvent {
    /// Warning or Normal.
    pub warning: bool,
    pub reason: Reason,
    /// What was done, as a verb: `Sync`, `Reconcile`.
    pub action: &'static str,
    pub message: String,
}

/// A run that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedRun {
    pub region: String,
    pub job: String,
    pub trigger: String,
    pub reason: Reason,
    /// What the run itself reported; none if its report is lost.
    pub report: Option<RunReport>,
}
