//! A Mirror that is being deleted: its owned objects go with it; its volumes only if its last manifest says so.

use fleet_api::labels;
use fleet_api::mirror::{Mirror, ReclaimPolicy};
use kube_core::ResourceExt;

use crate::object::Owned;
use crate::observed::Observed;
use crate::plan::{Plan, Write};
use crate::turn::Turn;

/// Without our finalizer there is nothing to do: Kubernetes collects what has an owner.
pub fn plan(mirror: &Mirror, seen: &Observed) -> Plan {
    let ours = mirror
        .finalizers()
        .iter()
        .any(|name| name == labels::CLAIM_FINALIZER);
    let mut writes = Vec::new();
    if ours && mirror.spec.storage.reclaim_policy == ReclaimPolicy::Delete {
        writes.extend(claims(mirror, seen));
    }
    if ours {
        writes.push(Write::RemoveFinalizer);
    }
    Plan {
        writes,
        status: mirror.status.clone().unwrap_or_default(),
        status_changed: false,
        after_status: Vec::new(),
        events: Vec::new(),
        finished: Vec::new(),
        turn: Turn::Idle,
        rollouts: 0,
        copies: 0,
        wake_at: None,
    }
}

fn claims(mirror: &Mirror, seen: &Observed) -> Vec<Write> {
    let name = mirror.name_any();
    let claims = seen.objects.claims.iter().map(|claim| &claim.meta);
    claims
        .filter(|meta| meta.belongs_to(&name) && !meta.deleting)
        .map(|meta| Write::delete(Owned::Claim, meta))
        .collect()
}
