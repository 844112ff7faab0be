//! When runs of a Mirror start and how long they may take.

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube_derive::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::GoDuration;

/// When and how runs start and end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"), 
    validation = Rule::new("duration(self.timeout) > duration('0s') && duration(self.stallTimeout) > duration('0s')")
        .message("timeout and stallTimeout must be longer than 0s"),
)]
#[serde(rename_all = "camelCase")]
pub struct SyncSpec {
    /// Cron expression with five fields.
    #[schemars(length(min = 1, max = 128))]
    #[serde(default = "SyncSpec::default_schedule")]
    pub schedule: String,
    /// IANA name of the time zone of the schedule.
    #[schemars(length(min = 1, max = 64))]
    #[serde(default = "SyncSpec::default_time_zone")]
    pub time_zone: String,
    /// Each run starts up to this much later than scheduled; the same for one Mirror and slot every time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<GoDuration>,
    /// A run that takes longer ends and is tried again; what was fetched is kept.
    #[serde(default = "SyncSpec::default_timeout")]
    pub timeout: GoDuration,
    /// A transfer that brings fewer than 4 KiB within so long is tried again, at another endpoint if there is one.
    #[serde(default = "SyncSpec::default_stall_timeout")]
    pub stall_timeout: GoDuration,
    /// What happens after a failed run, besides waiting for the schedule.
    #[serde(default)]
    pub retries: Retries,
    /// Resources of the sync pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
}

impl SyncSpec {
    fn default_schedule() -> String {
        "17 */4 * * *".to_owned()
    }
    fn default_time_zone() -> String {
        "Etc/UTC".to_owned()
    }
    const fn default_timeout() -> GoDuration {
        GoDuration::from_secs(6 * 3600)
    }
    const fn default_stall_timeout() -> GoDuration {
        GoDuration::from_secs(600)
    }
}

impl Default for SyncSpec {
    fn default() -> Self {
        SyncSpec {
            schedule: Self::default_schedule(),
            time_zone: Self::default_time_zone(),
            jitter: None,
            timeout: Self::default_timeout(),
            stall_timeout: Self::default_stall_timeout(),
            retries: Retries::default(),
            resources: None,
        }
    }
}

/// What happens after a failed run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"), 
    validation = Rule::new("duration(self.backoff) >= duration('1s')").message("retries.backoff must be at least 1s"),
)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    /// Runs after a failed one before the schedule is waited for.
    #[schemars(range(min = 0, max = 20))]
    #[serde(default = "Retries::default_limit")]
    pub limit: u32,
    /// Wait before the first of them; doubled each time, with jitter.
    #[serde(default = "Retries::default_backoff")]
    pub backoff: GoDuration,
}

impl Retries {
    const fn default_limit() -> u32 {
        5
    }
    const fn default_backoff() -> GoDuration {
        GoDuration::from_secs(120)
    }
}

impl Default for Retries {
    fn default() -> Self {
        Retries {
            limit: 5,
            backoff: Self::default_backoff(),
        }
    }
}
