//! Which snapshots of a Mirror are kept, and which one is served.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::GoDuration;

/// Which snapshots are kept and which one is served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Snapshots {
    /// How many of the newest snapshots to keep, 1 to 32.
    #[schemars(range(min = 1, max = 32))]
    #[serde(default = "Snapshots::default_keep")]
    pub keep: u32,
    /// What a superseded snapshot names can be fetched at least this long, where its content never changes, however many
    /// were published since. Snapshots are kept as long, 32 of them at most.
    #[serde(default = "Snapshots::default_min_age")]
    pub min_age: GoDuration,
    /// Id of a snapshot to serve whatever the upstream does: freezes or rolls back. Empty: the newest.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64), regex(pattern = "^([0-9a-f]{8,64})?$"))]
    pub pinned: String,
    /// Ids of snapshots that are never served: the newest of the others is, until the upstream publishes something newer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        inner(length(max = 64), regex(pattern = "^[0-9a-f]{8,64}$"))
    )]
    pub skip: Vec<String>,
}

impl Snapshots {
    const fn default_keep() -> u32 {
        3
    }
    const fn default_min_age() -> GoDuration {
        GoDuration::from_secs(48 * 3600)
    }
}

impl Default for Snapshots {
    fn default() -> Self {
        Snapshots {
            keep: 3,
            min_age: Self::default_min_age(),
            pinned: String::new(),
            skip: Vec::new(),
        }
    }
}
