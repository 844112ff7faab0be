//! One Mirror.

use std::sync::Arc;
use std::time::Duration;

use fleet_api::Mirror;
use fleet_plan::{Observed, Plan, SeenAttempt, Settings, Turn};
use jiff::Timestamp;
use kube::{Resource, ResourceExt};

use super::carry::carry_out;
use super::{Next, counted, publish, report, unreadable};
use crate::context::Context;
use crate::error::WriteError;
use crate::fleet::{Asking, Share};
use crate::world::{Guarded, ObjectName, recheck_strangers};

/// Reconciles the Mirror of that name; says when to come back by itself.
pub async fn reconcile(context: Arc<Context>, name: ObjectName) -> Option<Duration> {
    counted(&context, "Mirror", &name, one(&context, &name)).await
}

async fn one(context: &Context, name: &ObjectName) -> Result<Next, WriteError> {
    let Some(known) = context.world.mirrors.get(name, &name.name) else {
        return Ok(forget(context, name));
    };
    let Guarded { 0: Ok(mirror) } = &*known else {
        let woken = context.fleet().stop_waiting(name);
        context.plan_again(woken);
        return unreadable::tell(context, &known).await;
    };
    let strangers = context.world.strangers.any(name);
    if strangers {
        recheck_strangers(&context.client, &context.world, name).await;
    }
    let plan = decide(context, name, mirror);
    let carried = carry_out(context, name, &plan.writes).await;
    if let Some(outdated) = carried.outdated() {
        // The world is not as it was planned for; what stands in the way is known now, and the next plan says so.
        return Err(outdated.clone());
    }
    if carried.unmade_turn {
        // The turn was taken for a Job that was not made; others may have it until this is tried again.
        let share = Share {
            turn: Turn::Idle,
            ..Share::of(&plan)
        };
        record(context, name, mirror, share);
    }
    let version = |known: &Guarded<Mirror>| known.resource_version();
    let now = context.world.mirrors.get(name, &name.name);
    if now.as_deref().and_then(version) != version(&known) {
        // Our finalizer, or somebody's change: the status belongs to a plan of what is there now.
        return carried.result().map(|()| Next::Again);
    }
    let plan = match carried.failure() {
        Some(failure) => plan.after(mirror, &failure, Timestamp::now()),
        None => plan,
    };
    let reported = tell(context, mirror, &plan).await?;
    carried.result()?;
    carry_out(context, name, &plan.after_status)
        .await
        .result()?;
    let busy = reported || !plan.writes.is_empty() || !plan.after_status.is_empty();
    let wake_at = strangers
        .then(|| Timestamp::now() + STRANGER_PERIOD)
        .into_iter()
        .chain(plan.wake_at)
        .min();
    Ok(if busy { Next::Again } else { Next::At(wake_at) })
}

/// How often it is looked whether a person removed what stands in the way. No watch of ours shows it.
const STRANGER_PERIOD: jiff::SignedDuration = jiff::SignedDuration::from_secs(30);

/// Observes and plans. Plans of several Mirrors are made at once, so one that takes a turn or restarts a region counts
/// only if nobody else did so meanwhile; else it is made again.
fn decide(context: &Context, name: &ObjectName, mirror: &Mirror) -> Plan {
    let objects = context.world.of(name);
    context.answers.retain(name, &objects.pods);
    let upstream = ObjectName::new(&name.namespace, &mirror.spec.upstream_ref.name);
    let known = context.world.upstreams.get(&upstream, &upstream.name);
    let upstream_error = match known.as_deref() {
        Some(Guarded { 0: Err(invalid) }) => Some(invalid.error.to_string()),
        _ => None,
    };
    let asking = Asking {
        mirror: name,
        upstream: &upstream.name,
        regions: u32::try_from(mirror.spec.regions.len()).unwrap_or(u32::MAX),
        max_rollouts: context.settings.max_rollouts,
    };
    let mut others = context.fleet().others(&asking);
    let mut seen = Observed {
        now: Timestamp::now(),
        upstream: known.and_then(|known| known.0.as_ref().ok().cloned()),
        upstream_error,
        answers: context.answers.of(name, &objects.pods),
        cut_off: context.answers.are_cut_off(),
        refusals: context.world.refusals.of(&objects.pods),
        objects,
        line: others.line.clone(),
        rollouts_elsewhere: others.rollouts_elsewhere,
        copies_elsewhere: others.copies_elsewhere,
        serves_http_routes: context.world.serves_http_routes.get(),
        settings: Settings {
            max_rollouts: others.max_rollouts,
            ..context.settings.clone()
        },
    };
    loop {
        let plan = fleet_plan::plan(mirror, &seen);
        let committed = (context.fleet()).commit(&asking, &others, Share::of(&plan));
        match committed {
            Ok(woken) => {
                context.plan_again(woken);
                let gauges = plan.gauges(mirror, &seen);
                context.metrics.replace_mirror(&report::key(name), gauges);
                return plan;
            }
            Err(now) => others = now,
        }
        seen.line.clone_from(&others.line);
        seen.rollouts_elsewhere = others.rollouts_elsewhere;
        seen.settings.max_rollouts = others.max_rollouts;
        seen.copies_elsewhere = others.copies_elsewhere;
    }
}

/// Notes what a Mirror does with its Upstream's turn.
fn record(context: &Context, name: &ObjectName, mirror: &Mirror, share: Share) {
    let upstream = &mirror.spec.upstream_ref.name;
    let woken = context.fleet().record(name, upstream, share);
    context.plan_again(woken);
}

/// Writes the status once, if it says something new, then the Events and counters that belong to it.
async fn tell(context: &Context, mirror: &Mirror, plan: &Plan) -> Result<bool, WriteError> {
    if plan.status_changed {
        let writer = &context.writer;
        (writer.mirror_status(&context.world, mirror, &plan.status)).await?;
        // Upstreams look at how runs ended, and no watch tells of our own writes.
        if SeenAttempt::of(mirror, mirror.status.as_ref())
            != SeenAttempt::of(mirror, Some(&plan.status))
        {
            context.wishes.upstreams.now(ObjectName::new(
                mirror.metadata.namespace.as_deref().unwrap_or_default(),
                &mirror.spec.upstream_ref.name,
            ));
        }
    }
    report::count_runs(context, mirror, plan);
    publish(context, &mirror.object_ref(&()), &plan.events).await;
    Ok(plan.status_changed)
}

/// A Mirror that no longer exists leaves nothing behind.
fn forget(context: &Context, name: &ObjectName) -> Next {
    context.metrics.remove_mirror(&report::key(name));
    context.answers.retain(name, &[]);
    let woken = context.fleet().leave(name);
    context.plan_again(woken);
    Next::Gone
}
