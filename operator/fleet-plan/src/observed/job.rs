//! Jobs as they were seen.

use fleet_api::{ConditionStatus, labels};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;

use super::SeenMeta;

/// How a Job ended, as the Job controller tells it. What the run itself says is in its pod or in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEnd {
    pub succeeded: bool,
    pub at: Option<Timestamp>,
    /// The Job controller's words, for a failed Job.
    pub message: String,
}

/// A Job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenJob {
    pub meta: SeenMeta,
    /// None while it runs.
    pub end: Option<JobEnd>,
}

impl SeenJob {
    /// Whether it audits a region, and is no run.
    pub fn audits(&self) -> bool {
        self.meta.label(labels::COMPONENT) == Some(labels::COMPONENT_AUDIT)
    }
}

impl From<&Job> for SeenJob {
    fn from(job: &Job) -> Self {
        let conditions = job
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref());
        let end = conditions
            .into_iter()
            .flatten()
            .filter(|condition| ConditionStatus::True.is(&condition.status))
            .find_map(|condition| {
                let succeeded = match condition.type_.as_str() {
                    "Complete" => true,
                    "Failed" => false,
                    _ => return None,
                };
                let at = condition.last_transition_time.as_ref().map(|time| time.0);
                Some(JobEnd {
                    succeeded,
                    at,
                    message: condition.message.clone().unwrap_or_default(),
                })
            });
        SeenJob {
            meta: SeenMeta::of(&job.metadata),
            end,
        }
    }
}
