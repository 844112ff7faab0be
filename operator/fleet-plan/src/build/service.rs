//! The address that one region's clients use, and regions that copy from it.

use fleet_api::labels;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata::{applied, region_labels, serving_selector};
use super::pod::{FOLLOW_PORT, FOLLOW_PORT_NAME, HTTP_PORT_NAME};
use crate::fleet::{Fleet, Place};

pub fn service(fleet: &Fleet, place: &Place) -> Service {
    let spec = ServiceSpec {
        selector: Some(serving_selector(fleet, place)),
        ports: Some(vec![
            for_clients(fleet),
            port(FOLLOW_PORT_NAME, FOLLOW_PORT, FOLLOW_PORT_NAME),
        ]),
        ..Default::default()
    };
    Service {
        metadata: applied(
            fleet,
            place,
            region_labels(fleet, place, labels::COMPONENT_SERVING),
            &spec,
        ),
        spec: Some(spec),
        ..Default::default()
    }
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
