//! What a Mirror refuses although it is validly signed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is refused although it is validly signed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// States that a person has looked at and takes although they are refused, one for one; each becomes the newest
    /// state that is known. A refusal prints the entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["unit", "digest"]))]
    pub allowed: Vec<AllowedState>,
    /// Suites whose archive renews them no longer: what to do about a state that is past its Valid-Until or older than
    /// `trust.maxIndexAge`. Clients need `Check-Valid-Until: no` for such a suite in their sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["unit"]))]
    pub expired: Vec<ExpiredUnit>,
    /// A known file with new content under the same name.
    #[serde(default)]
    pub mutation: Rule,
    /// Files whose new content a person has approved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allow_mutations: Vec<AllowedMutation>,
    /// A new state that lacks much of what the one before had.
    #[serde(default)]
    pub shrink: Shrink,
}

/// One state of one unit that is taken although it would be refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedState {
    /// Debian: the suite.
    #[schemars(length(min = 1, max = 128))]
    pub unit: String,
    /// SHA-256 of the signed payload, as the refusal names it: 64 hexadecimal digits.
    #[schemars(length(max = 64), regex(pattern = "^[0-9a-f]{64}$"))]
    pub digest: String,
    /// What it is not refused for.
    #[schemars(length(min = 1, max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub reasons: Vec<AllowedReason>,
}

/// The refusals that a person can take back for one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AllowedReason {
    /// It is older than a state that was accepted before.
    RollbackDetected,
    /// It is past its Valid-Until, or older than `trust.maxIndexAge`.
    IndexExpired,
    /// Another state has the same date.
    Equivocation,
    /// Its Release says another Origin, Label, Codename or default priority than before.
    ReleaseInfoChanged,
}

/// What to do about states of one unit that are past their time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExpiredUnit {
    /// Debian: the suite.
    #[schemars(length(min = 1, max = 128))]
    pub unit: String,
    /// Allow takes them.
    pub rule: Rule,
}

impl Verification {
    /// Whether states of a unit that are past their time are taken.
    pub fn allows_expired(&self, unit: &str) -> bool {
        let mut units = self.expired.iter();
        units.any(|expired| expired.unit == unit && expired.rule == Rule::Allow)
    }
}

/// How much of a suite an upstream may drop at once. Only states that are copied by the same content block are compared,
/// and fewer than 20 files never count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shrink {
    /// Refuse when more than this part of a suite's packages would go; 100 allows any part.
    #[schemars(range(min = 1, max = 100))]
    #[serde(default = "Shrink::default_max_percent")]
    pub max_percent: u32,
    /// Refuse when more files of a suite than this would go; 0 allows any number.
    #[schemars(range(min = 0, max = 100_000_000))]
    #[serde(default = "Shrink::default_max_count")]
    pub max_count: u32,
    /// States that a person has looked at: the digest that a refusal names, 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(max = 64), regex(pattern = "^[0-9a-f]{64}$"))
    )]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub allowed: Vec<String>,
}

impl Shrink {
    const fn default_max_percent() -> u32 {
        10
    }
    const fn default_max_count() -> u32 {
        40_000
    }
}

impl Default for Shrink {
    fn default() -> Self {
        Shrink {
            max_percent: Self::default_max_percent(),
            max_count: Self::default_max_count(),
            allowed: Vec::new(),
        }
    }
}

/// What to do about something that an honest upstream does not do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Rule {
    /// Keep what is served and say so.
    #[default]
    Refuse,
    /// Take it.
    Allow,
}

/// One file whose new content is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedMutation {
    /// Path in the repository.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
    /// SHA-256 of the new content, 64 hexadecimal digits.
    #[schemars(length(max = 64), regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: String,
}
