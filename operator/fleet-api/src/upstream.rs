//! `Upstream`: where the master copy is, and whom to trust.

use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use url::Url;

pub use crate::trust::{Databases, KeyRef, RefKind, Signatures, TrustSpec, WebOfTrust};
pub(crate) use crate::upstream_status::unobserved;
pub use crate::upstream_status::{
    EndpointState, EndpointStatus, ObservedUnit, OutdatedUnit, PastState, UpstreamStatus,
};
use crate::{ByteQuantity, GoDuration};

/// A master repository that Mirrors copy: its kind, where it is, whom to trust and how gently to treat it.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "mirrorfleet.dev",
    version = "v1alpha1",
    kind = "Upstream",
    namespaced,
    shortname = "ups"
)]
#[kube(
    status = "UpstreamStatus",
    category = "mirrorfleet",
    derive = "PartialEq"
)]
#[kube(crates(kube_core = "kube_core"), selectable = ".spec.type")]
#[kube(
    doc = "A master repository that Mirrors copy: its kind, where it is, whom to trust and how gently to treat it.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Revision", type_ = "date", json_path = ".status.revisionDate"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Authority",
        type_ = "string",
        json_path = ".spec.authority.url",
        priority = 1
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[x_kube(
    crates(kube_core = "kube_core"),
    validation = Rule::new("self.type == oldSelf.type")
        .message("type cannot be changed: create another Upstream, and Mirrors of it").field_path(".type"),
    validation = Rule::new("self.type == 'Npm' || self.trust.signatures != 'Required' || has(self.trust.keyringRef)")
        .message("trust.keyringRef is missing: name the Secret or ConfigMap that holds the keyring, or set trust.signatures to None and accept whatever the upstream sends")
        .field_path(".trust"),
    validation = Rule::new("self.type != 'Arch' || self.trust.signatures == 'None' || has(self.trust.keyringRef)")
        .message("trust.keyringRef is missing: name the Secret or ConfigMap that holds the keyring, or set trust.signatures to None and let clients judge what is copied")
        .field_path(".trust"),
    validation = Rule::new("self.type != 'Npm' || !has(self.trust.keyringRef)")
        .message("trust is about OpenPGP keys: leave it out for an npm registry, whose packages are compared with what was first promised for them").field_path(".trust"),
    validation = Rule::new("self.type != 'Npm' || !has(self.endpoints) || size(self.endpoints) == 0")
        .message("an npm registry is asked at its authority: leave endpoints out").field_path(".endpoints"),
    validation = Rule::new("self.type == 'Arch' || !has(self.trust.webOfTrust)")
        .message("trust.webOfTrust is how pacman judges packages: leave it out for other types").field_path(".trust"),
    validation = Rule::new("self.type == 'Arch' || !has(self.trust.databases)")
        .message("trust.databases is about repositories of pacman: leave it out for other types").field_path(".trust"),
    validation = Rule::new("!has(self.trust.databases) || self.trust.databases != 'Required' || self.trust.signatures != 'None'")
        .message("trust.databases Required asks for what trust.signatures None does not look at: leave one of them out").field_path(".trust"),
    validation = Rule::new("self.type != 'Arch' || (self.trust.minGoodSignatures == 1 && !self.trust.allSignaturesGood)")
        .message("trust.minGoodSignatures and trust.allSignaturesGood are rules over signed indices: leave them out, pacman wants every signature of a package to be good")
        .field_path(".trust"),
    validation = Rule::new("!has(self.trust.additionalKeyringRefs) || has(self.trust.keyringRef)")
        .message("trust.additionalKeyringRefs adds to trust.keyringRef: name that one too").field_path(".trust"),
    validation = Rule::new("!self.trust.allSignaturesGood || self.trust.signatures != 'None'")
        .message("trust.allSignaturesGood asks for what trust.signatures None does not look at: leave one of them out").field_path(".trust"),
)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamSpec {
    /// The kind of repository.
    #[serde(rename = "type")]
    pub upstream_type: UpstreamType,
    /// What freshness is measured against, usually the master itself. Never downloaded from in bulk where endpoints are given.
    pub authority: Authority,
    /// Where content is fetched from, lowest priority first. Without any, the authority is the only endpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub endpoints: Vec<Endpoint>,
    /// How often the authority and the endpoints are asked for their revision.
    #[serde(default)]
    pub probe: Probe,
    /// Whose signatures to believe.
    #[serde(default)]
    pub trust: TrustSpec,
    /// Credentials, certificate authorities and proxy.
    #[serde(default)]
    pub access: Access,
    /// One budget for all Mirrors of this Upstream.
    #[serde(default)]
    pub politeness: Politeness,
    /// Who may say that there is something new, so that a run begins at once.
    #[serde(default, skip_serializing_if = "Push::is_empty")]
    pub push: Push,
}

impl UpstreamSpec {
    /// Whether asking this Upstream needs what stands in a Secret. The controller may not read it: Jobs ask in its place.
    pub fn needs_secrets(&self) -> bool {
        let bundle = self.access.ca_bundle_ref.as_ref();
        self.access.credentials_ref.is_some()
            || bundle.is_some_and(|bundle| bundle.kind == RefKind::Secret)
    }

    /// The endpoints that Jobs ask and not the controller: all where the Upstream needs a Secret, else those that are asked by
    /// the program rsync, which resolves names itself, so that nobody could hold it to where the controller may connect.
    pub fn endpoints_of_jobs(&self) -> impl Iterator<Item = &Endpoint> {
        let all = self.needs_secrets();
        let endpoints = self.endpoints.iter();
        endpoints.filter(move |endpoint| all || endpoint.is_rsync())
    }

    /// Whether Jobs ask anything of it.
    pub fn is_asked_by_jobs(&self) -> bool {
        self.needs_secrets() || self.endpoints_of_jobs().next().is_some()
    }
}

/// The kinds of repository that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum UpstreamType {
    /// A Debian archive or any other apt repository.
    Debian,
    /// Arch Linux, or whoever else publishes repositories for pacman.
    Arch,
    /// npm's registry, or whatever speaks as it does. For Mirrors of `mode: PullThrough`.
    Npm,
}

impl UpstreamType {
    pub const fn as_str(self) -> &'static str {
        match self {
            UpstreamType::Debian => "Debian",
            UpstreamType::Arch => "Arch",
            UpstreamType::Npm => "Npm",
        }
    }
}

/// What freshness is measured against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct Authority {
    /// http or https URL of the repository's root (Debian: the folder that holds `dists/`; Arch: what a mirrorlist has before
    /// `$repo`; Npm: the registry's address). `file` only outside a cluster.
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^/@?# ]+(/[^?# ]*)?$')").message(URL_MESSAGE))]
    #[serde(deserialize_with = "url")]
    pub url: Url,
}

/// A URL that content is fetched from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// A word for it in messages and metrics.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message(crate::rules::NAME_MESSAGE))]
    pub name: String,
    /// http, https or rsync URL of the repository's root. An rsync URL begins with a module of the daemon, and needs the
    /// program rsync, which our image has. `file` only outside a cluster.
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^(https?://[^/@?# ]+(/[^?# ]*)?|rsync://[^/@?# ]+/[^/?#*\\\\[ ][^?#*\\\\[ ]*)$')").message(ENDPOINT_MESSAGE))]
    #[serde(deserialize_with = "url")]
    pub url: Url,
    /// Lower is tried first.
    #[schemars(range(min = 0, max = 1000))]
    #[serde(default)]
    pub priority: i32,
}

impl Endpoint {
    pub fn is_rsync(&self) -> bool {
        self.url.scheme() == "rsync"
    }
}

/// How often to look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Time between two probes, at least one minute. Where a Job asks, since the Upstream needs a Secret or the endpoint is an
    /// rsync one, at least half an hour.
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m')").message("probe.interval must be at least 1m: others use that upstream too"))]
    #[serde(default = "Probe::default_interval")]
    pub interval: GoDuration,
}

impl Probe {
    const fn default_interval() -> GoDuration {
        GoDuration::from_secs(600)
    }
}

impl Default for Probe {
    fn default() -> Self {
        Probe {
            interval: Self::default_interval(),
        }
    }
}

/// Who may say that there is something new.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Push {
    /// SHA-256 of each token that counts, as 64 hexadecimal digits: what `printf %s TOKEN | sha256sum` prints. Two of them while
    /// one takes the other's place. A token is as random as a key: `openssl rand -hex 32`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 4),
        inner(length(max = 64), regex(pattern = "^[0-9a-f]{64}$"))
    )]
    pub token_sha256: Vec<String>,
}

impl Push {
    fn is_empty(&self) -> bool {
        self.token_sha256.is_empty()
    }
}

/// How to get at the upstream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// A Secret with `username` and `password`, or with `token` (sent as a bearer token; not over rsync). Its key `hosts`
    /// names, one a line, who may get them: `host` or `host:port` over https, `http://host` or `rsync://host` without
    /// TLS. Other hosts of this Upstream are asked without credentials; where none is named, no run begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<SecretRef>,
    /// PEM certificates to trust besides the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<CaBundleRef>,
    /// http or https proxy for all requests to this Upstream; http for rsync. Without it, the environment's proxy
    /// variables count.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "optional_url"
    )]
    #[schemars(length(max = 2048), regex(pattern = "^https?://[^/@?# ]+/?$"))]
    pub proxy_url: Option<Url>,
}

/// A Secret in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = crate::rules::OBJECT_NAME))]
    pub name: String,
}

/// PEM certificates in a Secret or ConfigMap in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaBundleRef {
    /// Where the key is.
    #[serde(default = "CaBundleRef::default_kind")]
    pub kind: RefKind,
    /// Name of the Secret or ConfigMap.
    #[schemars(length(min = 1, max = 253), regex(pattern = crate::rules::OBJECT_NAME))]
    pub name: String,
    /// Key inside it.
    #[schemars(length(min = 1, max = 253), regex(pattern = crate::rules::DATA_KEY))]
    #[serde(default = "CaBundleRef::default_key")]
    pub key: String,
}

impl CaBundleRef {
    const fn default_kind() -> RefKind {
        RefKind::ConfigMap
    }
    fn default_key() -> String {
        "ca.crt".to_owned()
    }
}

/// How gently to treat the upstream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct Politeness {
    /// Connections at once, over all runs. Where none is declared, 8; to an Upstream of type Npm 32, since it is asked in place
    /// of clients that each open as many.
    #[schemars(range(min = 1, max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// Bytes a second, over all connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("quantity(self).isGreaterThan(quantity('0'))").message("a bandwidth of 0 would never fetch anything; leave it out for no limit"))]
    pub bandwidth: Option<ByteQuantity>,
    /// Least time between the starts of two rounds of syncs that were not asked for by a person. A round is one run in
    /// every region, with its retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_interval: Option<GoDuration>,
    /// Sent in the User-Agent, so that the upstream's operators can reach you.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), regex(pattern = "^[!-~]([ -~]*[!-~])?$"))]
    pub contact: Option<String>,
}

impl UpstreamSpec {
    /// Connections to it at once.
    pub fn max_connections(&self) -> u32 {
        self.politeness
            .max_connections
            .unwrap_or(match self.upstream_type {
                UpstreamType::Npm => 32,
                UpstreamType::Debian | UpstreamType::Arch => 8,
            })
    }
}

/// What is no URL is not repeated: it may hold a password or a token.
fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    parsed(&String::deserialize(deserializer)?)
}

fn optional_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.as_deref().map(parsed).transpose()
}

fn parsed<E: serde::de::Error>(text: &str) -> Result<Url, E> {
    Url::parse(text).map_err(|error| E::custom(format_args!("not a URL: {error}")))
}

/// What the message of a wrong URL of an endpoint says.
const ENDPOINT_MESSAGE: &str = "write an http://, https:// or rsync://host/module/ URL without user, password, query or fragment; credentials belong into access.credentialsRef, and file:// exists only for `mirrorfleet local`";

/// What the message of a wrong URL says.
const URL_MESSAGE: &str = "write an http:// or https:// URL without user, password, query or fragment; credentials belong into access.credentialsRef, and file:// exists only for `mirrorfleet local`";
