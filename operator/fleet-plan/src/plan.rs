//! What planning decides: writes in their order, the status, events, and when to look again.

use std::collections::BTreeMap;

use fleet_api::{MirrorStatus, labels};
use fleet_types::documents::Report;
use fleet_types::{Order, Reason};
use jiff::Timestamp;

use crate::object::{Object, Owned};
use crate::observed::SeenMeta;
use crate::turn::Turn;

/// The decision for one Mirror.
///
/// Carry it out in this order: `writes` as [`stages`](crate::stages) says; then the status, if `status_changed`; then
/// `after_status`, only if the status was really written (or did not change). Stopping after any step is safe: planning again goes on.
/// After a write that fails, those of other replicas may still be carried out, but none of the same one and none of
/// the whole Mirror ([`Write::part`]): they build on it.
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
    /// How many of its runs copy from one region to another; for the other Mirrors' `copies_elsewhere`.
    pub copies: u32,
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
    /// POST. AlreadyExists is success if it is ours: the name says what it is for.
    Create(Object),
    /// Server-side apply, forced.
    Apply(Object),
    /// Raises a claim's request; a merge patch of `spec.resources.requests.storage` alone.
    Grow {
        part: String,
        name: String,
        size: String,
    },
    /// Adds labels to an object that another version or another controller made; a merge patch with the uid.
    Label {
        kind: Labelled,
        part: String,
        name: String,
        uid: String,
        labels: BTreeMap<String, String>,
    },
    /// DELETE of a StatefulSet with the uid as precondition, that leaves its pods where they are.
    Orphan {
        part: String,
        name: String,
        uid: String,
    },
    /// Tells a serving pod which snapshot to serve; a merge patch with the uid. Builds on no other write.
    Order {
        part: String,
        name: String,
        uid: String,
        order: Order,
        /// As of [`fleet_api::labels::SERVE_AGAIN`], where it is told again.
        again: Option<String>,
    },
    /// Tells a serving pod what it tells clients of the regions; a merge patch with the uid. Builds on no other write.
    List {
        part: String,
        name: String,
        uid: String,
        list: String,
    },
    /// Has a serving pod leave, with the uid as precondition, as far as its budgets let it. That they do not is no failure:
    /// it is in [`Observed::refusals`](crate::Observed::refusals) then.
    Evict {
        part: String,
        name: String,
        uid: String,
    },
    /// DELETE with the uid as precondition, and with background propagation.
    Delete {
        kind: Owned,
        part: String,
        name: String,
        uid: String,
    },
}

/// A kind to whose objects labels are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labelled {
    Claim,
    Pod,
}

impl Write {
    pub fn delete(kind: Owned, meta: &SeenMeta) -> Write {
        Write::Delete {
            kind,
            part: part(meta.region().unwrap_or_default(), meta.replica()),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
        }
    }

    /// Whether it comes to nothing where a write of the same part failed, and the others come to nothing where it does.
    pub fn builds_on_others(&self) -> bool {
        let is_route = |kind| matches!(kind, Owned::Ingress | Owned::HttpRoute);
        match self {
            Write::Order { .. } | Write::List { .. } => false,
            Write::Create(object) | Write::Apply(object) => !is_route(object.kind()),
            Write::Delete { kind, .. } => !is_route(*kind),
            _ => true,
        }
    }

    /// The replica whose objects it is about, as [`part`] says it; none where it is the whole Mirror.
    pub fn part(&self) -> Option<String> {
        match self {
            Write::AddFinalizer | Write::RemoveFinalizer => None,
            Write::Create(object) | Write::Apply(object) => {
                let replica = object.label(labels::REPLICA);
                let replica = replica.and_then(|text| text.parse().ok()).unwrap_or(0);
                Some(part(object.label(labels::REGION)?, replica))
            }
            Write::Grow { part, .. }
            | Write::Label { part, .. }
            | Write::Orphan { part, .. }
            | Write::Order { part, .. }
            | Write::List { part, .. }
            | Write::Evict { part, .. }
            | Write::Delete { part, .. } => Some(part.clone()),
        }
    }
}

/// A replica with its objects, as one word. What all replicas of a region share is of the first.
pub fn part(region: &str, replica: u32) -> String {
    match replica {
        0 => region.to_owned(),
        number => format!("{region}/{number}"),
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
    pub report: Option<Report>,
}
