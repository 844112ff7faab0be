//! What endpoints are known by: how each described its copies.

use std::collections::BTreeMap;

use fleet_fetch::Validators;
use fleet_types::{ClockReading, Sha256};
use serde::{Deserialize, Serialize};

/// How an endpoint described its copy of the probe when it was last accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Known {
    pub path: String,
    pub digest: Sha256,
    /// Another endpoint had other bytes of the same state: one of them was altered on its way, perhaps this one, and
    /// then an answer 304 would confirm it. So it is asked for anew until the state changes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub doubted: bool,
    /// How its clock stood then, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockReading>,
    #[serde(flatten)]
    pub validators: Validators,
    /// Its copies of the files that came with it, by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub companions: BTreeMap<String, KnownFile>,
}

/// How an endpoint described its copy of one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KnownFile {
    pub digest: Sha256,
    #[serde(flatten)]
    pub validators: Validators,
}
