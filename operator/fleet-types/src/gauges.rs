//! What is true of the fleet's objects at one moment, as plain values that become series. Instants are Unix seconds.

use crate::ConditionStatus;

/// What is true of a Mirror now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MirrorGauges {
    pub regions: Vec<RegionGauges>,
    pub next_run: Option<i64>,
    /// Type and status of each condition.
    pub conditions: Vec<(String, ConditionStatus)>,
}

/// What is true of one region of a Mirror now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RegionGauges {
    pub region: String,
    /// `None`: unknown. `Some(None)`: it serves the authority's revision. `Some(Some(at))`: superseded at that instant.
    pub superseded: Option<Option<i64>>,
    /// The snapshot that is served.
    pub snapshot: Option<String>,
    pub last_success: Option<i64>,
    /// Unit and instant, for those units of the served revision that have a limit.
    pub index_valid_until: Vec<(String, i64)>,
    pub storage_used_bytes: Option<u64>,
    pub storage_capacity_bytes: Option<u64>,
}

/// What is true of an Upstream now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UpstreamGauges {
    /// Unit and its date.
    pub revision: Vec<(String, i64)>,
    pub conditions: Vec<(String, ConditionStatus)>,
}
