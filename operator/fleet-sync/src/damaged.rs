//! Blobs that a scrub found damaged: told by `mirrorfleet verify`, repaired by the next sync.

use std::collections::BTreeSet;

use fleet_types::Sha256;
use serde::{Deserialize, Serialize};

/// `state/damaged.json`: blobs that are missing or are not what their names say. A run takes them as missing, fetches
/// them again, and takes those off the list that are whole again. A list that was never written is an empty one. Both
/// sets are in ascending order, and no blob is in both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Damaged {
    #[serde(default)]
    pub blobs: BTreeSet<Sha256>,
    /// What the upstream no longer has and only snapshots name that are neither the newest nor served: every run asks for
    /// it again, and nothing waits for it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub lost: BTreeSet<Sha256>,
}

impl Damaged {
    /// The name under which the store keeps it.
    pub const DOCUMENT: &str = "damaged";
}
