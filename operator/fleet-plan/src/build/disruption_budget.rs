//! Drains take one serving pod of a region at a time, and never wait for one that is not well anyway.

use fleet_api::labels;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata::{applied, label_selector, region_labels, serving_selector};
use crate::fleet::{Fleet, Place};

pub fn disruption_budget(fleet: &Fleet, place: &Place) -> PodDisruptionBudget {
    let spec = PodDisruptionBudgetSpec {
        max_unavailable: Some(IntOrString::Int(1)),
        selector: Some(label_selector(serving_selector(fleet, place))),
        unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        ..Default::default()
    };
    PodDisruptionBudget {
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
