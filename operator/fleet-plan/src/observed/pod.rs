//! Pods as they were seen: serving pods and the pods of sync Jobs.

use fleet_api::labels;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::SeenMeta;

/// What a pod is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PodRole {
    Serving,
    Sync,
    #[default]
    Other,
}

/// How the container of a sync pod ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnd {
    pub exit_code: i32,
    pub at: Option<Timestamp>,
    /// The termination message: the run's report, if it could write one.
    pub message: String,
    /// Kubernetes' word, for example `OOMKilled`.
    pub reason: String,
}

/// Why a pod does not run or is not ready, in Kubernetes' own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub reason: String,
    pub message: String,
}

/// A pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenPod {
    pub meta: SeenMeta,
    pub role: PodRole,
    /// The Job that made it.
    pub job: Option<String>,
    /// The node it is bound to.
    pub node: Option<String>,
    pub ip: Option<String>,
    pub ready: bool,
    /// Whether its container runs now.
    pub running: bool,
    /// The image of its container, as declared.
    pub image: Option<String>,
    /// The StatefulSet revision that it was made from, so that two pods of one name are told apart.
    pub end: Option<RunEnd>,
    /// The scheduler's words while it is not bound.
    pub unschedulable: Option<String>,
    /// Image pulls, mounts, crashes, evictions.
    pub trouble: Option<Trouble>,
}

impl SeenPod {
    /// Whether a Job may stand beside it: bound to a node and not on its way out.
    pub fn holds_its_node(&self) -> bool {
        self.node.is_some() && !self.meta.deleting && self.end.is_none()
    }
}

impl From<&Pod> for SeenPod {
    fn from(pod: &Pod) -> Self {
        let meta = SeenMeta::of(&pod.metadata);
        let spec = pod.spec.as_ref();
        let status = pod.status.as_ref();
        let container = status
            .and_then(|status| status.container_statuses.as_ref())
            .and_then(|all| all.first());
        let condition = |wanted: &str| {
            let all = status.and_then(|status| status.conditions.as_ref());
            all.into_iter()
                .flatten()
                .find(|condition| condition.type_ == wanted)
        };
        let role = match meta.label(labels::COMPONENT) {
            Some(labels::COMPONENT_SERVING) => PodRole::Serving,
            Some(labels::COMPONENT_SYNC) => PodRole::Sync,
            _ => PodRole::Other,
        };
        SeenPod {
            role,
            job: meta
                .label("batch.kubernetes.io/job-name")
                .map(str::to_owned),
            node: spec
                .and_then(|spec| spec.node_name.clone())
                .filter(|node| !node.is_empty()),
            ip: status.and_then(|status| status.pod_ip.clone()),
            ready: condition("Ready").is_some_and(|condition| condition.status == "True"),
            running: container
                .and_then(|c| c.state.as_ref())
                .is_some_and(|state| state.running.is_some()),
            image: spec
                .and_then(|spec| spec.containers.first())
                .and_then(|container| container.image.clone()),
            end: run_end(pod, container),
            unschedulable: condition("PodScheduled")
                .filter(|condition| condition.status == "False")
                .map(|condition| condition.message.clone().unwrap_or_default()),
            trouble: trouble(pod, container),
            meta,
        }
    }
}

fn run_end(pod: &Pod, container: Option<&ContainerStatus>) -> Option<RunEnd> {
    let status = pod.status.as_ref()?;
    if let Some(end) = container
        .and_then(|container| container.state.as_ref())
        .and_then(|s| s.terminated.as_ref())
    {
        return Some(RunEnd {
            exit_code: end.exit_code,
            at: end.finished_at.as_ref().map(|time| time.0),
            message: end.message.clone().unwrap_or_default(),
            reason: end.reason.clone().unwrap_or_default(),
        });
    }
    // An evicted pod, or one on a lost node, fails without a container that ended.
    matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")).then(|| RunEnd {
        exit_code: -1,
        at: None,
        message: String::new(),
        reason: status.reason.clone().unwrap_or_else(|| "Failed".to_owned()),
    })
}

fn trouble(pod: &Pod, container: Option<&ContainerStatus>) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    if let Some(reason) = &status.reason {
        return Some(Trouble {
            reason: reason.clone(),
            message: status.message.clone().unwrap_or_default(),
        });
    }
    let container = container?;
    let waiting = container
        .state
        .as_ref()
        .and_then(|state| state.waiting.as_ref());
    let reason = waiting
        .and_then(|waiting| waiting.reason.clone())
        .filter(|reason| reason != "ContainerCreating")?;
    let last = container
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    let message = waiting.and_then(|waiting| waiting.message.clone());
    let message = last
        .and_then(|end| end.message.clone())
        .filter(|text| !text.is_empty())
        .or(message);
    Some(Trouble {
        reason,
        message: message.unwrap_or_default(),
    })
}
