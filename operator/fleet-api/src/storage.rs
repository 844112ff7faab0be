//! The volumes of a Mirror.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ByteQuantity;
use crate::pull_through::Cache;

/// The volume of each region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Size of each region's volume that says no other; may only grow.
    #[serde(default = "Storage::default_size")]
    pub size: ByteQuantity,
    /// Storage class of each region that says no other; the cluster's default without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,
    /// How the volume is mounted. With ReadWriteOnce, runs and the serving pod of a region share a node.
    #[serde(default)]
    pub access_mode: AccessMode,
    /// What happens to volumes when the Mirror is deleted, and to that of a replica that is no longer declared.
    #[serde(default)]
    pub reclaim_policy: ReclaimPolicy,
    /// How much is kept of what was fetched on demand; only with mode PullThrough. Without it: all but a tenth of the
    /// volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// What happens when a volume is lost, that is when Kubernetes says `Lost` of its claim.
    #[serde(default, skip_serializing_if = "OnVolumeLost::is_wait")]
    pub on_volume_lost: OnVolumeLost,
}

impl Storage {
    fn default_size() -> ByteQuantity {
        "100Gi".parse().expect("a constant")
    }
}

impl Default for Storage {
    fn default() -> Self {
        Storage {
            size: Self::default_size(),
            storage_class_name: None,
            access_mode: AccessMode::default(),
            reclaim_policy: ReclaimPolicy::default(),
            cache: None,
            on_volume_lost: OnVolumeLost::default(),
        }
    }
}

/// How a volume is mounted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccessMode {
    /// By the pods of one node.
    #[default]
    ReadWriteOnce,
    /// By pods of any node.
    ReadWriteMany,
}

/// What happens to volumes that are no longer declared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReclaimPolicy {
    /// They stay, and a Mirror of the same name takes them up again.
    #[default]
    Retain,
    /// They are deleted. Those of a region that is no longer declared stay all the same.
    Delete,
}

/// What happens when a volume is lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnVolumeLost {
    /// A person brings it back, or deletes the claim.
    #[default]
    Wait,
    /// Another one takes its place and is filled from another replica or region. Never without one that has what is served.
    Replace,
}

impl OnVolumeLost {
    fn is_wait(&self) -> bool {
        *self == OnVolumeLost::Wait
    }
}
