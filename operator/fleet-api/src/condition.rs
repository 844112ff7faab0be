//! The types of our conditions. They are API.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// A condition's type. The first two are on both kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// This Mirror serves verified content; this Upstream can be used.
    Ready,
    /// Only editing a manifest, Secret or ConfigMap helps. Present only while true.
    Stalled,
    /// Objects have not converged, or no first snapshot exists. Present only while true.
    Reconciling,
    /// Everything was verified when it was last synced.
    Verified,
    /// Every region serves what the authority has, or is behind for no longer than the objective.
    Fresh,
    /// Every serving pod is ready.
    Serving,
    /// Every region has its volume, and the volume is well.
    StorageReady,
    /// The authority answers. Upstreams only.
    Reachable,
    /// No run found the upstream to contradict itself. Upstreams only.
    Consistent,
    /// The keys that signed what Mirrors have go on to count. Upstreams only.
    KeyringHealthy,
}

impl ConditionType {
    pub const ALL: [ConditionType; 10] = [
        ConditionType::Ready,
        ConditionType::Stalled,
        ConditionType::Reconciling,
        ConditionType::Verified,
        ConditionType::Fresh,
        ConditionType::Serving,
        ConditionType::StorageReady,
        ConditionType::Reachable,
        ConditionType::Consistent,
        ConditionType::KeyringHealthy,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            ConditionType::Ready => "Ready",
            ConditionType::Stalled => "Stalled",
            ConditionType::Reconciling => "Reconciling",
            ConditionType::Verified => "Verified",
            ConditionType::Fresh => "Fresh",
            ConditionType::Serving => "Serving",
            ConditionType::StorageReady => "StorageReady",
            ConditionType::Reachable => "Reachable",
            ConditionType::Consistent => "Consistent",
            ConditionType::KeyringHealthy => "KeyringHealthy",
        }
    }

    /// The condition of this type.
    pub fn find(self, all: &[Condition]) -> Option<&Condition> {
        all.iter().find(|known| known.type_ == self.as_str())
    }
}

impl std::fmt::Display for ConditionType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
