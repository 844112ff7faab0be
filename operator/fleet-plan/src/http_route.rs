//! As much of the Gateway API's HTTPRoute as is written and read here.
//! <https://gateway-api.sigs.k8s.io/reference/spec/#httproute>

use fleet_api::mirror::ParentReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use k8s_openapi::{ListableResource, Metadata, NamespaceResourceScope, Resource};
use serde::{Deserialize, Serialize};

/// Leads requests for some hosts and paths to a Service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRoute {
    /// Items of a list need not say it.
    #[serde(default = "api_version")]
    api_version: String,
    #[serde(default = "kind")]
    kind: String,
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: HttpRouteSpec,
    #[serde(default, skip_serializing_if = "HttpRouteStatus::is_empty")]
    pub status: HttpRouteStatus,
}

fn api_version() -> String {
    HttpRoute::API_VERSION.to_owned()
}

fn kind() -> String {
    HttpRoute::KIND.to_owned()
}

/// Whom it is served by, and what it leads where.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteSpec {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<HttpRouteRule>,
}

/// What meets one of the matches goes to one of the Services.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteRule {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<HttpRouteMatch>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backend_refs: Vec<BackendRef>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpRouteMatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PathMatch {
    /// `PathPrefix` here.
    #[serde(rename = "type")]
    pub kind: String,
    pub value: String,
}

/// A Service of the route's namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BackendRef {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
}

/// What each of its parents says of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpRouteStatus {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<RouteParentStatus>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteParentStatus {
    pub parent_ref: ParentReference,
    pub controller_name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl HttpRoute {
    pub fn new(metadata: ObjectMeta, spec: HttpRouteSpec) -> HttpRoute {
        HttpRoute {
            api_version: api_version(),
            kind: kind(),
            metadata,
            spec,
            status: HttpRouteStatus::default(),
        }
    }
}

impl HttpRouteStatus {
    fn is_empty(&self) -> bool {
        self.parents.is_empty()
    }
}

impl Resource for HttpRoute {
    const API_VERSION: &'static str = "gateway.networking.k8s.io/v1";
    const GROUP: &'static str = "gateway.networking.k8s.io";
    const KIND: &'static str = "HTTPRoute";
    const VERSION: &'static str = "v1";
    const URL_PATH_SEGMENT: &'static str = "httproutes";
    type Scope = NamespaceResourceScope;
}

impl ListableResource for HttpRoute {
    const LIST_KIND: &'static str = "HTTPRouteList";
}

impl Metadata for HttpRoute {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_says_what_it_is_and_what_others_add_is_let_by() {
        let text = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "a", "namespace": "ns"},
            "spec": {"parentRefs": [{"name": "public", "group": "gateway.networking.k8s.io"}], "hostnames": ["a.example"],
                "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/a"}, "method": "GET"}], "filters": [],
                    "backendRefs": [{"name": "b", "port": 80, "weight": 1}]}]},
            "status": {"parents": [{"parentRef": {"name": "public"}, "controllerName": "example.org/c", "conditions": []}]},
        });
        let read: HttpRoute = serde_json::from_value(text).unwrap();
        assert_eq!(read.spec.rules[0].backend_refs[0].port, Some(80));
        let written = serde_json::to_value(HttpRoute::new(read.metadata, read.spec)).unwrap();
        assert_eq!(written["kind"], "HTTPRoute");
        assert_eq!(written["apiVersion"], "gateway.networking.k8s.io/v1");
        assert!(written.get("status").is_none());
    }
}
