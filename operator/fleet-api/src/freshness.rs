//! When a region of a Mirror is stale.

use kube_derive::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::GoDuration;

/// When a region counts as stale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"),
    validation = Rule::new("!has(self.withdrawAfter) || duration(self.withdrawAfter) >= duration(self.objective)")
        .message("freshness.withdrawAfter must not be shorter than freshness.objective: a region that is left out comes back once it is behind for less than the objective"),
)]
#[serde(rename_all = "camelCase")]
pub struct Freshness {
    /// A region that is behind the authority for longer is stale.
    #[serde(default = "Freshness::default_objective")]
    pub objective: GoDuration,
    /// Where regions fetch each for itself: one that is behind for longer is in no list of regions until it is behind for less
    /// than the objective; four times the objective without it. What cannot be told leaves nobody out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdraw_after: Option<GoDuration>,
    /// So many regions stay in the lists however far they are behind: those that are least behind.
    #[schemars(range(min = 1, max = 32))]
    #[serde(
        default = "Freshness::default_least",
        skip_serializing_if = "Freshness::is_default_least"
    )]
    pub min_healthy_regions: u32,
}

impl Freshness {
    const fn default_objective() -> GoDuration {
        GoDuration::from_secs(6 * 3600)
    }
    const fn default_least() -> u32 {
        1
    }
    /// Programs of earlier versions, which runs may still be of, know nothing of it.
    const fn is_default_least(least: &u32) -> bool {
        *least == Self::default_least()
    }

    /// For how many seconds a region may be behind before it is left out.
    pub fn withdraw_after_secs(&self) -> u64 {
        let told = self.withdraw_after.map(GoDuration::as_secs);
        told.unwrap_or_else(|| self.objective.as_secs().saturating_mul(4))
    }
}

impl Default for Freshness {
    fn default() -> Self {
        Freshness {
            objective: Self::default_objective(),
            withdraw_after: None,
            min_healthy_regions: 1,
        }
    }
}
