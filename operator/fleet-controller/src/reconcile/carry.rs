//! Carrying out the writes of a plan.

use fleet_api::labels;
use fleet_plan::{Failure, Lane, Object, Write, stages};
use futures::StreamExt;
use kube::ResourceExt;

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
    /// The replicas on whose writes others build that failed; none where the whole Mirror's did.
    failed: Vec<Option<String>>,
}

impl Carried {
    fn add(&mut self, other: Carried) {
        self.failures.extend(other.failures);
        self.unmade_jobs.extend(other.unmade_jobs);
        self.unmade_turn |= other.unmade_turn;
        self.failed.extend(other.failed);
    }

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

/// Carries out what does not build on a write that failed: lane by lane, some of them side by side, as each write is a
/// question to the API server that takes its time.
pub async fn carry_out(context: &Context, name: &ObjectName, writes: &[Write]) -> Carried {
    let mut carried = Carried::default();
    for stage in stages(writes) {
        let failed = carried.failed.clone();
        let mut lanes = Vec::with_capacity(stage.len());
        for of_replica in &stage {
            lanes.push(lane(context, name, of_replica, failed.clone()));
        }
        let at_once = context.writer.side_by_side();
        let mut lanes = futures::stream::iter(lanes).buffered(at_once);
        while let Some(of_replica) = lanes.next().await {
            carried.add(of_replica);
        }
    }
    carried
}

/// The writes of one lane, after those that failed.
async fn lane(
    context: &Context,
    name: &ObjectName,
    lane: &Lane<'_>,
    mut failed: Vec<Option<String>>,
) -> Carried {
    let mut carried = Carried::default();
    let part = &lane.part;
    for write in lane.writes.iter().copied() {
        let builds_on_it =
            |failed: &Option<String>| failed.is_none() || part.is_none() || failed == part;
        let done = match write.builds_on_others() && failed.iter().any(builds_on_it) {
            true => None,
            false => Some(context.writer.carry_out(&context.world, name, write).await),
        };
        match (&done, write) {
            (Some(Ok(())), Write::Order { name: pod, .. }) => {
                context.ask_whether_it_follows(name, pod);
                continue;
            }
            (Some(Ok(())), _) => continue,
            (_, Write::Create(Object::Job(job))) => {
                carried.unmade_jobs.push(job.name_any());
                carried.unmade_turn |= job.labels().contains_key(labels::UPSTREAM);
            }
            _ => {}
        }
        if let Some(Err(error)) = done {
            carried.failures.push(error);
            let builds = write.builds_on_others().then(|| part.clone());
            failed.extend(builds.clone());
            carried.failed.extend(builds);
        }
    }
    carried
}
