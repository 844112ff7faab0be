//! What counters tell of a plan that was carried out.

use fleet_api::Mirror;
use fleet_plan::Plan;
use fleet_telemetry::{ObjectKey, Run};
use fleet_types::documents::RunResult;
use jiff::Timestamp;

use crate::context::Context;
use crate::world::ObjectName;

pub fn key(name: &ObjectName) -> ObjectKey {
    ObjectKey::new(&name.namespace, &name.name)
}

/// Counts the runs whose result has just entered the status, and the slots that passed without one.
pub fn count_runs(context: &Context, mirror: &Mirror, plan: &Plan) {
    let meta = &mirror.metadata;
    let key = ObjectKey::new(
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    );
    for run in &plan.finished {
        let report = run.report.as_ref();
        let counted = Run {
            result: report.map_or(RunResult::Failed, |report| report.result),
            reason: run.reason,
            seconds: report.map_or(0.0, |report| report.seconds),
            bytes: report.map_or(0, |report| report.bytes_fetched),
            files: report.map_or(0, |report| report.files_fetched),
        };
        context.metrics.record_run(&key, &run.region, counted);
    }
    if plan.missed_slot(mirror.status.as_ref(), Timestamp::now()) {
        context.metrics.record_missed_runs(&key, 1);
    }
}
