//! What came of carrying out a plan, and what counters tell of it.

use fleet_api::Mirror;
use fleet_plan::{Failure, Plan};
use fleet_telemetry::{ObjectKey, Run};
use fleet_types::documents::RunResult;
use jiff::Timestamp;

use crate::context::Context;
use crate::error::WriteError;
use crate::world::ObjectName;

/// What came of a plan's writes.
#[derive(Debug, Default)]
pub struct Carried {
    /// Why some were not carried out, in their order.
    pub failures: Vec<WriteError>,
    /// The Jobs that were not made, whether they were refused or something before them.
    pub unmade_jobs: Vec<String>,
    /// Whether one of them had taken its Upstream's turn.
    pub unmade_turn: bool,
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

    /// What the status says of it.
    pub fn failure(&self) -> Option<Failure> {
        let first = self.failures.first()?;
        Some(Failure {
            reason: first.reason(),
            message: first.to_string(),
            unmade_jobs: self.unmade_jobs.clone(),
        })
    }

    pub fn result(&self) -> Result<(), WriteError> {
        self.failures.first().cloned().map_or(Ok(()), Err)
    }
}

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
