//! Drains take one serving pod of a region at a time, and never wait for one that is not well anyway. Where a region has
//! several replicas, only those count to which clients are led: what is still copying lets nobody go in its place.

use fleet_api::labels;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata::{
    applied_as, label_selector, region_labels, routed_selector, serving_selector,
};
use crate::fleet::{Fleet, Place};
use crate::view::Routing;

pub fn disruption_budget(fleet: &Fleet, place: &Place, routing: Routing) -> PodDisruptionBudget {
    let others = i32::try_from(place.region.count() - 1).unwrap_or(i32::MAX);
    let is_counted = routing == Routing::ByLabel && others > 0;
    let selector = match is_counted {
        true => routed_selector(fleet, place),
        false => serving_selector(fleet, place),
    };
    let spec = PodDisruptionBudgetSpec {
        max_unavailable: (!is_counted).then_some(IntOrString::Int(1)),
        min_available: is_counted.then_some(IntOrString::Int(others)),
        selector: Some(label_selector(selector)),
        unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
    };
    PodDisruptionBudget {
        metadata: applied_as(
            fleet,
            &place.service,
            region_labels(fleet, place, labels::COMPONENT_SERVING),
            &spec,
        ),
        spec: Some(spec),
        ..Default::default()
    }
}
