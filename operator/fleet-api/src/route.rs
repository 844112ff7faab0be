//! How clients outside of the cluster are led to a region, and by which families of addresses its Services are reached.

use std::collections::BTreeMap;

use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What in a name stands for the region's.
const REGION: &str = "$(region)";

/// An HTTPRoute or Ingress for each region that has a `host`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"),
    validation = Rule::new("self.kind == 'HTTPRoute' ? has(self.parentRefs) && size(self.parentRefs) > 0 : !has(self.parentRefs) || size(self.parentRefs) == 0")
        .message("serving.route.parentRefs names the Gateways of an HTTPRoute: write one at least, for example `- name: public`; an Ingress has none"),
    validation = Rule::new("self.kind == 'Ingress' || !has(self.ingressClassName)")
        .message("serving.route.ingressClassName is of an Ingress: leave it out for an HTTPRoute, whose parentRefs say who is to serve it"),
    validation = Rule::new("self.kind == 'Ingress' || !has(self.tlsSecretName)")
        .message("serving.route.tlsSecretName is of an Ingress: an HTTPRoute has no certificate, name it in the listener of its Gateway, and write serving.route.scheme: https"),
    validation = Rule::new("!has(self.tlsSecretName) || !has(self.scheme) || self.scheme == 'https'")
        .message("serving.route.scheme is https where there is a tlsSecretName: leave scheme out"),
)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// `HTTPRoute` (Gateway API, gateway.networking.k8s.io/v1) or `Ingress` (networking.k8s.io/v1). The installation must
    /// let controllers make it.
    pub kind: RouteKind,
    /// Of an HTTPRoute: the Gateways, or listeners of them, by which it is to be served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub parent_refs: Vec<ParentReference>,
    /// Of an Ingress: the IngressClass that is to serve it; the cluster's default without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = crate::rules::OBJECT_NAME))]
    pub ingress_class_name: Option<String>,
    /// Of an Ingress: the Secret with the certificate for the hosts, in the Mirror's namespace. The ingress controller reads it
    /// and takes up a new one by itself; we never do. `$(region)` in it stands for the region's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^([a-z0-9]|[$][(]region[)])([-.a-z0-9]|[$][(]region[)])*$')").message("write serving.route.tlsSecretName as the name of a Secret, in which $(region) may stand for the region's name"))]
    pub tls_secret_name: Option<String>,
    /// Whether clients are to write `http` or `https`. Without it: `https` where there is a `tlsSecretName`. A Gateway's
    /// listener, or an ingress controller's own certificate, is known to you only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// Annotations of the HTTPRoutes or Ingresses, for external-dns, cert-manager and the like. What their keys may begin with
    /// says the installation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,
}

/// What a route is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RouteKind {
    /// Of the Gateway API.
    HTTPRoute,
    /// Of Kubernetes itself.
    Ingress,
}

impl RouteKind {
    /// Kubernetes' word.
    pub const fn as_str(self) -> &'static str {
        match self {
            RouteKind::HTTPRoute => "HTTPRoute",
            RouteKind::Ingress => "Ingress",
        }
    }
}

/// How a URL begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Without TLS.
    #[default]
    Http,
    /// With TLS, which ends at the Gateway or the ingress controller.
    Https,
}

/// A Gateway, or one of its listeners, as in an HTTPRoute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentReference {
    /// Its API group; `gateway.networking.k8s.io` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = crate::rules::OBJECT_NAME_OR_EMPTY))]
    pub group: Option<String>,
    /// Its kind; `Gateway` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$")
    )]
    pub kind: Option<String>,
    /// Its namespace; the Mirror's without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub namespace: Option<String>,
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = crate::rules::OBJECT_NAME))]
    pub name: String,
    /// The listener; all that fit without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = crate::rules::OBJECT_NAME))]
    pub section_name: Option<String>,
    /// The listener's port; any without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}

impl ParentReference {
    /// What people call it, seen from a namespace.
    pub fn title(&self, namespace: &str) -> String {
        let kind = self.kind.as_deref().unwrap_or("Gateway");
        let namespace = self.namespace.as_deref().unwrap_or(namespace);
        let listener = self.section_name.as_ref();
        let listener = listener.map(|name| format!(" (listener {name})"));
        let name = &self.name;
        format!("{kind} {namespace}/{name}{}", listener.unwrap_or_default())
    }
}

impl Route {
    /// How clients begin the URL.
    pub fn scheme(&self) -> &'static str {
        let told = self.scheme.unwrap_or(match self.tls_secret_name {
            Some(_) => Scheme::Https,
            None => Scheme::Http,
        });
        match told {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The Secret of a region's Ingress.
    pub fn tls_secret_of(&self, region: &str) -> Option<String> {
        let name = self.tls_secret_name.as_ref()?;
        Some(name.replace(REGION, region))
    }
}

/// Of which families a Service has addresses, as Kubernetes names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IpFamilyPolicy {
    /// Of one.
    SingleStack,
    /// Of both where the cluster has both.
    PreferDualStack,
    /// Of both, or the cluster refuses the Service.
    RequireDualStack,
}

impl IpFamilyPolicy {
    /// Kubernetes' word.
    pub const fn as_str(self) -> &'static str {
        match self {
            IpFamilyPolicy::SingleStack => "SingleStack",
            IpFamilyPolicy::PreferDualStack => "PreferDualStack",
            IpFamilyPolicy::RequireDualStack => "RequireDualStack",
        }
    }
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IpFamily {
    /// `192.0.2.1`
    IPv4,
    /// `2001:db8::1`
    IPv6,
}

impl IpFamily {
    /// Kubernetes' word.
    pub const fn as_str(self) -> &'static str {
        match self {
            IpFamily::IPv4 => "IPv4",
            IpFamily::IPv6 => "IPv6",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_certificate_makes_it_https_and_each_region_may_have_its_own() {
        let route = |more: serde_json::Value| -> Route {
            let mut whole = json!({"kind": "Ingress"});
            whole
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            serde_json::from_value(whole).unwrap()
        };
        assert_eq!(route(json!({})).scheme(), "http");
        assert_eq!(route(json!({"scheme": "https"})).scheme(), "https");
        let own = route(json!({"tlsSecretName": "mirror-$(region)-tls"}));
        assert_eq!(own.scheme(), "https");
        assert_eq!(own.tls_secret_of("eu").as_deref(), Some("mirror-eu-tls"));
    }

    #[test]
    fn a_gateway_is_told_with_its_namespace() {
        let named = |value| serde_json::from_value::<ParentReference>(value).unwrap();
        assert_eq!(named(json!({"name": "a"})).title("ns"), "Gateway ns/a");
        let listener = json!({"name": "a", "namespace": "infra", "sectionName": "https"});
        assert_eq!(
            named(listener).title("ns"),
            "Gateway infra/a (listener https)"
        );
    }
}
