//! What a run would come to.

use fleet_types::documents::{RunResult, UnitReport};
use fleet_types::{Reason, UnitRevision};
use serde::{Deserialize, Serialize};

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanReport {
    pub mirror: String,
    /// `Unchanged` where a run would have nothing to do, `Published` where it would publish, else `Failed`.
    pub result: RunResult,
    pub reason: Reason,
    pub message: String,
    pub units: Vec<UnitReport>,
    pub fetch: Share,
    pub keep: Share,
    pub remove: Share,
    /// Listed by the upstream, and left out by the manifest.
    #[serde(default)]
    pub exclude: Share,
    /// Listed by the upstream, and fetched when somebody asks for it.
    #[serde(default)]
    pub on_demand: Share,
    /// None where nothing would be fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<Room>,
    /// Of the state that would be published.
    pub revision: Vec<UnitRevision>,
    pub requests: u64,
    /// For indices alone.
    pub bytes_fetched: u64,
    pub seconds: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
}

impl PlanReport {
    /// The exit code that says whether a run would be good, as far as the indices tell.
    pub fn exit_code(&self) -> u8 {
        self.reason.outcome().exit_code()
    }
}

/// What a run would add to the volume, and what there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    /// Contents, each once however many names it has.
    pub files: u64,
    /// What they take, in whole blocks, less what earlier runs left of them.
    pub bytes: u64,
    /// For the snapshot's own index, at most.
    pub index_bytes: u64,
    /// Stays free.
    pub reserve_bytes: u64,
    pub free_bytes: u64,
}

/// Some of the paths of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    pub files: u64,
    pub bytes: u64,
    /// The first few, in the order of their names.
    pub sample: Vec<String>,
}

impl Share {
    const SAMPLE: usize = 20;

    pub(crate) fn add(&mut self, path: &str, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.sample.len() < Self::SAMPLE {
            self.sample.push(path.to_owned());
        }
    }
}
