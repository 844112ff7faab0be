//! What is known of an Upstream.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the controller found out about the authority: instants and states, never ages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamStatus {
    /// The generation that this status speaks of; -1 until the first visit.
    #[serde(default = "unobserved")]
    pub observed_generation: i64,
    /// What the authority has: one entry per unit (Debian: suite) that some Mirror asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revision: Vec<ObservedUnit>,
    /// The newest of the dates in `revision`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision_date: Option<Time>,
    /// When the first keys expire of those that signed what Mirrors have of it, so that fewer are left than
    /// `trust.minGoodSignatures`; as runs tell it by the keyring that they are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_expires_at: Option<Time>,
    /// What the endpoints of `spec.endpoints` have, in its order; of one that is new, once it was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub endpoints: Vec<EndpointStatus>,
    /// Ready, Reachable, Consistent and KeyringHealthy always; Stalled only while it is true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl Default for UpstreamStatus {
    fn default() -> Self {
        UpstreamStatus {
            observed_generation: unobserved(),
            revision: Vec::new(),
            revision_date: None,
            key_expires_at: None,
            endpoints: Vec::new(),
            conditions: Vec::new(),
        }
    }
}

pub(crate) const fn unobserved() -> i64 {
    -1
}

/// One unit of an upstream's revision, as seen at the authority.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservedUnit {
    /// Debian: the suite.
    pub unit: String,
    /// SHA-256 of the signed payload.
    pub digest: String,
    /// When the upstream says that it made this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<Time>,
    /// When the controller first saw this state, or the upstream's own date if it had seen no state of this unit before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
    /// The states before it, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub history: Vec<PastState>,
}

/// A state that the authority had.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastState {
    /// SHA-256 of the signed payload.
    pub digest: String,
    /// When the upstream says that it made this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<Time>,
    /// Since when the authority has had another one, at the earliest: when this one was seen last, by a probe or a run.
    pub superseded_at: Time,
}

/// What an endpoint has, against the authority. It is asked as often as that one at most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStatus {
    /// As in `spec.endpoints`.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Whether it tells what it has.
    pub state: EndpointState,
    /// Since when that is so.
    pub since: Time,
    /// Why, where it is not Reachable, or what it lacks.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub message: String,
    /// The newest of the dates of what it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision_date: Option<Time>,
    /// Units of which it has something older than the authority, the longest superseded first. Of all others it has what
    /// `revision` says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub behind: Vec<OutdatedUnit>,
}

/// Whether an endpoint tells what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EndpointState {
    /// The last probe could read something.
    Reachable,
    /// Three probes in a row, or all since it was first asked, could read nothing.
    Unreachable,
    /// A Job is to ask it, and none can.
    NotAsked,
}

impl EndpointState {
    pub const fn as_str(self) -> &'static str {
        match self {
            EndpointState::Reachable => "Reachable",
            EndpointState::Unreachable => "Unreachable",
            EndpointState::NotAsked => "NotAsked",
        }
    }
}

/// A unit of which an endpoint has something older than the authority.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutdatedUnit {
    /// Debian: the suite.
    pub unit: String,
    /// SHA-256 of the signed payload that it has.
    pub digest: String,
    /// When the upstream says that it made that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<Time>,
    /// Since when the authority has had another one, at the earliest.
    pub superseded_at: Time,
}

impl EndpointStatus {
    /// So many units that are behind are told of.
    pub const MOST_BEHIND: usize = 8;
}

impl ObservedUnit {
    /// So many states before the newest are remembered.
    pub const REMEMBERED: usize = 8;
}
