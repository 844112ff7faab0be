//! Labels, selectors and owners: the one place.

use std::collections::BTreeMap;

use fleet_api::{Mirror, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube_core::Resource;
use serde::Serialize;

use crate::fleet::{Fleet, Place};

pub type Map = BTreeMap<String, String>;

/// Labels of everything that belongs to a Mirror.
pub fn mirror_labels(fleet: &Fleet, component: &str) -> Map {
    map([
        (labels::NAME, labels::MANAGED_BY_VALUE),
        (labels::MANAGED_BY, labels::MANAGED_BY_VALUE),
        (labels::COMPONENT, component),
        (labels::MIRROR, &fleet.name),
    ])
}

/// Labels of everything that belongs to a region.
pub fn region_labels(fleet: &Fleet, place: &Place, component: &str) -> Map {
    let mut all = mirror_labels(fleet, component);
    all.insert(labels::REGION.to_owned(), place.region.name.clone());
    all
}

/// Labels of what belongs to one replica of a region.
pub fn replica_labels(fleet: &Fleet, place: &Place, component: &str) -> Map {
    with_replica(place, region_labels(fleet, place, component))
}

fn with_replica(place: &Place, mut labels: Map) -> Map {
    labels.insert(labels::REPLICA.to_owned(), place.replica.to_string());
    labels
}

/// What selects the serving pod of one replica.
pub fn replica_selector(fleet: &Fleet, place: &Place) -> Map {
    with_replica(place, serving_selector(fleet, place))
}

/// What selects a region's serving pods and nothing else; sync pods differ in their component.
pub fn serving_selector(fleet: &Fleet, place: &Place) -> Map {
    map([
        (labels::COMPONENT, labels::COMPONENT_SERVING),
        (labels::MIRROR, &fleet.name),
        (labels::REGION, &place.region.name),
    ])
}

/// What selects those of a region's serving pods to which its Service leads.
pub fn routed_selector(fleet: &Fleet, place: &Place) -> Map {
    let mut all = serving_selector(fleet, place);
    all.insert(labels::ROUTED.to_owned(), "true".to_owned());
    all
}

pub fn label_selector(labels: Map) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels),
        ..Default::default()
    }
}

/// Metadata of an object that goes when the Mirror goes.
pub fn owned(fleet: &Fleet, labels: Map, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(fleet.namespace.clone()),
        labels: Some(labels),
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
pub fn applied(fleet: &Fleet, place: &Place, labels: Map, spec: &impl Serialize) -> ObjectMeta {
    applied_as(fleet, &place.child, labels, spec)
}

/// The same under another name than that of a region's objects.
pub fn applied_as(fleet: &Fleet, name: &str, labels: Map, spec: &impl Serialize) -> ObjectMeta {
    let fingerprint = crate::canonical::fingerprint(spec, &labels);
    let mut meta = owned(fleet, labels, name);
    meta.annotations = Some(map([(labels::APPLIED, fingerprint.as_str())]));
    meta
}

pub fn map<const N: usize>(pairs: [(&str, &str); N]) -> Map {
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}
