//! Where copies are stored and served, and how a snapshot comes to all of them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::mirror::Storage;
use crate::mirror_status::is_false;
use crate::names::is_host_name;
use crate::{ByteQuantity, GoDuration};

/// A place where a copy is stored and served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"),
    validation = Rule::new("!has(oldSelf.storage) || !has(oldSelf.storage.size) || (has(self.storage) && has(self.storage.size) && quantity(self.storage.size).compareTo(quantity(oldSelf.storage.size)) >= 0)")
        .message("regions[].storage.size may only grow: write at least the size that was declared before"),
    validation = Rule::new("(has(self.storage) && has(self.storage.storageClassName) ? self.storage.storageClassName : '') == (has(oldSelf.storage) && has(oldSelf.storage.storageClassName) ? oldSelf.storage.storageClassName : '')")
        .message("regions[].storage.storageClassName cannot be changed: declare a region of another name with the other class"),
)]
#[serde(rename_all = "camelCase")]
pub struct Region {
    /// A word for it; part of the names of its objects.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message(crate::rules::NAME_MESSAGE))]
    pub name: String,
    /// The region from which it copies what that one fetched and verified. Without it the region fetches from the
    /// Upstream itself. Where some regions follow, exactly one fetches, and a snapshot is served by none before all that
    /// can have it do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub follows: Option<String>,
    /// Fetches in the place of the region that it follows, and with the same keys and logins, while that one cannot for a reason
    /// of its own side: its pod is away, its volume is lost or full, its runs do not start, or it alone cannot reach the
    /// upstream. Never because the upstream was refused. Of one region of a Mirror, which follows the one that fetches.
    #[serde(default, skip_serializing_if = "Region::is_no_standby")]
    pub standby: bool,
    /// How many copies it has, 1 to 4, each with a volume and a pod of its own, on different nodes and in different zones
    /// where there are such. The first one gets what the region gets, the others copy from it. Whoever is taken out of
    /// service is taken after the last one; its volume goes by `spec.storage.reclaimPolicy`. With two or more, all regions
    /// but one follow.
    #[serde(
        default = "Region::default_replicas",
        skip_serializing_if = "Region::is_single"
    )]
    #[schemars(range(min = 1, max = MOST_REPLICAS))]
    pub replicas: u32,
    /// What its volume has otherwise than `spec.storage` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<RegionStorage>,
    /// Labels of the nodes that may hold the region.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the region's pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// Where clients reach this region's Service from outside, for example `https://eu.mirror.example.org/`: an Ingress
    /// or a load balancer that you have put before it, or a CDN before a route. The serving path comes after it. Shown in `status.regions[].url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^/@?# ]+(/[^?# ]*)?$') && isURL(self)").message("write publicUrl as an http:// or https:// URL without user, password, query or fragment, for example https://eu.mirror.example.org/"))]
    pub public_url: Option<String>,
    /// The name of its trace file, for example the host name that its clients use: its own, and not that of another region.
    /// Without one that is `spec.serving.traceName`, else the host of `publicUrl`, else the Mirror's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(crate::rules::HOST_NAME).message("write regions[].traceName as a host name, for example eu.mirror.example.org"))]
    pub trace_name: Option<String>,
    /// The host name by which clients outside reach this region, for example `eu.mirror.example.org`: `spec.serving.route` leads
    /// there. Several Mirrors may share one, as each has paths of its own. Once the route is accepted, `status.regions[].url`
    /// begins with it, but where there is a `publicUrl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("write regions[].host as a host name of lower-case letters, digits, dashes and dots, for example eu.mirror.example.org"))]
    pub host: Option<String>,
    /// Networks (`198.51.100.0/24`, `2001:db8::/32`) whose clients the lists of regions send here first. Where several hold
    /// a client, the longest prefix counts. Nobody is kept out by them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 43)))]
    #[x_kube(validation = Rule::new(crate::rules::NETWORKS).message("write regions[].clientCidrs as networks, an address and the length of its prefix: 198.51.100.0/24 or 2001:db8::/32"))]
    pub client_cidrs: Vec<String>,
}

/// The most copies that a region has.
pub const MOST_REPLICAS: u32 = 4;
/// The most that all regions of a Mirror have together, as a rule of the resource says too.
pub const MOST_COPIES: u32 = 64;

impl Region {
    const fn default_replicas() -> u32 {
        1
    }

    const fn is_no_standby(standby: &bool) -> bool {
        !*standby
    }

    const fn is_single(replicas: &u32) -> bool {
        *replicas == Self::default_replicas()
    }

    /// How many copies it has, whatever was stored before a rule existed.
    pub fn count(&self) -> u32 {
        self.replicas.clamp(1, MOST_REPLICAS)
    }

    /// Whether it has more than one copy.
    pub fn is_replicated(&self) -> bool {
        self.count() > 1
    }

    /// The name of its trace file that is not that of all regions, where these have the name `of_all`.
    pub fn own_trace_name(&self, of_all: Option<&str>) -> Option<String> {
        let by_url = || self.public_host().filter(|_| of_all.is_none());
        self.trace_name.clone().or_else(by_url)
    }

    /// The host by which clients outside reach it, as far as a file can be named so.
    fn public_host(&self) -> Option<String> {
        let url = Url::parse(self.public_url.as_ref()?).ok()?;
        let host = url.host_str()?;
        is_host_name(host).then(|| host.to_owned())
    }

    /// The size of its volume.
    pub fn size<'a>(&'a self, storage: &'a Storage) -> &'a ByteQuantity {
        let own = self.storage.as_ref();
        own.and_then(|own| own.size.as_ref())
            .unwrap_or(&storage.size)
    }

    /// The storage class of its volume; none for the cluster's default.
    pub fn storage_class<'a>(&'a self, storage: &'a Storage) -> Option<&'a String> {
        let own = self.storage.as_ref();
        own.and_then(|own| own.storage_class_name.as_ref())
            .or(storage.storage_class_name.as_ref())
    }
}

/// What the volume of one region has otherwise than `spec.storage` says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionStorage {
    /// Its size; may only grow. A volume never shrinks, so a size below that of its claim changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<ByteQuantity>,
    /// Its storage class; cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,
}

/// How a snapshot comes to all regions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Where regions follow another: one that is still copying a new snapshot so long after the others began is taken out of the Mirror's Service,
    /// and the others serve the snapshot without it. One that cannot be reached, or whose copies fail, is not waited for.
    #[serde(default = "Rollout::default_patience")]
    pub patience: GoDuration,
    /// Nothing newer is served than is, in any region: what is synced is prepared, copied to all and waits. A pin, and the way
    /// back from what is skipped, act all the same; a region that serves nothing begins.
    #[serde(default, skip_serializing_if = "is_false")]
    pub paused: bool,
    /// One region serves each new snapshot before the others do. It is audited there, over the region's URL; found bad, it is
    /// given up, and the region goes back to what the others serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

/// The region that goes first, and for how long alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    /// Its name. While it cannot be reached, or is left out of the Mirror's Service, the others do not wait for it. Without a
    /// `publicUrl` it is audited over its Service.
    #[schemars(length(min = 1, max = 63))]
    pub region: String,
    /// It serves a snapshot for at least so long before the others do. The audit begins at once; one of which nobody can tell,
    /// since the URL does not answer, is begun again, and not waited for longer than `patience` beyond this.
    #[serde(default = "Canary::default_soak")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('24h')").message("rollout.canary.soak is 24h at most: clients of the other regions wait for as long"))]
    pub soak: GoDuration,
}

impl Canary {
    const fn default_soak() -> GoDuration {
        GoDuration::from_secs(10 * 60)
    }
}

impl Rollout {
    const fn default_patience() -> GoDuration {
        GoDuration::from_secs(15 * 60)
    }

    /// Whether nothing was said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Rollout {
    fn default() -> Self {
        Rollout {
            patience: Self::default_patience(),
            paused: false,
            canary: None,
        }
    }
}
