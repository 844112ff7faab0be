//! What a run leaves for the files that mirrors publish about themselves.

use serde::{Deserialize, Serialize};

/// `state/trace.json`: the last run after which what is served was known to be what the upstream has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunFacts {
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
    /// What of the upstream's own word is repeated, field by field.
    pub fields: Vec<(String, String)>,
}

impl RunFacts {
    /// The name of the document in `state/`.
    pub const DOCUMENT: &str = "trace";
}

/// How an upstream's clock stood: files of a few bytes that tell how new it is as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClockReading {
    /// Is another one whenever anything is new.
    pub state: String,
    /// Is another one every few minutes, new or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beat: Option<String>,
}
