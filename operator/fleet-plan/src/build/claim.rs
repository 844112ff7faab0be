//! The volume of one region. It has no owner: data outlives the Mirror unless its manifest says otherwise.

use fleet_api::labels;
use fleet_api::mirror::AccessMode;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::metadata::{map, replica_labels};
use crate::fleet::{Fleet, Place};
use crate::inputs;

pub fn claim(fleet: &Fleet, place: &Place) -> PersistentVolumeClaim {
    let storage = &fleet.spec.storage;
    let size = place.region.size(storage);
    let (upstream_type, authority) = inputs::identity(fleet.upstream_spec());
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(place.child.clone()),
            namespace: Some(fleet.namespace.clone()),
            labels: Some(replica_labels(fleet, place, labels::COMPONENT_SERVING)),
            annotations: Some(map([
                (labels::STORE_TYPE, &upstream_type),
                (labels::STORE_AUTHORITY, &authority),
            ])),
            ..Default::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec![access_mode(storage.access_mode).to_owned()]),
            storage_class_name: place.region.storage_class(storage).cloned(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Quantity(size.to_string()))].into()),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

const fn access_mode(mode: AccessMode) -> &'static str {
    match mode {
        AccessMode::ReadWriteOnce => "ReadWriteOnce",
        AccessMode::ReadWriteMany => "ReadWriteMany",
    }
}
