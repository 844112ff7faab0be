//! The address that leads to all regions that are offered. A client stays with one of them.

use fleet_api::labels;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::metadata::{applied_as, map, mirror_labels};
use super::service::{for_clients, ip_families, ip_family_policy};
use crate::fleet::Fleet;
use crate::names;

pub fn mirror_service(fleet: &Fleet) -> Service {
    let spec = ServiceSpec {
        selector: Some(map([
            (labels::COMPONENT, labels::COMPONENT_SERVING),
            (labels::MIRROR, &fleet.name),
            (labels::OFFERED, "true"),
        ])),
        ports: Some(vec![for_clients(fleet)]),
        ip_family_policy: ip_family_policy(fleet),
        ip_families: ip_families(fleet),
        session_affinity: Some("ClientIP".to_owned()),
        ..Default::default()
    };
    let mut labels = mirror_labels(fleet, labels::COMPONENT_SERVING);
    labels.insert(labels::AWAITED.to_owned(), "true".to_owned());
    Service {
        metadata: applied_as(fleet, &names::mirror_name(&fleet.name), labels, &spec),
        spec: Some(spec),
        ..Default::default()
    }
}
