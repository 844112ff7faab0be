//! What decisions need of any object's metadata, and the projection of the kinds that are applied.

use std::collections::BTreeMap;

use fleet_api::labels;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

/// The metadata of an object, without what no decision looks at (managed fields above all).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenMeta {
    pub name: String,
    pub uid: String,
    pub labels: BTreeMap<String, String>,
    /// Only those with our prefix, but of what carries some for others.
    pub annotations: BTreeMap<String, String>,
    pub created_at: Option<Timestamp>,
    /// Whether a deletion was asked for.
    pub deleting: bool,
    /// Uids of the owners.
    pub owners: Vec<String>,
}

impl SeenMeta {
    pub fn of(meta: &ObjectMeta) -> SeenMeta {
        let bulky = [labels::RUN_MANIFESTS, labels::FILL_MANIFESTS];
        let ours = |key: &str| key.starts_with("mirrorfleet.dev/") && !bulky.contains(&key);
        SeenMeta {
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            labels: meta.labels.clone().unwrap_or_default(),
            annotations: meta
                .annotations
                .iter()
                .flatten()
                .filter(|(key, _)| ours(key))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            created_at: meta.creation_timestamp.as_ref().map(|time| time.0),
            deleting: meta.deletion_timestamp.is_some(),
            owners: meta
                .owner_references
                .iter()
                .flatten()
                .map(|owner| owner.uid.clone())
                .collect(),
        }
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str)
    }

    /// Whether the labels say that it is an object of ours, of this Mirror.
    pub fn belongs_to(&self, mirror: &str) -> bool {
        self.label(labels::MANAGED_BY) == Some(labels::MANAGED_BY_VALUE)
            && self.label(labels::MIRROR) == Some(mirror)
    }

    /// The replica of its region that the labels name.
    pub fn replica(&self) -> u32 {
        let named = self.label(labels::REPLICA);
        named.and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// The region that the labels name.
    pub fn region(&self) -> Option<&str> {
        self.label(labels::REGION)
    }
}

/// A StatefulSet, Service or PodDisruptionBudget: metadata and the spec as compact JSON text, which takes a tenth of
/// the typed object's memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenApplied {
    pub meta: SeenMeta,
    pub spec: Box<str>,
    /// Whether the controller of its kind has yet to look at this spec; only StatefulSets tell.
    pub pending: bool,
}

impl SeenApplied {
    /// `spec` is the object's `.spec`.
    pub fn of(meta: &ObjectMeta, spec: &impl Serialize) -> SeenApplied {
        let text = serde_json::to_string(spec).unwrap_or_default();
        SeenApplied {
            meta: SeenMeta::of(meta),
            spec: text.into_boxed_str(),
            pending: false,
        }
    }
}

impl From<&StatefulSet> for SeenApplied {
    fn from(set: &StatefulSet) -> Self {
        let looked_at = set
            .status
            .as_ref()
            .and_then(|status| status.observed_generation);
        SeenApplied {
            pending: looked_at.is_some_and(|looked_at| Some(looked_at) < set.metadata.generation),
            ..SeenApplied::of(&set.metadata, &set.spec)
        }
    }
}
