//! Jobs that ask Upstreams where the controller may not, and their pods, by the Upstream.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleet_api::labels;
use fleet_plan::{SeenJob, SeenPod};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::{Item, Kept, ObjectName, item};

/// What asks Upstreams.
pub struct Probers {
    pub jobs: Arc<Kept<SeenJob>>,
    pub pods: Arc<Kept<SeenPod>>,
}

impl Default for Probers {
    fn default() -> Self {
        Probers {
            jobs: Arc::new(Kept::new(PartialEq::ne)),
            pods: Arc::new(Kept::new(PartialEq::ne)),
        }
    }
}

impl Probers {
    /// How many Jobs ask others than this Upstream now.
    pub fn running_beside(&self, upstream: &ObjectName) -> usize {
        let running = self.jobs.named(|job| job.end.is_none());
        let others: BTreeSet<_> = running.into_iter().map(|(of, _)| of).collect();
        others.iter().filter(|of| *of != upstream).count()
    }
}

/// By which they are watched.
pub fn selector() -> String {
    format!(
        "{}={},{}={}",
        labels::MANAGED_BY,
        labels::MANAGED_BY_VALUE,
        labels::COMPONENT,
        labels::COMPONENT_PROBE
    )
}

/// A Job under the Upstream that it says it asks.
pub fn job(job: Job) -> Option<Item<SeenJob>> {
    item(asked(&job)?, &job, SeenJob::from(&job))
}

pub fn pod(pod: Pod) -> Option<Item<SeenPod>> {
    item(asked(&pod)?, &pod, SeenPod::from(&pod))
}

/// Whether it is one of ours that asks this Upstream.
pub fn asks(job: &Job, upstream: &ObjectName) -> bool {
    let label = |key| job.labels().get(key).map(String::as_str);
    label(labels::MANAGED_BY) == Some(labels::MANAGED_BY_VALUE)
        && label(labels::COMPONENT) == Some(labels::COMPONENT_PROBE)
        && asked(job).as_ref() == Some(upstream)
}

fn asked(object: &impl ResourceExt) -> Option<ObjectName> {
    let upstream = object.annotations().get(labels::PROBES)?;
    Some(ObjectName::new(object.namespace()?, upstream))
}
