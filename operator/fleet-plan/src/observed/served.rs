//! What a serving pod says about itself: the document at `/.mirrorfleet/status/<mirror>`.

use fleet_types::{Sha256, UnitRevision};
use jiff::Timestamp;
use serde::Deserialize;

use crate::report::{RunReport, instant};

/// What came of asking a serving pod.
#[derive(Debug, Clone)]
pub enum Answer {
    /// It answered.
    Serves(Box<ServedStatus>),
    /// It runs but has no store yet (404 or 503): nothing was ever synced to its volume.
    Nothing,
    /// Nobody has asked it yet, or not often enough to tell: what was said of it before stands.
    NotAsked,
    /// It could not be asked, several times in a row; why, for people.
    Unreachable(String),
}

/// The status document of one store.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServedStatus {
    pub mirror: String,
    pub upstream_type: String,
    /// Id of the snapshot that is served now.
    pub snapshot: Option<String>,
    pub revision: Vec<UnitRevision>,
    #[serde(deserialize_with = "instant::option")]
    pub published_at: Option<Timestamp>,
    /// The report of the last run, also of one whose pod is gone.
    pub last_report: Option<RunReport>,
    pub last_success: Option<LastSuccess>,
    pub storage: Option<StorageUse>,
    /// What of the store cannot be served as it should be, for people.
    pub problem: Option<String>,
    /// Blobs that the pod could not serve; a run is told, and fetches them again.
    pub damaged: Vec<Sha256>,
}

/// When a run last succeeded.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LastSuccess {
    #[serde(deserialize_with = "instant::option")]
    pub at: Option<Timestamp>,
    pub snapshot: Option<String>,
}

/// Bytes on the volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageUse {
    #[serde(alias = "usedBytes")]
    pub used: u64,
    #[serde(alias = "capacityBytes")]
    pub capacity: u64,
}
