//! What a Mirror's status says of how a snapshot comes to its regions.

use fleet_types::Reason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mirror_status::is_false;

/// The decision which snapshot is to be served. It stands here before any region is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Publication {
    /// Grows with each decision that tells some region something else than before; a region never goes back to a lower one.
    pub epoch: i64,
    /// The snapshot's id: 64 hexadecimal digits.
    pub snapshot: String,
    /// Whether it is because of `spec.snapshots.pinned`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pinned: bool,
    /// Since when this is the snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// How far it is; none where that was never told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<PublicationPhase>,
    /// What comes next, while regions still copy it. None of them serves it before, but the canary while it tries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preparing: Option<Preparing>,
    /// The trial of what comes next, in one region; none while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Trial>,
    /// What was found bad when it was tried. Only something newer comes after what is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted: Option<Halted>,
}

/// One region serves what comes next before the others do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// Which region it is.
    pub region: String,
    /// Since when it is told to.
    pub since: Time,
    /// Its newest audit; none before the region serves what is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<Audit>,
}

/// An audit of a region over its URL.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// The name of its Job.
    pub job: String,
    /// 1 for the first of a trial.
    pub number: i32,
    /// When it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When its result was seen; none while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// `Audited` where everything is as it should be; none while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub reason: Option<Reason>,
    /// What it found, in at most 1024 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// A snapshot that was found bad when one region tried it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Halted {
    /// Its id: 64 hexadecimal digits.
    pub snapshot: String,
    /// Which region tried it.
    pub region: String,
    /// Since when nobody else is to serve it.
    pub since: Time,
    /// What it was, as one word.
    #[schemars(with = "String")]
    pub reason: Reason,
    /// What was found, at most 1024 characters.
    pub message: String,
    /// Of the manifest by which it was tried. Any edit has it tried again.
    pub generation: i64,
}

/// How far a publication is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PublicationPhase {
    /// Regions copy the next snapshot, and none serves it yet.
    Preparing,
    /// The canary serves the next snapshot, and the others do not yet.
    Canary,
    /// Regions are told to serve it, and some do not yet.
    Publishing,
    /// Every region that was told to serves it.
    Published,
}

impl PublicationPhase {
    /// The word itself.
    pub const fn as_str(self) -> &'static str {
        match self {
            PublicationPhase::Preparing => "Preparing",
            PublicationPhase::Canary => "Canary",
            PublicationPhase::Publishing => "Publishing",
            PublicationPhase::Published => "Published",
        }
    }
}

/// A snapshot that regions copy and none serves yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preparing {
    /// Its id: 64 hexadecimal digits.
    pub snapshot: String,
    /// Since when. After `spec.rollout.patience` nobody is waited for.
    pub since: Time,
    /// The regions that are waited for: those that lack it, and those to which the Mirror's Service may still lead
    /// although they are not to serve it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<String>,
}
