//! What leads clients outside of the cluster to one region: an HTTPRoute or an Ingress of the same paths.
//!
//! Each Mirror has paths of its own, so that several can share a host: that of the copy, and those of what our server tells
//! of it.

use fleet_api::labels;
use fleet_api::mirror::{Route, RouteKind};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule,
    IngressServiceBackend, IngressSpec, IngressTLS, ServiceBackendPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::metadata::{owned, region_labels};
use crate::canonical::fingerprint;
use crate::fleet::{Fleet, Place};
use crate::http_route::{
    BackendRef, HttpRoute, HttpRouteMatch, HttpRouteRule, HttpRouteSpec, PathMatch,
};
use crate::object::Object;

/// The port of a region's Service, where pods speak plain http.
const PORT: i32 = 80;

/// The route of a region to `host`.
pub fn route(fleet: &Fleet, place: &Place, route: &Route, host: &str) -> Object {
    match route.kind {
        RouteKind::HTTPRoute => http_route(fleet, place, route, host).into(),
        RouteKind::Ingress => ingress(fleet, place, route, host).into(),
    }
}

fn http_route(fleet: &Fleet, place: &Place, route: &Route, host: &str) -> HttpRoute {
    let matches = paths(fleet).into_iter().map(|value| HttpRouteMatch {
        path: Some(PathMatch {
            kind: "PathPrefix".to_owned(),
            value,
        }),
    });
    let spec = HttpRouteSpec {
        parent_refs: route.parent_refs.clone(),
        hostnames: vec![host.to_owned()],
        rules: vec![HttpRouteRule {
            matches: matches.collect(),
            backend_refs: vec![BackendRef {
                name: place.service.clone(),
                port: Some(PORT),
            }],
        }],
    };
    HttpRoute::new(metadata(fleet, place, route, &spec), spec)
}

fn ingress(fleet: &Fleet, place: &Place, route: &Route, host: &str) -> Ingress {
    let paths = paths(fleet).into_iter().map(|path| HTTPIngressPath {
        path: Some(path),
        path_type: "Prefix".to_owned(),
        backend: IngressBackend {
            service: Some(IngressServiceBackend {
                name: place.service.clone(),
                port: Some(ServiceBackendPort {
                    number: Some(PORT),
                    ..Default::default()
                }),
            }),
            ..Default::default()
        },
    });
    let tls = route.tls_secret_of(&place.region.name);
    let tls = tls.map(|secret| IngressTLS {
        hosts: Some(vec![host.to_owned()]),
        secret_name: Some(secret),
    });
    let spec = IngressSpec {
        ingress_class_name: route.ingress_class_name.clone(),
        tls: tls.map(|tls| vec![tls]),
        rules: Some(vec![IngressRule {
            host: Some(host.to_owned()),
            http: Some(HTTPIngressRuleValue {
                paths: paths.collect(),
            }),
        }]),
        ..Default::default()
    };
    Ingress {
        metadata: metadata(fleet, place, route, &spec),
        spec: Some(spec),
        ..Default::default()
    }
}

/// Below which clients ask: prefixes of whole parts.
fn paths(fleet: &Fleet) -> Vec<String> {
    let path = fleet.mirror.serving_path();
    let of_server = ["mirrorlist", "nearest", "s"];
    let of_server = of_server.map(|part| format!("/.mirrorfleet/{part}/{path}"));
    let aliases = &fleet.spec.serving.aliases;
    let aliases = aliases.iter().map(|alias| format!("/{alias}"));
    [format!("/{path}")]
        .into_iter()
        .chain(aliases)
        .chain(of_server)
        .collect()
}

/// Its digest covers annotations too: one that is no longer declared is taken back.
fn metadata(fleet: &Fleet, place: &Place, route: &Route, spec: &impl Serialize) -> ObjectMeta {
    let labels = region_labels(fleet, place, labels::COMPONENT_SERVING);
    let digest = fingerprint(&(spec, &route.annotations), &labels);
    let mut annotations = route.annotations.clone();
    annotations.insert(labels::APPLIED.to_owned(), digest);
    ObjectMeta {
        annotations: Some(annotations),
        ..owned(fleet, labels, &place.service)
    }
}
