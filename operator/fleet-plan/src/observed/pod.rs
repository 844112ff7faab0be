//! Pods as they were seen: serving pods and the pods of Jobs.

use fleet_api::{ConditionStatus, labels};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};

use super::SeenMeta;
use crate::build::{CONTAINERS, FILL_CONTAINER, ORDERS_VOLUME};

/// What a pod is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PodRole {
    Serving,
    Sync,
    Audit,
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
    /// Since when it is ready, or is not.
    pub ready_changed_at: Option<Timestamp>,
    /// Whether its container runs now.
    pub running: bool,
    /// The image of its container, as declared.
    pub image: Option<String>,
    /// Whether its server serves what an annotation orders. Pods of earlier versions do not.
    pub takes_orders: bool,
    /// The StatefulSet revision that it was made from, so that two pods of one name are told apart.
    pub end: Option<RunEnd>,
    /// The scheduler's words while it is not bound.
    pub unschedulable: Option<String>,
    /// Image pulls, mounts, evictions.
    pub trouble: Option<Trouble>,
    /// How its container ended before it was started again; the message is the last line that it wrote.
    pub crash: Option<RunEnd>,
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
            .and_then(|status| status.container_statuses.as_deref())
            .and_then(own);
        let fill = status
            .and_then(|status| status.container_statuses.as_deref())
            .and_then(|all| all.iter().find(|one| one.name == FILL_CONTAINER));
        let condition = |wanted: &str| {
            let all = status.and_then(|status| status.conditions.as_ref());
            all.into_iter()
                .flatten()
                .find(|condition| condition.type_ == wanted)
        };
        let role = match meta.label(labels::COMPONENT) {
            Some(labels::COMPONENT_SERVING) => PodRole::Serving,
            Some(labels::COMPONENT_SYNC) => PodRole::Sync,
            Some(labels::COMPONENT_AUDIT) => PodRole::Audit,
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
            ready: condition("Ready")
                .is_some_and(|condition| ConditionStatus::True.is(&condition.status)),
            ready_changed_at: condition("Ready")
                .and_then(|condition| condition.last_transition_time.as_ref())
                .map(|time| time.0),
            running: container
                .and_then(|c| c.state.as_ref())
                .is_some_and(|state| state.running.is_some()),
            image: spec
                .and_then(|spec| {
                    let mut all = spec.containers.iter();
                    let ours = all.find(|container| CONTAINERS.contains(&container.name.as_str()));
                    ours.or(spec.containers.first())
                })
                .and_then(|container| container.image.clone()),
            takes_orders: spec.is_some_and(|spec| {
                let mut volumes = spec.volumes.iter().flatten();
                volumes.any(|volume| volume.name == ORDERS_VOLUME)
            }),
            end: run_end(pod, container),
            unschedulable: condition("PodScheduled")
                .filter(|condition| ConditionStatus::False.is(&condition.status))
                .map(|condition| condition.message.clone().unwrap_or_default()),
            trouble: trouble(pod, container).or_else(|| trouble(pod, fill)),
            crash: container.and_then(crash).or_else(|| fill.and_then(crash)),
            meta,
        }
    }
}

/// Our container among those that others have put beside it.
fn own(all: &[ContainerStatus]) -> Option<&ContainerStatus> {
    let named = |status: &&ContainerStatus| CONTAINERS.contains(&status.name.as_str());
    all.iter().find(named).or(all.first())
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
    let waiting = container?.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.clone()?;
    // The first is no trouble; what is behind the second is told by how the container ended.
    if matches!(reason.as_str(), "ContainerCreating" | "CrashLoopBackOff") {
        return None;
    }
    Some(Trouble {
        reason,
        message: waiting.message.clone().unwrap_or_default(),
    })
}

/// The end that a container that is started again came to, also while it is being started.
fn crash(container: &ContainerStatus) -> Option<RunEnd> {
    let terminated = |state: &Option<ContainerState>| state.as_ref()?.terminated.clone();
    let end = terminated(&container.last_state).or_else(|| terminated(&container.state))?;
    Some(RunEnd {
        exit_code: end.exit_code,
        at: None,
        message: last_line(&end.message.unwrap_or_default()),
        reason: end.reason.unwrap_or_default(),
    })
}

/// Longest line of a log that enters a status, in characters.
const LINE_LENGTH: usize = 400;

/// The last line that says something.
pub fn last_line(text: &str) -> String {
    let line = text
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty());
    line.unwrap_or_default().chars().take(LINE_LENGTH).collect()
}
