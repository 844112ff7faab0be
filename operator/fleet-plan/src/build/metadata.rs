//! Labels, selectors and owners: the one place.

use std::collections::BTreeMap;

use fleet_api::{Mirror, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube_core::Resource;

use crate::fleet::{Fleet, Site};

pub type Map = BTreeMap<String, String>;

/// Labels of everything that belongs to a region.
pub fn region_labels(fleet: &Fleet, site: &Site, component: &str) -> Map {
    map([
        (labels::NAME, labels::MANAGED_BY_VALUE),
        (labels::MANAGED_BY, labels::MANAGED_BY_VALUE),
        (labels::COMPONENT, component),
        (labels::MIRROR, &fleet.name),
        (labels::REGION, &site.region.name),
    ])
}

/// What selects a region's serving pods and nothing else; sync pods differ in their component.
pub fn serving_selector(fleet: &Fleet, site: &Site) -> Map {
    map([
        (labels::COMPONENT, labels::COMPONENT_SERVING),
        (labels::MIRROR, &fleet.name),
        (labels::REGION, &site.region.name),
    ])
}

pub fn label_selector(labels: Map) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels),
        ..Default::default()
    }
}

/// Metadata of an object that goes when the Mirror goes.
pub fn owned(fleet: &Fleet, site: &Site, component: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(fleet.namespace.clone()),
        labels: Some(region_labels(fleet, site, component)),
        owner_references: Some(vec![OwnerReference {
            api_version: Mirror::api_version(&()).into_owned(),
            kind: Mirror::kind(&()).into_owned(),
            name: fleet.name.clone(),
            uid: fleet.uid.clone(),
            controller: Some(true),
            block_owner_deletion: None,
        }]),
        ..Default::default()
    }
}

/// The same, with the digest of what is applied.
pub fn applied(fleet: &Fleet, site: &Site, spec: &impl serde::Serialize) -> ObjectMeta {
    let mut meta = owned(fleet, site, labels::COMPONENT_SERVING, &site.child);
    let fingerprint = crate::canonical::fingerprint(spec, meta.labels.get_or_insert_default());
    meta.annotations = Some(map([(labels::APPLIED, fingerprint.as_str())]));
    meta
}

pub fn map<const N: usize>(pairs: [(&str, &str); N]) -> Map {
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}
