//! What a volume keeps.

use serde::{Deserialize, Serialize};

use super::{IndexPin, UnixSeconds};
use crate::Sha256;

/// A snapshot on the volume of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptSnapshot {
    pub id: Sha256,
    /// When it was made. Of two snapshots of one volume the later is the newer.
    pub created: UnixSeconds,
    /// The newest of the dates of its units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<UnixSeconds>,
    /// Since when another one is served in its place; none while it is served and where it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_at: Option<UnixSeconds>,
    /// Its index file, by which others can copy it; none where an earlier version says what is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<IndexPin>,
    /// What it changed; none of the first of a store, and where an earlier version made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<SnapshotChanges>,
    /// Sum of the sizes of its files, whatever else names the same content; none where an earlier version tells of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// By how many paths a snapshot differs from the one that it was derived from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SnapshotChanges {
    /// Paths that are new.
    pub added: u64,
    /// Paths whose content is another.
    pub changed: u64,
    /// Paths that are gone.
    pub removed: u64,
}
