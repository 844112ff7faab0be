//! How a Mirror is served.

use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pods::Resources;
use crate::route::{IpFamily, IpFamilyPolicy, Route};

/// How clients see the copy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"),
    validation = Rule::new("!has(self.route) || !has(self.tls) || !has(self.tls.secretName) || self.tls.secretName == ''")
        .message("serving.route leads to pods that speak plain http: TLS ends at the Gateway or the ingress controller; leave out serving.tls, or serving.route"),
    validation = Rule::new("!has(self.ipFamilies) || size(self.ipFamilies) < 2 || !has(self.ipFamilyPolicy) || self.ipFamilyPolicy != 'SingleStack'")
        .message("a Service of ipFamilyPolicy SingleStack has one family: write one in serving.ipFamilies, or another policy"),
)]
#[serde(rename_all = "camelCase")]
pub struct Serving {
    /// The mirror is served under `/<path>/`; the Mirror's name without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    #[x_kube(validation = Rule::new("self == '' || self.matches('^[A-Za-z0-9][A-Za-z0-9._~-]*(/[A-Za-z0-9][A-Za-z0-9._~-]*)*$')").message("write serving.path without slashes at its ends, for example debian or linux/debian; a part begins with a letter or digit"))]
    pub path: String,
    /// Further paths under which an npm registry is served, such as `repository/npm` and `artifactory/api/npm/npm`: whoever
    /// moves here changes the host name only. What a client is told leads to the path by which it asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 128)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(a, a.matches('^[A-Za-z0-9][A-Za-z0-9._~-]*(/[A-Za-z0-9][A-Za-z0-9._~-]*)*$'))").message("write serving.aliases without slashes at their ends, for example repository/npm; a part begins with a letter or digit"))]
    pub aliases: Vec<String>,
    /// Whether folders answer with a list of what is in them.
    #[serde(default = "Serving::default_listing")]
    pub directory_listing: bool,
    /// The name of this mirror's trace file, for example the host name that clients use; of the regions that say none of
    /// their own in `regions[].traceName`. Without one that is the host of a region's `publicUrl`, else the Mirror's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(crate::rules::HOST_NAME_OR_EMPTY).message("write serving.traceName as a host name, for example mirror.example.org"))]
    pub trace_name: String,
    /// Which apt clients are sent to one kept snapshot for a whole update, so that no publication comes in between.
    #[serde(default)]
    pub transactions: Transactions,
    /// Serve https (HTTP/1.1 and h2) with a certificate from a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Leads clients outside of the cluster to the regions that have a `host`, by an HTTPRoute or an Ingress for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// Whether the Services have addresses of IPv4, of IPv6, or of both; the cluster's choice without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_family_policy: Option<IpFamilyPolicy>,
    /// Of which families, the first one first; the cluster's choice without it. Kubernetes lets nobody change the first one of a
    /// Service that is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub ip_families: Vec<IpFamily>,
    /// Networks of the proxies before this mirror (`10.0.0.0/8`) whose `X-Forwarded-For`, `-Host`, `-Proto`, `-Prefix` or
    /// `Forwarded` say who the client is and how it asks: for lists of regions, for where answers lead, and for the addresses in
    /// documents of an npm registry. Without them it is whoever connects, and whatever that one asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 43)))]
    #[x_kube(validation = Rule::new(crate::rules::NETWORKS).message("write serving.trustedProxies as networks, an address and the length of its prefix: 198.51.100.0/24 or 2001:db8::/32"))]
    pub trusted_proxies: Vec<String>,
    /// Resources of the serving pods; without them a request of 50m and 64Mi and a limit of 512Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

impl Serving {
    const fn default_listing() -> bool {
        true
    }

    /// The name of the trace file of all regions that have none of their own; none: see [`Region::own_trace_name`].
    ///
    /// [`Region::own_trace_name`]: crate::mirror::Region::own_trace_name
    pub fn trace_name(&self) -> Option<&str> {
        Some(self.trace_name.as_str()).filter(|name| !name.is_empty())
    }
}

impl Default for Serving {
    fn default() -> Self {
        Serving {
            path: String::new(),
            aliases: Vec::new(),
            directory_listing: true,
            trace_name: String::new(),
            transactions: Transactions::default(),
            tls: None,
            route: None,
            ip_family_policy: None,
            ip_families: Vec::new(),
            trusted_proxies: Vec::new(),
            resources: None,
        }
    }
}

/// Which apt clients are sent to one kept snapshot for a whole update.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Transactions {
    /// Those of suites whose Release does not say `Acquire-By-Hash: yes`.
    #[default]
    WithoutByHash,
    /// All of them.
    Always,
    /// None; every name is served from the newest snapshot.
    Never,
}

/// Transport security of the serving pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// A Secret of type kubernetes.io/tls; empty serves plain http.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253), regex(pattern = crate::rules::OBJECT_NAME_OR_EMPTY))]
    pub secret_name: String,
}
