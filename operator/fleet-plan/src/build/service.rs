//! The address that one region's clients use.

use fleet_api::labels;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata::{applied, region_labels, serving_selector};
use super::pod::HTTP_PORT_NAME;
use crate::fleet::{Fleet, Place};

pub fn service(fleet: &Fleet, place: &Place) -> Service {
    let (name, port) = if fleet.tls_secret().is_some() {
        ("https", 443)
    } else {
        ("http", 80)
    };
    let spec = ServiceSpec {
        selector: Some(serving_selector(fleet, place)),
        ports: Some(vec![ServicePort {
            name: Some(name.to_owned()),
            port,
            protocol: Some("TCP".to_owned()),
            target_port: Some(IntOrString::String(HTTP_PORT_NAME.to_owned())),
            ..Default::default()
        }]),
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
