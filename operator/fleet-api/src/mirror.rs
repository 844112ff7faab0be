//! `Mirror`: what to copy, when, and to which regions.

use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::arch_content::{
    ArchClock, ArchContent, ArchDowngrades, ArchInclude, ArchLayout, ArchPackageRule, ArchPackages,
    ArchRepoPath,
};
pub use crate::content::{
    Block, Content, DebianAlias, DebianContent, DebianInclude, DebianPackages, DebianReleaseName,
    PackageRule,
};
pub use crate::freshness::Freshness;
pub use crate::mirror_status::MirrorStatus;
pub use crate::npm_content::{Guard, NpmContent, NpmDeny, NpmMutation, Waiver};
pub use crate::pods::{
    Identity, PodSecurity, PodSettings, PullPolicy, PullSecret, Resources, SeLinux,
};
pub use crate::pull_through::{Cache, PullThrough};
pub use crate::regions::{Canary, MOST_COPIES, MOST_REPLICAS, Region, RegionStorage, Rollout};
pub use crate::route::{IpFamily, IpFamilyPolicy, ParentReference, Route, RouteKind, Scheme};
pub use crate::serving::{Serving, Tls, Transactions};
pub use crate::snapshots::Snapshots;
pub use crate::storage::{AccessMode, OnVolumeLost, ReclaimPolicy, Storage};
pub use crate::sync::{Retries, SyncSpec};
pub use crate::verification::{
    AllowedMutation, AllowedReason, AllowedState, ExpiredUnit, Rule, Shrink, Verification,
};

/// A declared copy of all or part of an Upstream, deployed to regions.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "mirrorfleet.dev",
    version = "v1alpha1",
    kind = "Mirror",
    namespaced,
    shortname = "mir"
)]
#[kube(
    status = "MirrorStatus",
    category = "mirrorfleet",
    derive = "PartialEq"
)]
#[kube(
    crates(kube_core = "kube_core"),
    selectable = ".spec.upstreamRef.name",
    selectable = ".spec.suspend"
)]
#[kube(
    doc = "A declared copy of all or part of an Upstream, deployed to regions.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(
        name = "Fresh",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Fresh\")].status"
    ),
    printcolumn(name = "Regions", type_ = "string", json_path = ".status.regionsReady"),
    printcolumn(
        name = "Behind Since",
        type_ = "date",
        json_path = ".status.supersededAt"
    ),
    printcolumn(name = "Last Sync", type_ = "date", json_path = ".status.lastSyncTime"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.regions[0].url"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Upstream",
        type_ = "string",
        json_path = ".spec.upstreamRef.name",
        priority = 1
    ),
    printcolumn(
        name = "Snapshot",
        type_ = "string",
        json_path = ".status.snapshot",
        priority = 1
    ),
    printcolumn(
        name = "Publication",
        type_ = "string",
        json_path = ".status.publication.phase",
        priority = 1
    ),
    printcolumn(
        name = "Next Sync",
        type_ = "string",
        json_path = ".status.nextSyncTime",
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
    validation = Rule::new("self.upstreamRef.name == oldSelf.upstreamRef.name")
        .message("upstreamRef cannot be changed: create another Mirror for the other Upstream").field_path(".upstreamRef"),
    validation = Rule::new("quantity(self.storage.size).compareTo(quantity(oldSelf.storage.size)) >= 0")
        .message("storage.size may only grow: write at least the size that was declared before").field_path(".storage"),
    validation = Rule::new("(has(self.storage.storageClassName) ? self.storage.storageClassName : '') == (has(oldSelf.storage.storageClassName) ? oldSelf.storage.storageClassName : '')")
        .message("storage.storageClassName cannot be changed: create another Mirror with the other class").field_path(".storage"),
    validation = Rule::new("self.storage.accessMode == oldSelf.storage.accessMode")
        .message("storage.accessMode cannot be changed: create another Mirror with the other mode").field_path(".storage"),
    validation = Rule::new("!has(self.content.debian) || !has(self.verification.allowed) || self.verification.allowed.all(a, a.unit in self.content.debian.suites)")
        .message("verification.allowed speaks of declared suites only: write unit as it stands in content.debian.suites").field_path(".verification"),
    validation = Rule::new("!has(self.content.debian) || !has(self.verification.expired) || self.verification.expired.all(e, e.unit in self.content.debian.suites)")
        .message("verification.expired speaks of declared suites only: write unit as it stands in content.debian.suites").field_path(".verification"),
    validation = Rule::new("!has(self.content.arch) || !has(self.verification.allowed) || self.verification.allowed.all(a, self.content.arch.repos.exists(r, self.content.arch.architectures.exists(x, a.unit == r + '/' + x)) || (a.unit == 'iso' && has(self.content.arch.include) && has(self.content.arch.include.iso) && self.content.arch.include.iso))")
        .message("verification.allowed speaks of declared repositories only: write unit as repository/architecture, for example core/x86_64").field_path(".verification"),
    validation = Rule::new("!has(self.content.arch) || !has(self.verification.expired) || size(self.verification.expired) == 0")
        .message("verification.expired is of no use here: pacman's databases have no time at which they expire").field_path(".verification"),
    validation = Rule::new("!has(self.content.npm) || self.mode == 'PullThrough'")
        .message("an npm registry is filled on demand and never copied as a whole: write mode: PullThrough").field_path(".mode"),
    validation = Rule::new("!has(self.content.npm) || !self.suspend")
        .message("suspend stops runs, and an npm registry has none: write pullThrough.offline to keep it from asking the upstream").field_path(".suspend"),
    validation = Rule::new("!has(self.content.npm) || !has(self.serving.tls) || !has(self.serving.tls.secretName) || self.serving.tls.secretName == ''")
        .message("an npm registry is served as plain http: leave serving.tls out, and let an Ingress or a Gateway speak TLS").field_path(".serving"),
    validation = Rule::new("has(self.content.npm) || !has(self.guard)")
        .message("guard is about packages of an npm registry: leave it out for other content").field_path(".guard"),
    validation = Rule::new("has(self.content.npm) || !has(self.serving.aliases) || size(self.serving.aliases) == 0")
        .message("serving.aliases are further addresses of an npm registry: leave them out for other content").field_path(".serving"),
    validation = Rule::new("!has(self.content.npm) || ((!has(self.snapshots.pinned) || self.snapshots.pinned == '') && (!has(self.snapshots.skip) || size(self.snapshots.skip) == 0))")
        .message("a registry that is filled on demand has no snapshots to pin or to skip: leave snapshots out").field_path(".snapshots"),
    validation = Rule::new("!has(self.content.npm) || ((!has(self.verification.allowed) || size(self.verification.allowed) == 0) && (!has(self.verification.expired) || size(self.verification.expired) == 0) && (!has(self.verification.allowMutations) || size(self.verification.allowMutations) == 0))")
        .message("verification is about repositories that are signed or listed as a whole: leave it out for content.npm").field_path(".verification"),
    validation = Rule::new(crate::rules::FOLLOWS_ANOTHER).message(crate::rules::FOLLOWS_ANOTHER_MESSAGE).field_path(".regions"),
    validation = Rule::new(crate::rules::FOLLOWS_THE_HUB).message(crate::rules::FOLLOWS_THE_HUB_MESSAGE).field_path(".regions"),
    validation = Rule::new(crate::rules::ONE_HUB).message(crate::rules::ONE_HUB_MESSAGE).field_path(".regions"),
    validation = Rule::new("!has(self.pullThrough) || self.mode == 'PullThrough'")
        .message("pullThrough is of no use with mode Full: write mode: PullThrough, or take it out").field_path(".pullThrough"),
    validation = Rule::new("!has(self.storage.cache) || self.mode == 'PullThrough'")
        .message("storage.cache is of no use with mode Full, which stores everything: write mode: PullThrough, or take it out").field_path(".storage"),
    validation = Rule::new("self.mode != 'PullThrough' || !has(self.regions) || self.regions.all(r, !has(r.follows) && (!has(r.replicas) || r.replicas == 1))")
        .message("a region of a Mirror of mode PullThrough fetches from the Upstream itself and has one replica: take out follows and replicas, or write mode: Full").field_path(".regions"),
    validation = Rule::new(crate::rules::STANDBY).message(crate::rules::STANDBY_MESSAGE).field_path(".regions"),
    validation = Rule::new(crate::rules::HOSTS_OF_ROUTE).message(crate::rules::HOSTS_OF_ROUTE_MESSAGE).field_path(".serving"),
    validation = Rule::new(crate::rules::HOSTS_DIFFER).message(crate::rules::HOSTS_DIFFER_MESSAGE).field_path(".regions"),
    validation = Rule::new(crate::rules::COPIES).message(crate::rules::COPIES_MESSAGE).field_path(".regions"),
    validation = Rule::new(crate::rules::TRACE_NAMES).message(crate::rules::TRACE_NAMES_MESSAGE).field_path(".regions"),
    validation = Rule::new(crate::rules::CANARY).message(crate::rules::CANARY_MESSAGE).field_path(".rollout"),
)]
#[serde(rename_all = "camelCase")]
pub struct MirrorSpec {
    /// The Upstream to copy, in the same namespace.
    pub upstream_ref: UpstreamRef,
    /// Full: every file of the declared slice is stored before a snapshot is published. PullThrough: packages are fetched
    /// when a client asks for them; of an npm registry everything is.
    #[serde(default)]
    pub mode: Mode,
    /// How that is done; only with mode PullThrough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_through: Option<PullThrough>,
    /// Stops new syncs and nothing else. Regions that follow another go on to copy what it has fetched.
    #[serde(default)]
    pub suspend: bool,
    /// What to copy: exactly one block, that of the Upstream's type.
    pub content: Content,
    /// When and how runs start and end.
    #[serde(default)]
    pub sync: SyncSpec,
    /// What is refused although it is validly signed.
    #[serde(default)]
    pub verification: Verification,
    /// What an npm registry holds back although the upstream offers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
    /// Which snapshots are kept and which one is served.
    #[serde(default)]
    pub snapshots: Snapshots,
    /// The volume of each region.
    #[serde(default)]
    pub storage: Storage,
    /// Where copies are stored and served. `mirrorfleet local` is one region whatever this says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub regions: Vec<Region>,
    /// How a snapshot comes to all regions.
    #[serde(default, skip_serializing_if = "Rollout::is_default")]
    pub rollout: Rollout,
    /// How clients see the copy.
    #[serde(default)]
    pub serving: Serving,
    /// What platform teams must set on pods: labels, classes, user, SELinux level. `mirrorfleet local` makes none.
    #[serde(default, skip_serializing_if = "PodSettings::is_default")]
    pub pods: PodSettings,
    /// When a region counts as stale.
    #[serde(default)]
    pub freshness: Freshness,
}

impl Mirror {
    /// Under which path it is served, without slashes at either end.
    pub fn serving_path(&self) -> &str {
        match self.spec.serving.path.as_str() {
            "" => self.metadata.name.as_deref().unwrap_or_default(),
            path => path,
        }
    }
}

impl MirrorSpec {
    /// Whether it is a registry, which fills itself when it is asked: it has no runs and no snapshots.
    pub fn fills_itself(&self) -> bool {
        self.content.npm.is_some()
    }

    /// Whether some copy follows another, so that all of them publish together.
    pub fn is_together(&self) -> bool {
        let mut regions = self.regions.iter();
        regions.any(|region| region.follows.is_some() || region.is_replicated())
    }

    /// The name of a region's trace file, or of a copy that is of no region; none: the Mirror's name.
    pub fn trace_name(&self, region: Option<&Region>) -> Option<String> {
        let of_all = self.serving.trace_name();
        let own = region.and_then(|region| region.own_trace_name(of_all));
        own.or_else(|| of_all.map(str::to_owned))
    }

    /// Where clients outside are to reach a region, without a slash at its end: its `publicUrl`, or the host of its route.
    pub fn outside(&self, region: &Region) -> Option<String> {
        if let Some(url) = &region.public_url {
            return Some(url.trim_end_matches('/').to_owned());
        }
        let (route, host) = (self.serving.route.as_ref()?, region.host.as_ref()?);
        Some(format!("{}://{host}", route.scheme()))
    }
}

/// Names an Upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamRef {
    /// Name of the Upstream.
    #[schemars(length(min = 1, max = 63), regex(pattern = crate::rules::NAME))]
    pub name: String,
}

/// How much of the declared slice is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Every file of the slice is stored before a snapshot is published.
    #[default]
    Full,
    /// Snapshots hold what upstreams sign and list; a package is fetched when a client asks for it, checked by what is
    /// listed, and kept until room is needed. An npm registry has no snapshots: all of it is fetched so.
    PullThrough,
}
