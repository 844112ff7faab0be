//! What runs leave in a store's `state/` that is not for them alone.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::UnixSeconds;
use crate::{Accepted, RunFacts, Sha256};

/// `state/success.json`: the last run that really succeeded or really found nothing new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Success {
    pub at: UnixSeconds,
    #[serde(default)]
    pub snapshot: Option<String>,
}

impl Success {
    /// The name of the document in `state/`.
    pub const DOCUMENT: &str = "success";
}

/// `state/units.json`: what is remembered of each unit from run to run, as far as it concerns others than the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UnitsMemory {
    pub units: BTreeMap<String, HighWater>,
}

impl UnitsMemory {
    /// The name of the document in `state/`.
    pub const DOCUMENT: &str = "units";
}

/// The mark of one unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HighWater {
    /// The newest state that was ever accepted, or the one that a person let through instead.
    pub high_water: Option<Accepted>,
}

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
    /// The name of the document in `state/`.
    pub const DOCUMENT: &str = "damaged";
}

/// `state/scrub.json`: how far the check of all blobs is, so that every run goes on where the one before ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScrubState {
    /// When the pass began that is under way.
    pub started_at: UnixSeconds,
    /// The first digest that it has not come to; none before the first and after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Sha256>,
    /// What it has checked so far, and how much of that was damaged.
    pub blobs: u64,
    pub bytes: u64,
    pub damaged: u64,
    /// When the last pass that came to its end did so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<UnixSeconds>,
    /// Everything was read in this pass; the next begins when it is due.
    pub complete: bool,
}

impl ScrubState {
    /// The name of the document in `state/`.
    pub const DOCUMENT: &str = "scrub";
}

/// `state/own-files.json`: what the mirror publishes about itself besides its snapshot, as its format says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnFiles {
    /// When what they say was found out.
    pub modified: UnixSeconds,
    /// What they repeat of the upstream's heartbeat; none where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<UnixSeconds>,
    pub files: Vec<OwnFile>,
}

impl OwnFiles {
    /// The name of the document in `state/`.
    pub const DOCUMENT: &str = "own-files";
}

/// `state/next-own-files.json`: the same as it will be once a snapshot is served that was only prepared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NextOwnFiles {
    /// Its id.
    pub snapshot: Sha256,
    pub own: OwnFiles,
    /// What they are made of.
    pub run: RunFacts,
}

impl NextOwnFiles {
    /// The name of the document in `state/`.
    pub const DOCUMENT: &str = "next-own-files";
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnFile {
    /// As a repository path.
    pub path: String,
    pub content: String,
}
