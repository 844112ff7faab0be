//! What a run leaves for the trace files that mirrors publish about themselves.

use serde::{Deserialize, Serialize};

/// `state/trace.json`: the last run after which what is served was known to be what the upstream has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub started_at: i64,
    pub finished_at: i64,
    /// The program and its version.
    pub software: String,
    /// The name of the machine or pod that the run was on.
    pub host: String,
    /// The host of the upstream that is asked first, or `localhost`.
    pub upstream: String,
    /// `https`, `http`, ...
    pub transport: String,
    pub received_bytes: u64,
    pub seconds: f64,
    /// What the format says about the declared slice, field by field.
    pub fields: Vec<(String, String)>,
}

impl Trace {
    /// The name of the document in `state/`.
    pub const DOCUMENT: &str = "trace";
}
