//! What planning decides: writes in their order, the status, events, and when to look again.

use fleet_api::MirrorStatus;
use fleet_types::Reason;
use fleet_types::documents::Report;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::turn::Turn;

/// The decision for one Mirror.
///
/// Carry it out in this order: `writes` one after another; then the status, if `status_changed`; then `after_status`,
/// only if the status was really written (or did not change). Stopping after any step is safe: planning again goes on.
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
        name: String,
        size: String,
    },
    /// DELETE with the uid as precondition.
    DeleteClaim {
        name: String,
        uid: String,
    },
    /// Server-side apply, forced.
    ApplyService(Box<Service>),
    /// Server-side apply, forced.
    ApplyStatefulSet(Box<StatefulSet>),
    /// Server-side apply, forced.
    ApplyDisruptionBudget(Box<PodDisruptionBudget>),
    /// DELETE with the uid as precondition: the objects of a region that is no longer declared.
    DeleteService {
        name: String,
        uid: String,
    },
    DeleteStatefulSet {
        name: String,
        uid: String,
    },
    DeleteDisruptionBudget {
        name: String,
        uid: String,
    },
    /// POST. AlreadyExists is success: the name says what the run is for.
    CreateJob(Box<Job>),
    /// DELETE with background propagation and the uid as precondition.
    DeleteJob {
        name: String,
        uid: String,
    },
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
    pub report: Option<Report>,
}
