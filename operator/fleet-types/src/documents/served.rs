//! What a server says of a store, or of a registry.

use serde::{Deserialize, Serialize};

use super::{KeptSnapshot, Report, ScrubState, Success, UnixSeconds};
use crate::{Accepted, Order, Reason, Sha256, UnitRevision};

/// The document at `/.mirrorfleet/status/<mirror>` of the port for metrics, which the controller reads: facts of the
/// volume only. `R` is the report of the last run; the server hands it on as the run wrote it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServedStatus<R = Report> {
    pub mirror: String,
    pub upstream_type: String,
    /// Without slashes at its ends.
    pub serving_path: String,
    /// The snapshot that is served, 64 hexadecimal digits; none before the first.
    pub snapshot: Option<String>,
    /// The upstream's revision that the snapshot is a copy of.
    pub revision: Vec<UnitRevision>,
    pub published_at: Option<UnixSeconds>,
    /// What is repeated of the upstream's heartbeat (`lastsync` of Arch Linux); none where it has none.
    pub last_sync: Option<UnixSeconds>,
    /// When a run last found what is served to be what the upstream has, of a copy the run that it was copied from.
    pub confirmed_at: Option<UnixSeconds>,
    /// What the server's clock says; none where an earlier version does not say it.
    pub now: Option<UnixSeconds>,
    /// By how many seconds that clock is ahead of the asker's, as the asker found; 0 where it is not by much.
    #[serde(skip)]
    pub clock_skew: i64,
    /// By which order that is served: the newest that was followed, here or before by a run. None where `current` alone
    /// tells what is served.
    pub order: Option<Order>,
    /// The snapshots that are on the volume, oldest first: an order may name these.
    pub kept: Vec<KeptSnapshot>,
    /// The newest version of a snapshot's index that this program reads; 0 where an earlier one does not say it.
    pub index_version: u32,
    /// The snapshot that is pinned.
    pub pinned: Option<String>,
    /// Also of a run whose pod is gone.
    pub last_report: Option<R>,
    /// When a run last really succeeded, and with which snapshot.
    pub last_success: Option<Success>,
    /// The newest state of each unit that was ever accepted; a run on a new volume must not forget it.
    pub high_water: Vec<Accepted>,
    pub storage: Option<StorageUse>,
    /// Why the store is not served as it should be, for people.
    pub problem: Option<String>,
    /// Blobs that could not be served: the next sync fetches them again.
    pub damaged: Vec<Sha256>,
    /// How far the check of all blobs is.
    pub scrub: Option<ScrubState>,
    /// Of a registry, which has nothing of a snapshot: how it is. None of everything else.
    pub registry: Option<RegistryState>,
    /// Why what is fetched on demand cannot be kept, into a store or by a registry; none while it can.
    pub not_kept: Option<NotKept>,
}

/// The volume of a store, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageUse {
    pub used: u64,
    pub capacity: u64,
}

/// How a registry is that fills itself on demand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistryState {
    /// Since when the upstream has been left alone, because it failed several times or said so; none while it is asked.
    pub upstream_blocked_since: Option<UnixSeconds>,
    /// Whether the manifest keeps it from asking the upstream.
    pub is_offline: bool,
}

/// What keeps that from being kept which is fetched on demand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotKept {
    pub reason: Reason,
    /// For people.
    pub message: String,
}

impl NotKept {
    /// The volume has had no room since then.
    pub fn full(since: UnixSeconds) -> NotKept {
        NotKept {
            reason: Reason::StorageFull,
            message: format!(
                "the volume has been full since {since}: what is asked for is fetched for whoever asks, and not kept"
            ),
        }
    }
}
