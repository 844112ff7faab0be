//! Plans as a few lines for people.

use fleet_api::labels;
use fleet_plan::{Object, Owned, Plan, Write};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// A plan as a few lines for people.
pub fn render(plan: &Plan) -> String {
    let mut lines: Vec<String> = plan.writes.iter().map(line).collect();
    if plan.status_changed {
        lines.push("write status".to_owned());
    }
    for region in &plan.status.regions {
        let last = region.replicas[0]
            .last_attempt
            .as_ref()
            .map_or("no run yet", |last| last.reason.as_str());
        lines.push(format!("  {}: {:?}, {last}", region.name, region.state));
    }
    for found in &plan.status.conditions {
        lines.push(format!(
            "  {}={} {}: {}",
            found.type_, found.status, found.reason, found.message
        ));
    }
    lines.extend(
        plan.after_status
            .iter()
            .map(|write| format!("then {}", line(write))),
    );
    lines.extend(
        plan.events
            .iter()
            .map(|event| format!("event {}: {}", event.reason, event.message)),
    );
    lines.push(format!("turn {:?}", plan.turn));
    lines.push(
        plan.wake_at
            .map_or("sleep".to_owned(), |wake| format!("wake at {wake}")),
    );
    lines.join("\n")
}

pub(super) fn line(write: &Write) -> String {
    let name = |meta: &ObjectMeta| meta.name.clone().unwrap_or_default();
    match write {
        Write::AddFinalizer => "add finalizer".to_owned(),
        Write::RemoveFinalizer => "remove finalizer".to_owned(),
        Write::Create(Object::Job(job)) => {
            let annotations = job.metadata.annotations.as_ref();
            let trigger = annotations.and_then(|all| all.get(labels::TRIGGER));
            format!(
                "create job {} ({})",
                name(&job.metadata),
                trigger.map_or("?", String::as_str)
            )
        }
        Write::Create(object) => format!("create {} {}", word(object.kind()), name(object.meta())),
        Write::Apply(object) => format!("apply {} {}", word(object.kind()), name(object.meta())),
        Write::Label { kind, name, .. } => format!("label {kind:?} {name}").to_lowercase(),
        Write::Orphan { name, .. } => format!("orphan the pods of stateful set {name}"),
        Write::Order { name, order, .. } => {
            let id = order.snapshot.to_string();
            format!("order pod {name} to serve {} ({})", &id[..8], order.epoch)
        }
        Write::List { name, .. } => format!("tell pod {name} where clients go"),
        Write::Evict { name, .. } => format!("evict pod {name}"),
        Write::Grow { name, size, .. } => format!("grow claim {name} to {size}"),
        Write::Delete { kind, name, .. } => format!("delete {} {name}", word(*kind)),
    }
}

fn word(kind: Owned) -> &'static str {
    match kind {
        Owned::Claim => "claim",
        Owned::Service => "service",
        Owned::StatefulSet => "stateful set",
        Owned::DisruptionBudget => "disruption budget",
        Owned::Ingress => "ingress",
        Owned::HttpRoute => "http route",
        Owned::Job => "job",
    }
}
