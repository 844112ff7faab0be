//! What is true of the fleet's objects at one moment, as plain values that become series.

/// Namespace and name of an object. `mirrorfleet local` leaves the namespace empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectKey {
    pub namespace: String,
    pub name: String,
}

impl ObjectKey {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> ObjectKey {
        ObjectKey {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// The status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionState {
    True,
    False,
    Unknown,
}

impl ConditionState {
    pub(crate) const ALL: [ConditionState; 3] = [
        ConditionState::True,
        ConditionState::False,
        ConditionState::Unknown,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            ConditionState::True => "True",
            ConditionState::False => "False",
            ConditionState::Unknown => "Unknown",
        }
    }
}

/// What is true of a Mirror now. Instants are Unix seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MirrorState {
    pub regions: Vec<RegionState>,
    pub next_run: Option<i64>,
    /// Type and status of each condition.
    pub conditions: Vec<(String, ConditionState)>,
}

/// What is true of one region of a Mirror now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RegionState {
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
pub struct UpstreamState {
    /// Unit and its date, Unix seconds.
    pub revision: Vec<(String, i64)>,
    pub conditions: Vec<(String, ConditionState)>,
}

/// One finished sync run.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    pub result: &'a str,
    pub reason: &'a str,
    pub seconds: f64,
    pub bytes: u64,
    pub files: u64,
}
