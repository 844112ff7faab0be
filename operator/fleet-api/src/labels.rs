//! Labels, annotations and names that our objects carry. They are API: people select by them.

/// API group of both kinds.
pub const GROUP: &str = "mirrorfleet.dev";
/// Server-side-apply owner of everything that the controller applies.
pub const FIELD_MANAGER: &str = "mirrorfleet-controller";
/// Server-side-apply owner of the status.
pub const STATUS_FIELD_MANAGER: &str = "mirrorfleet-status";

pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub const MANAGED_BY_VALUE: &str = "mirrorfleet";
pub const NAME: &str = "app.kubernetes.io/name";
pub const COMPONENT: &str = "app.kubernetes.io/component";
pub const COMPONENT_SERVING: &str = "serving";
pub const COMPONENT_SYNC: &str = "sync";
pub const COMPONENT_AUDIT: &str = "audit";
/// Asks an Upstream's authority where that needs a Secret.
pub const COMPONENT_PROBE: &str = "probe";
/// The Mirror that an object belongs to.
pub const MIRROR: &str = "mirrorfleet.dev/mirror";
/// The region that an object belongs to.
pub const REGION: &str = "mirrorfleet.dev/region";
/// Which replica of its region an object belongs to, a volume with its pod: a number from 0, and 0 where it is missing.
pub const REPLICA: &str = "mirrorfleet.dev/replica";
/// On a serving pod and in the template that it is made from, where regions follow others: whether the Mirror's Service
/// leads to it, `true` or `false`.
pub const OFFERED: &str = "mirrorfleet.dev/offered";
/// On a serving pod and in its template, where its region has several replicas: whether the region's Service leads to it,
/// `true` or `false`.
pub const ROUTED: &str = "mirrorfleet.dev/routed";
/// On Services, and so on their EndpointSlices: publication waits until these no longer lead to whoever is left out.
pub const AWAITED: &str = "mirrorfleet.dev/awaited";
/// On a sync Job that copies from another region: that region.
pub const FOLLOWS: &str = "mirrorfleet.dev/follows";
/// On a sync Job that copies from another region: the id of the snapshot.
pub const COPIES: &str = "mirrorfleet.dev/copies";
/// On a sync Job: the Upstream that it fetches from; on none that copies from another region.
pub const UPSTREAM: &str = "mirrorfleet.dev/upstream";

/// On a Mirror: any new value asks for a sync now; the controller repeats it in `status.lastHandledSyncRequest`.
pub const SYNC_REQUESTED_AT: &str = "mirrorfleet.dev/sync-requested-at";
/// On an Upstream: when somebody last said, with a token that `spec.push` knows, that it has something new.
pub const PUSHED_AT: &str = "mirrorfleet.dev/pushed-at";
/// On a probe Job and its pod: the Upstream that it asks.
pub const PROBES: &str = "mirrorfleet.dev/probes";
/// On a probe Job: the generation of that Upstream by which it asks.
pub const PROBES_GENERATION: &str = "mirrorfleet.dev/probes-generation";
/// On the pod template of a sync Job, of one that audits and of one that probes: the manifests of the run.
pub const RUN_MANIFESTS: &str = "mirrorfleet.dev/manifests";
/// On a serving pod that fetches on demand: `true`. Network policies know it by this.
pub const FILLS: &str = "mirrorfleet.dev/fills";
/// On a serving pod's template: what is fetched on demand, and from where.
pub const FILL_MANIFESTS: &str = "mirrorfleet.dev/fill-manifests";
/// On a sync Job: why it was started, one of the words of `status.regions[].replicas[].lastAttempt.trigger`.
pub const TRIGGER: &str = "mirrorfleet.dev/trigger";
/// On a sync Job: digest of the declaration that it carries out, without `spec.snapshots`.
pub const INPUTS: &str = "mirrorfleet.dev/inputs";
/// On a sync Job: digest of the `spec.snapshots` that it carries out.
pub const SNAPSHOTS_INPUTS: &str = "mirrorfleet.dev/snapshots-inputs";
/// On a sync Job: the value of the request annotation that it answers.
pub const REQUEST: &str = "mirrorfleet.dev/request";
/// On a sync Job: 0 for the first run of a round, n for its nth retry.
pub const RETRY: &str = "mirrorfleet.dev/retry";
/// On a serving pod and in the template that it is made from: which snapshot to serve, as [`fleet_types::Order`]; empty
/// before the first.
pub const SERVE: &str = "mirrorfleet.dev/serve";
/// On a serving pod that did not follow what it was told: of which epoch and how often it was told again, `EPOCH TIMES`. A kubelet
/// can miss a change of an annotation for a minute; the next change of any brings it what all say.
pub const SERVE_AGAIN: &str = "mirrorfleet.dev/serve-again";
/// On a serving pod and in the template that it is made from: what clients are told of the Mirror's regions, as
/// [`fleet_types::documents::ClientList`].
pub const LIST: &str = "mirrorfleet.dev/list";
/// On a sync Job: ids of the snapshots that it gives up in no case, as a JSON list.
pub const KEEP: &str = "mirrorfleet.dev/keep";
/// On a sync Job: the node that its serving pod was bound to.
pub const NODE: &str = "mirrorfleet.dev/node";
/// On applied objects: digest of what was applied, so that a field that we no longer set is taken back.
pub const APPLIED: &str = "mirrorfleet.dev/applied";
/// On a claim: the upstream type and authority whose store it holds; a claim of another identity is never adopted.
pub const STORE_TYPE: &str = "mirrorfleet.dev/upstream-type";
pub const STORE_AUTHORITY: &str = "mirrorfleet.dev/authority";
/// On a Mirror whose claims are deleted with it.
pub const CLAIM_FINALIZER: &str = "mirrorfleet.dev/delete-claims";
