//! The address that one region's clients use, and regions that copy from it.

use fleet_api::labels;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata::{applied_as, region_labels, routed_selector, serving_selector};
use super::pod::{FOLLOW_PORT, FOLLOW_PORT_NAME, HTTP_PORT_NAME};
use crate::fleet::{Fleet, Place};
use crate::view::Routing;

pub fn service(fleet: &Fleet, place: &Place, routing: Routing) -> Service {
    let spec = ServiceSpec {
        selector: Some(match routing {
            Routing::Plain | Routing::Coming => serving_selector(fleet, place),
            Routing::ByLabel => routed_selector(fleet, place),
        }),
        ip_family_policy: ip_family_policy(fleet),
        ip_families: ip_families(fleet),
        // Replicas come to serve the next snapshot one moment apart: who has seen it stays with whom it was seen at.
        session_affinity: (routing != Routing::Plain).then(|| "ClientIP".to_owned()),
        ports: Some(vec![
            for_clients(fleet),
            port(FOLLOW_PORT_NAME, FOLLOW_PORT, FOLLOW_PORT_NAME),
        ]),
        ..Default::default()
    };
    let mut labels = region_labels(fleet, place, labels::COMPONENT_SERVING);
    let awaited = (labels::AWAITED.to_owned(), "true".to_owned());
    labels.extend((routing != Routing::Plain).then_some(awaited));
    Service {
        metadata: applied_as(fleet, &place.service, labels, &spec),
        spec: Some(spec),
        ..Default::default()
    }
}

/// Of which families its addresses are; none leaves it to the cluster.
pub fn ip_family_policy(fleet: &Fleet) -> Option<String> {
    let policy = fleet.spec.serving.ip_family_policy?;
    Some(policy.as_str().to_owned())
}

/// Which of them, the first one first.
pub fn ip_families(fleet: &Fleet) -> Option<Vec<String>> {
    let families = fleet.spec.serving.ip_families.iter();
    let families: Vec<String> = families.map(|family| family.as_str().to_owned()).collect();
    (!families.is_empty()).then_some(families)
}

/// The port that clients use.
pub fn for_clients(fleet: &Fleet) -> ServicePort {
    match fleet.tls_secret() {
        Some(_) => port("https", 443, HTTP_PORT_NAME),
        None => port("http", 80, HTTP_PORT_NAME),
    }
}

fn port(name: &str, port: i32, target: &str) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(target.to_owned())),
        ..Default::default()
    }
}
