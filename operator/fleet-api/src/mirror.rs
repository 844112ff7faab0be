//! `Mirror`: what to copy, when, and to which regions.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::upstream::unobserved;
use crate::{ByteQuantity, GoDuration};

/// A declared copy of all or part of an Upstream, deployed to regions.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[kube(crates(kube_core = "kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct MirrorSpec {
    /// The Upstream to copy, in the same namespace.
    pub upstream_ref: UpstreamRef,
    /// Full: every file of the declared slice is stored before a snapshot is published.
    #[serde(default)]
    pub mode: Mode,
    /// Stops new syncs and nothing else.
    #[serde(default)]
    pub suspend: bool,
    /// What to copy: exactly one block, that of the Upstream's type.
    pub content: Content,
    #[serde(default)]
    pub sync: SyncSpec,
    #[serde(default)]
    pub verification: Verification,
    #[serde(default)]
    pub snapshots: Snapshots,
    #[serde(default)]
    pub storage: Storage,
    /// Where copies are stored and served. `mirrorfleet local` is one region whatever this says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<Region>,
    #[serde(default)]
    pub serving: Serving,
    #[serde(default)]
    pub freshness: Freshness,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamRef {
    /// Name of the Upstream.
    pub name: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    #[default]
    Full,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    /// For Upstreams of type Debian.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debian: Option<DebianContent>,
    /// Globs over paths in the repository (`pool/*/x/xplanet-images/**`): payload that is not copied. The signed index
    /// stays upstream's, so clients still see the names and get 404 for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DebianContent {
    /// Suite names as they stand in a sources.list; one that ends in `/` is a flat repository.
    pub suites: Vec<String>,
    /// Components; none for flat repositories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// Architectures; `all` comes with any of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
    /// What else of the slice to copy besides packages and translations.
    #[serde(default)]
    pub include: DebianInclude,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DebianInclude {
    /// Source packages and their indices.
    #[serde(default)]
    pub sources: bool,
    /// Lists of files in packages.
    #[serde(default)]
    pub contents: bool,
    /// AppStream metadata and icons.
    #[serde(default)]
    pub dep11: bool,
    /// Installer images and udebs.
    #[serde(default)]
    pub installer: bool,
    /// Differences between successive indices.
    #[serde(default)]
    pub pdiffs: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncSpec {
    /// Cron expression with five fields.
    #[serde(default = "SyncSpec::default_schedule")]
    pub schedule: String,
    /// IANA name of the time zone of the schedule.
    #[serde(default = "SyncSpec::default_time_zone")]
    pub time_zone: String,
    /// Each run starts up to this much later than scheduled; the same for one Mirror and slot every time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<GoDuration>,
    /// A run that takes longer ends and is tried again; what was fetched is kept.
    #[serde(default = "SyncSpec::default_timeout")]
    pub timeout: GoDuration,
    /// A run in which no byte arrives for so long ends.
    #[serde(default = "SyncSpec::default_stall_timeout")]
    pub stall_timeout: GoDuration,
    /// What happens after a failed run, besides waiting for the schedule.
    #[serde(default)]
    pub retries: Retries,
    /// Resources of the sync pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
}

impl SyncSpec {
    fn default_schedule() -> String {
        "17 */4 * * *".to_owned()
    }
    fn default_time_zone() -> String {
        "Etc/UTC".to_owned()
    }
    const fn default_timeout() -> GoDuration {
        GoDuration::from_secs(6 * 3600)
    }
    const fn default_stall_timeout() -> GoDuration {
        GoDuration::from_secs(600)
    }
}

impl Default for SyncSpec {
    fn default() -> Self {
        SyncSpec {
            schedule: Self::default_schedule(),
            time_zone: Self::default_time_zone(),
            jitter: None,
            timeout: Self::default_timeout(),
            stall_timeout: Self::default_stall_timeout(),
            retries: Retries::default(),
            resources: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    /// Runs after a failed one before the schedule is waited for.
    #[serde(default = "Retries::default_limit")]
    pub limit: u32,
    /// Wait before the first of them; doubled each time, with jitter.
    #[serde(default = "Retries::default_backoff")]
    pub backoff: GoDuration,
}

impl Retries {
    const fn default_limit() -> u32 {
        5
    }
    const fn default_backoff() -> GoDuration {
        GoDuration::from_secs(120)
    }
}

impl Default for Retries {
    fn default() -> Self {
        Retries {
            limit: 5,
            backoff: Self::default_backoff(),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// An upstream that goes back to an older state.
    #[serde(default)]
    pub rollback: Rule,
    /// A known file with new content under the same name.
    #[serde(default)]
    pub mutation: Rule,
    /// Files whose new content a person has approved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_mutations: Vec<AllowedMutation>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Rule {
    #[default]
    Refuse,
    Allow,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedMutation {
    /// Path in the repository.
    pub path: String,
    /// SHA-256 of the new content, 64 hexadecimal digits.
    pub sha256: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Snapshots {
    /// How many of the newest snapshots to keep, 1 to 32.
    #[serde(default = "Snapshots::default_keep")]
    pub keep: u32,
    /// A superseded snapshot is kept at least this long.
    #[serde(default = "Snapshots::default_min_age")]
    pub min_age: GoDuration,
    /// Id of a snapshot to serve whatever the upstream does: freezes or rolls back. Empty: the newest.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pinned: String,
}

impl Snapshots {
    const fn default_keep() -> u32 {
        3
    }
    const fn default_min_age() -> GoDuration {
        GoDuration::from_secs(48 * 3600)
    }
}

impl Default for Snapshots {
    fn default() -> Self {
        Snapshots {
            keep: 3,
            min_age: Self::default_min_age(),
            pinned: String::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Size of each region's volume; may only grow.
    #[serde(default = "Storage::default_size")]
    pub size: ByteQuantity,
    /// Storage class; the cluster's default without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
    #[serde(default)]
    pub access_mode: AccessMode,
    /// Whether deleting the Mirror deletes its volumes.
    #[serde(default)]
    pub reclaim_policy: ReclaimPolicy,
}

impl Storage {
    fn default_size() -> ByteQuantity {
        "100Gi".parse().expect("a constant")
    }
}

impl Default for Storage {
    fn default() -> Self {
        Storage {
            size: Self::default_size(),
            storage_class_name: None,
            access_mode: AccessMode::default(),
            reclaim_policy: ReclaimPolicy::default(),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccessMode {
    #[default]
    ReadWriteOnce,
    ReadWriteMany,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReclaimPolicy {
    #[default]
    Retain,
    Delete,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Region {
    /// A word for it; part of the names of its objects.
    pub name: String,
    /// Hub: fetches from the upstream and verifies.
    #[serde(default)]
    pub role: RegionRole,
    /// Labels of the nodes that may hold the region.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the region's pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RegionRole {
    #[default]
    Hub,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Serving {
    /// The mirror is served under `/<path>/`; the Mirror's name without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Whether folders answer with a list of what is in them.
    #[serde(default = "Serving::default_listing")]
    pub directory_listing: bool,
    /// Serve https (HTTP/1.1 and h2) with a certificate from a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Resources of the serving pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
}

impl Serving {
    const fn default_listing() -> bool {
        true
    }
}

impl Default for Serving {
    fn default() -> Self {
        Serving {
            path: String::new(),
            directory_listing: true,
            tls: None,
            resources: None,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// A Secret of type kubernetes.io/tls; empty serves plain http.
    #[serde(default)]
    pub secret_name: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Freshness {
    /// A region that is behind the authority for longer is stale.
    #[serde(default = "Freshness::default_objective")]
    pub objective: GoDuration,
}

impl Freshness {
    const fn default_objective() -> GoDuration {
        GoDuration::from_secs(6 * 3600)
    }
}

impl Default for Freshness {
    fn default() -> Self {
        Freshness {
            objective: Self::default_objective(),
        }
    }
}

/// Instants and states, never ages: a converged fleet writes nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MirrorStatus {
    /// The generation that this status speaks of; -1 until the first visit.
    #[serde(default = "unobserved")]
    pub observed_generation: i64,
    /// The snapshot that all regions serve; none while they differ or before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// How many regions serve, of how many: `1/1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regions_ready: Option<String>,
    /// The earliest instant since when some region has been behind the authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_at: Option<Time>,
    /// When a sync last succeeded in every region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_time: Option<Time>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<RegionStatus>,
    /// When the next sync is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_sync_time: Option<Time>,
    /// The last value of the annotation `mirrorfleet.dev/sync-requested-at` that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_sync_request: Option<String>,
    /// Claims of regions that are no longer declared; they stay until a person deletes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retained_claims: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionStatus {
    pub name: String,
    /// One word derived from the facts below: Pending, Syncing, Serving, Stale, Unknown.
    pub state: String,
    /// The snapshot that the serving pod says it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Since when the authority has had something newer; none while the region is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_at: Option<Time>,
    /// Ready serving pods.
    #[serde(default)]
    pub ready_replicas: i32,
    /// The last run that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<Attempt>,
    /// When a run last succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Time>,
    /// Failed runs since then.
    #[serde(default)]
    pub consecutive_failures: i32,
    /// The newest state of each unit that was ever accepted; given to each run, so that a new volume does not forget it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub high_water: Vec<AcceptedUnit>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Name of the Job.
    pub job: String,
    /// Why it was started: Schedule, Request, SpecChange, Retry, First.
    pub trigger: String,
    /// One fixed word.
    pub reason: String,
    /// What is wrong and what to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Digest of the declaration that the run carried out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub inputs: String,
}

/// A state of one unit that was verified and accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceptedUnit {
    /// Debian: the suite.
    pub unit: String,
    /// SHA-256 of the signed payload.
    pub digest: String,
    /// The upstream's own date of it.
    pub date: Time,
    /// Until when the upstream vouches for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Time>,
}
