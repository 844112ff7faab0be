//! HTTPRoutes and Ingresses of ours, and what those say of them who are to serve them.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::{SeenApplied, SeenMeta};
use crate::http_route::{HttpRoute, RouteParentStatus};

/// So much is kept of a sentence, in characters.
const WORDS: usize = 400;

/// An HTTPRoute or an Ingress.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenRoute {
    /// With the annotations of others too.
    pub applied: SeenApplied,
    /// Whether somebody serves it as it is now: a parent of the HTTPRoute has accepted it, or the Ingress has an address.
    pub accepted: bool,
    /// What speaks against it, in the words of those parents who do not accept it.
    pub refusals: Vec<String>,
}

impl SeenRoute {
    fn of(meta: &ObjectMeta, spec: &impl Serialize) -> SeenRoute {
        let written_by_kubectl = "kubectl.kubernetes.io/last-applied-configuration";
        let mut annotations: BTreeMap<_, _> = meta.annotations.clone().unwrap_or_default();
        annotations.remove(written_by_kubectl);
        let applied = SeenApplied::of(meta, spec);
        SeenRoute {
            applied: SeenApplied {
                meta: SeenMeta {
                    annotations,
                    ..applied.meta
                },
                ..applied
            },
            ..SeenRoute::default()
        }
    }
}

impl From<&Ingress> for SeenRoute {
    fn from(ingress: &Ingress) -> SeenRoute {
        let status = ingress.status.as_ref();
        let balancer = status.and_then(|status| status.load_balancer.as_ref());
        let addresses = balancer.and_then(|balancer| balancer.ingress.as_ref());
        SeenRoute {
            accepted: addresses.is_some_and(|addresses| !addresses.is_empty()),
            ..SeenRoute::of(&ingress.metadata, &ingress.spec)
        }
    }
}

impl From<&HttpRoute> for SeenRoute {
    fn from(route: &HttpRoute) -> SeenRoute {
        let generation = route.metadata.generation.unwrap_or(0);
        let namespace = route.metadata.namespace.as_deref().unwrap_or_default();
        let parents = || route.status.parents.iter();
        let refusals = parents().flat_map(|parent| refusal(parent, generation, namespace));
        SeenRoute {
            accepted: parents().any(|parent| is_accepted(parent, generation)),
            refusals: refusals.collect(),
            ..SeenRoute::of(&route.metadata, &route.spec)
        }
    }
}

/// Conditions of a route. `Programmed` is of Gateways.
const ACCEPTED: &str = "Accepted";
const RESOLVED_REFS: &str = "ResolvedRefs";

/// What a parent says by a condition about the route as it is now.
fn said<'p>(
    parent: &'p RouteParentStatus,
    kind: &str,
    generation: i64,
) -> Option<(&'p str, String)> {
    let mut conditions = parent.conditions.iter();
    let said = conditions.find(|known| known.type_ == kind)?;
    let is_of_now = said.observed_generation.is_none_or(|of| of >= generation);
    let words = format!("{}: {}", said.reason, said.message);
    let words = words.chars().take(WORDS).collect();
    is_of_now.then_some((said.status.as_str(), words))
}

fn is_accepted(parent: &RouteParentStatus, generation: i64) -> bool {
    let said = |kind| said(parent, kind, generation).map(|(status, _)| status);
    said(ACCEPTED) == Some("True") && said(RESOLVED_REFS) != Some("False")
}

fn refusal(parent: &RouteParentStatus, generation: i64, namespace: &str) -> Option<String> {
    let kinds = [ACCEPTED, RESOLVED_REFS].into_iter();
    let mut said = kinds.filter_map(|kind| said(parent, kind, generation));
    let (_, words) = said.find(|(status, _)| *status == "False")?;
    Some(format!(
        "{} says {words}",
        parent.parent_ref.title(namespace)
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn http_route(conditions: serde_json::Value) -> SeenRoute {
        let route: HttpRoute = serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "ns", "generation": 3, "annotations": {
                "external-dns.alpha.kubernetes.io/ttl": "60", "kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "spec": {"hostnames": ["a.example"]},
            "status": {"parents": [{"parentRef": {"name": "public", "namespace": "infra"}, "controllerName": "example.org/c",
                "conditions": conditions}]},
        }))
        .unwrap();
        SeenRoute::from(&route)
    }

    fn condition(kind: &str, status: &str, generation: i64) -> serde_json::Value {
        json!({"type": kind, "status": status, "reason": "NotAllowedByListeners", "message": "no listener takes it",
            "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z"})
    }

    #[test]
    fn a_route_is_accepted_by_a_parent_that_looked_at_it_as_it_is_now() {
        let accepted = |conditions| http_route(conditions).accepted;
        assert!(accepted(json!([condition(ACCEPTED, "True", 3)])));
        assert!(
            !accepted(json!([condition(ACCEPTED, "True", 2)])),
            "of the one before"
        );
        assert!(!accepted(json!([])));
        let unresolved = json!([
            condition(ACCEPTED, "True", 3),
            condition(RESOLVED_REFS, "False", 3)
        ]);
        assert!(!accepted(unresolved));
    }

    #[test]
    fn a_parent_that_refuses_it_is_told_in_its_own_words() {
        let seen = http_route(json!([condition(ACCEPTED, "False", 3)]));
        assert!(!seen.accepted);
        assert_eq!(
            seen.refusals,
            ["Gateway infra/public says NotAllowedByListeners: no listener takes it"]
        );
        let before = http_route(json!([condition(ACCEPTED, "False", 2)]));
        assert!(before.refusals.is_empty(), "of the one before");
    }

    #[test]
    fn annotations_of_others_are_seen() {
        let seen = http_route(json!([]));
        let ttl = seen
            .applied
            .meta
            .annotation("external-dns.alpha.kubernetes.io/ttl");
        assert_eq!(ttl, Some("60"));
        assert_eq!(seen.applied.meta.annotations.len(), 1);
    }

    #[test]
    fn an_ingress_is_accepted_once_it_has_an_address() {
        let ingress = |status: serde_json::Value| -> SeenRoute {
            let ingress: Ingress =
                serde_json::from_value(json!({"metadata": {"name": "a"}, "status": status}))
                    .unwrap();
            SeenRoute::from(&ingress)
        };
        assert!(!ingress(json!({})).accepted);
        assert!(!ingress(json!({"loadBalancer": {}})).accepted);
        assert!(ingress(json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}})).accepted);
    }
}
