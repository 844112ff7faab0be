//! What is true of the fleet's objects at one moment, as plain values that become series. Instants are Unix seconds.

use crate::{ConditionStatus, Reason};

/// What is true of a Mirror now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MirrorGauges {
    /// Whose copy it is; none where nobody names it.
    pub upstream: Option<String>,
    pub regions: Vec<RegionGauges>,
    /// For how many seconds a region may be behind.
    pub freshness_objective: Option<u64>,
    pub next_run: Option<i64>,
    /// The longest of the next times between two scheduled runs, in seconds; none while it is suspended.
    pub sync_interval: Option<u64>,
    pub conditions: Vec<ConditionGauges>,
    /// None before the first decision what is to be served, and where nobody decides that for others.
    pub publication: Option<PublicationGauges>,
}

/// How a snapshot comes to the regions of a Mirror.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublicationGauges {
    /// Of the newest decision.
    pub epoch: i64,
    /// Since when regions copy the next snapshot, and none serves it yet.
    pub preparing: Option<i64>,
    /// Since when one region serves the next snapshot before the others.
    pub trial: Option<i64>,
    /// Since when a snapshot is not served that was found bad in that region.
    pub halted: Option<i64>,
    /// How many of them are waited for.
    pub waiting_regions: u32,
}

/// What a condition says.
#[derive(Debug, Clone, PartialEq)]
pub struct ConditionGauges {
    pub kind: String,
    pub status: ConditionStatus,
    /// None where nobody gives one.
    pub reason: Option<Reason>,
    /// Since when it has had this status.
    pub since: Option<i64>,
}

/// What is true of one region of a Mirror now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RegionGauges {
    pub region: String,
    /// `None`: unknown. `Some(None)`: the Mirror's Service leads here, or there is none. `Some(Some(at))`: not since then.
    pub withdrawn: Option<Option<i64>>,
    /// `None`: unknown. `Some(None)`: it serves the authority's revision. `Some(Some(at))`: superseded at that instant.
    pub superseded: Option<Option<i64>>,
    /// The snapshot that is served.
    pub snapshot: Option<String>,
    /// Since when it is there to be filled.
    pub created: Option<i64>,
    pub last_success: Option<i64>,
    pub last_run: Option<RunGauges>,
    /// Failed runs since the last that succeeded.
    pub consecutive_failures: u32,
    /// Unit and instant, for those units of the served revision that have a limit.
    pub index_valid_until: Vec<(String, i64)>,
    /// By how many seconds the clock of its node is ahead, where that is much; 0 where it is not.
    pub clock_skew: Option<i64>,
    pub storage_used_bytes: Option<u64>,
    pub storage_capacity_bytes: Option<u64>,
}

/// What the checks of a region in the last day come to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CheckGauges {
    pub checks: u32,
    /// Which part of them succeeded, from 0 to 1.
    pub completion: f64,
    /// The mean of what it was late by, in seconds; none while none succeeded.
    pub delay: Option<f64>,
    /// Of how long answers took, in seconds; none while there was none.
    pub duration_avg: Option<f64>,
    /// None while there were fewer than two.
    pub duration_stddev: Option<f64>,
    /// archweb's score; the lower, the better.
    pub score: Option<f64>,
}

/// What the last run that ended came to. What it cost is not known where it left no report.
#[derive(Debug, Clone, PartialEq)]
pub struct RunGauges {
    pub reason: Reason,
    pub finished_at: i64,
    pub seconds: Option<f64>,
    pub bytes: Option<u64>,
    pub files: Option<u64>,
}

/// What is true of an Upstream now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UpstreamGauges {
    /// Unit and its date.
    pub revision: Vec<(String, i64)>,
    /// When too few of the keys that signed are left.
    pub key_expiry: Option<i64>,
    pub endpoints: Vec<EndpointGauges>,
    pub conditions: Vec<ConditionGauges>,
}

/// What is true of an endpoint of an Upstream now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointGauges {
    pub endpoint: String,
    /// None while nobody can ask it.
    pub reachable: Option<bool>,
    /// The newest of the dates of what it has.
    pub revision: Option<i64>,
    /// `None`: unknown. `Some(None)`: it has what the authority has. `Some(Some(at))`: superseded at that instant.
    pub superseded: Option<Option<i64>>,
}
