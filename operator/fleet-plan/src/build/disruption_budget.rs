//! Drains take one serving pod of a region at a time, and never wait for one that is not well anyway.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata::{applied, label_selector, serving_selector};
use crate::fleet::{Fleet, Site};

pub fn disruption_budget(fleet: &Fleet, site: &Site) -> PodDisruptionBudget {
    let spec = PodDisruptionBudgetSpec {
        max_unavailable: Some(IntOrString::Int(1)),
        selector: Some(label_selector(serving_selector(fleet, site))),
        unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        ..Default::default()
    };
    PodDisruptionBudget {
        metadata: applied(fleet, site, &spec),
        spec: Some(spec),
        ..Default::default()
    }
}
