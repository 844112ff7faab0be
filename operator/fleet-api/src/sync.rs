//! When runs of a Mirror start and how long they may take.

use kube_derive::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::GoDuration;
use crate::mirror_status::is_false;
use crate::pods::Resources;

/// When and how runs start and end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"), 
    validation = Rule::new("duration(self.timeout) > duration('0s') && duration(self.stallTimeout) > duration('0s')")
        .message("timeout and stallTimeout must be longer than 0s"),
)]
#[serde(rename_all = "camelCase")]
pub struct SyncSpec {
    /// Cron expression with five fields. Without one: every four hours, at a minute that comes from the Mirror's uid, so
    /// that not all who wrote none come to an upstream at once.
    #[schemars(length(min = 1, max = 128))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// IANA name of the time zone of the schedule.
    #[schemars(length(min = 1, max = 64))]
    #[serde(default = "SyncSpec::default_time_zone")]
    pub time_zone: String,
    /// Each run starts up to this much later than scheduled; the same for one Mirror and slot every time. Without one:
    /// nothing later, or up to a minute where no schedule is given either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<GoDuration>,
    /// Whether a run is due at once, besides those of the schedule, when the authority is seen to have a new state of what is
    /// declared. `probe.interval` of the Upstream says how soon that is seen, `politeness.minInterval` how often such runs
    /// begin. In a cluster an
    /// authority that needs a Secret is asked every half hour at most.
    #[serde(default, skip_serializing_if = "is_false")]
    pub on_upstream_change: bool,
    /// A run that takes longer ends and is tried again; what was fetched is kept.
    #[serde(default = "SyncSpec::default_timeout")]
    pub timeout: GoDuration,
    /// A transfer that brings fewer than 4 KiB within so long is tried again, at another endpoint if there is one.
    #[serde(default = "SyncSpec::default_stall_timeout")]
    pub stall_timeout: GoDuration,
    /// What happens after a failed run, besides waiting for the schedule.
    #[serde(default)]
    pub retries: Retries,
    /// Resources of the sync pod; without them a request of 100m and 128Mi and a limit of 1Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

impl SyncSpec {
    /// The cron expression that holds. `seed` is the Mirror's uid, or its name where there is no cluster to give one.
    pub fn cron(&self, seed: &str) -> String {
        let own = || format!("{} */4 * * *", fnv1a(seed) % 60);
        self.schedule.clone().unwrap_or_else(own)
    }

    /// The jitter that holds.
    pub fn jitter_or_default(&self) -> GoDuration {
        let own = if self.schedule.is_none() { 60 } else { 0 };
        self.jitter.unwrap_or(GoDuration::from_secs(own))
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
            schedule: None,
            time_zone: Self::default_time_zone(),
            jitter: None,
            on_upstream_change: false,
            timeout: Self::default_timeout(),
            stall_timeout: Self::default_stall_timeout(),
            retries: Retries::default(),
            resources: None,
        }
    }
}

/// A number that is spread evenly and stays the same for a text.
/// <https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gives_no_schedule_gets_a_minute_of_its_own_that_stays() {
        let none = SyncSpec::default();
        let minutes: std::collections::BTreeSet<String> = (0..600)
            .map(|uid| none.cron(&format!("uid-{uid}")))
            .collect();
        assert_eq!(minutes.len(), 60, "every minute of the hour is somebody's");
        assert_eq!(none.cron("uid-1"), none.cron("uid-1"));
        assert!(none.cron("uid-1").ends_with(" */4 * * *"));
        assert_eq!(none.jitter_or_default().as_secs(), 60);
        let given = SyncSpec {
            schedule: Some("0 6 * * *".to_owned()),
            ..SyncSpec::default()
        };
        assert_eq!(
            (
                given.cron("uid-1").as_str(),
                given.jitter_or_default().as_secs()
            ),
            ("0 6 * * *", 0)
        );
    }
}
