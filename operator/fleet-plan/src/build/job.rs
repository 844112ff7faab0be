//! One run: a Job beside its serving pod, that carries its manifests with it and cannot talk to the Kubernetes API.

use fleet_api::upstream::{KeyRef, RefKind, UpstreamType};
use fleet_api::{Mirror, Trigger, Upstream, UpstreamSpec, labels};
use fleet_types::documents::IndexPin;
use fleet_types::{Order, Sha256};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Affinity, ConfigMapProjection, Container, KeyToPath, PodAffinity, PodAffinityTerm,
    PodTemplateSpec, ProjectedVolumeSource, SecretProjection, Volume, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube_core::Resource;
use serde_json::json;

use super::metadata::{Map, label_selector, map, owned, replica_labels, replica_selector};
use super::pod::{self, DATA, METRICS_PORT, METRICS_PORT_NAME};
use crate::fleet::{Fleet, Place};
use crate::names;
use crate::observed::SeenMeta;

pub const CONTAINER: &str = "sync";
pub(super) const RUN_VOLUME: &str = "run";
pub(super) const RUN_DIR: &str = "/etc/mirrorfleet/run";
pub(super) const RUN_FILE: &str = "manifests.yaml";
pub(super) const REFS_VOLUME: &str = "refs";
pub(super) const REFS_DIR: &str = "/etc/mirrorfleet/refs";
/// Measured: 40 MiB for a full archive; an xz stream of the largest kind takes 65 more, and what is written is cache
/// until the disk has it.
pub(super) const RESOURCES: pod::Needs = pod::Needs {
    cpu: "100m",
    memory: "128Mi",
    memory_limit: "1Gi",
};
pub(super) const TERMINATION_LOG: &str = "/dev/termination-log";
/// Long enough for the worker to write its report and leave staging in order.
const GRACE_SECONDS: i64 = 30;

/// Everything that one run is.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    pub trigger: Trigger,
    pub retry: i32,
    /// What tells this run from others of the same trigger: a slot, a request, a digest.
    pub occasion: String,
    /// The serving pod's image: readers upgrade before writers.
    pub image: &'a str,
    /// The serving pod's node.
    pub node: &'a str,
    /// The region's high-water marks as JSON.
    pub high_water: String,
    /// Blobs that the serving pod found damaged.
    pub damaged: Vec<Sha256>,
    /// What the serving pod is told; none where it serves what a run publishes, as those of earlier versions do.
    pub ordered: Option<Ordered>,
    /// What it copies from another region; none where it fetches from the Upstream.
    pub following: Option<Following>,
}

/// What a run is told that copies from another region. It gets no keyring and no credentials: it takes exactly this index,
/// and by its digests all else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Following {
    pub snapshot: Sha256,
    pub index: IndexPin,
    /// The region that is asked first.
    pub source: String,
    /// By which name that one tells of itself.
    pub known_as: String,
    /// Whom it asks, in this order.
    pub urls: Vec<String>,
    /// When the hub last found that snapshot to be what the upstream has.
    pub confirmed: Timestamp,
}

impl Following {
    fn arguments(&self) -> impl Iterator<Item = String> {
        let urls = self.urls.iter().map(|url| ("--follow", url.clone()));
        let pinned = [
            ("--snapshot", self.snapshot.to_string()),
            ("--index", self.index.to_string()),
            ("--confirmed", self.confirmed.to_string()),
            ("--followed", self.known_as.clone()),
        ];
        let pairs = urls.chain(pinned);
        pairs.flat_map(|(flag, value)| [flag.to_owned(), value])
    }
}

/// What a run is told that only prepares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ordered {
    /// What its volume is to remember as served; none before the first.
    pub order: Option<Order>,
    /// Snapshots that it gives up in no case.
    pub keep: Vec<Sha256>,
}

impl Ordered {
    fn arguments(&self) -> impl Iterator<Item = String> {
        let order = self
            .order
            .map(|order| ["--serve".to_owned(), order.to_string()]);
        let keep = serde_json::to_string(&self.keep).ok();
        let keep = keep.filter(|_| !self.keep.is_empty());
        let keep = keep.map(|keep| ["--keep".to_owned(), keep]);
        let more = order.into_iter().chain(keep).flatten();
        std::iter::once("--prepare-only".to_owned()).chain(more)
    }
}

/// The snapshots that a Job of these annotations gives up in no case; none where it says nothing of them.
pub fn kept_by(meta: &SeenMeta) -> Option<Vec<Sha256>> {
    serde_json::from_str(meta.annotation(labels::KEEP)?).ok()
}

pub fn job(fleet: &Fleet, place: &Place, start: &Start) -> Job {
    let name = names::job_name(
        &place.child,
        start.trigger.as_str(),
        &format!("{}/{}", start.occasion, start.retry),
    );
    let mut metadata = owned(fleet, job_labels(fleet, place, start), &name);
    let retry = start.retry.to_string();
    let inputs = fleet.inputs_of(place);
    let mut annotations = map([
        (labels::TRIGGER, start.trigger.as_str()),
        (labels::RETRY, retry.as_str()),
        (labels::INPUTS, inputs.snapshot.as_str()),
        (labels::SNAPSHOTS_INPUTS, inputs.snapshots.as_str()),
        (labels::NODE, start.node),
    ]);
    // Who follows answers no request: it has what the hub brings.
    let request = fleet.request.iter().filter(|_| start.following.is_none());
    annotations.extend(request.map(|request| (labels::REQUEST.to_owned(), request.clone())));
    let following = start.following.iter();
    annotations.extend(following.map(|it| (labels::COPIES.to_owned(), it.snapshot.to_string())));
    annotations.extend(start.ordered.iter().filter_map(|ordered| {
        let keep = serde_json::to_string(&ordered.keep).ok()?;
        Some((labels::KEEP.to_owned(), keep))
    }));
    metadata.annotations = Some(annotations);
    Job {
        metadata,
        spec: Some(JobSpec {
            // Retries are ours: a Job is one run. The time-out is the worker's own, or waiting for a node would eat it.
            backoff_limit: Some(0),
            // Never two writers on one volume.
            pod_replacement_policy: Some("Failed".to_owned()),
            template: template(fleet, place, start),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Only who fetches takes a turn at the Upstream.
fn job_labels(fleet: &Fleet, place: &Place, start: &Start) -> Map {
    let mut all = replica_labels(fleet, place, labels::COMPONENT_SYNC);
    let (key, value) = match &start.following {
        None => (labels::UPSTREAM, &fleet.spec.upstream_ref.name),
        Some(following) => (labels::FOLLOWS, &following.source),
    };
    all.insert(key.to_owned(), value.clone());
    all
}

/// What a run needs that the Upstream names; nothing for one that copies from another region.
fn refs(fleet: &Fleet, start: &Start) -> Option<Volume> {
    refs_volume(fleet).filter(|_| start.following.is_none())
}

fn template(fleet: &Fleet, place: &Place, start: &Start) -> PodTemplateSpec {
    let mut volumes = vec![pod::data_volume(place), run_volume()];
    volumes.extend(refs(fleet, start));
    let mut spec = pod::pod_spec(
        &fleet.pods,
        place.region,
        container(fleet, place, start),
        volumes,
    );
    spec.restart_policy = Some("Never".to_owned());
    spec.termination_grace_period_seconds = Some(GRACE_SECONDS);
    spec.affinity = Some(Affinity {
        pod_affinity: Some(PodAffinity {
            required_during_scheduling_ignored_during_execution: Some(vec![PodAffinityTerm {
                label_selector: Some(label_selector(replica_selector(fleet, place))),
                topology_key: "kubernetes.io/hostname".to_owned(),
                ..Default::default()
            }]),
            ..Default::default()
        }),
        ..Default::default()
    });
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod::with_ours(
                &fleet.pods.labels,
                replica_labels(fleet, place, labels::COMPONENT_SYNC),
            )),
            annotations: Some(pod::with_ours(
                &fleet.pods.annotations,
                map([(labels::RUN_MANIFESTS, manifests(fleet).as_str())]),
            )),
            ..Default::default()
        }),
        spec: Some(spec),
    }
}

fn container(fleet: &Fleet, place: &Place, start: &Start) -> Container {
    let mut mounts = vec![pod::data_mount(false), pod::mount(RUN_VOLUME, RUN_DIR)];
    mounts.extend(refs(fleet, start).map(|_| pod::mount(REFS_VOLUME, REFS_DIR)));
    Container {
        name: CONTAINER.to_owned(),
        image: Some(start.image.to_owned()),
        image_pull_policy: pod::pull_policy(&fleet.pods),
        args: Some(arguments(fleet, place, start)),
        ports: Some(vec![pod::port(METRICS_PORT_NAME, METRICS_PORT.into())]),
        resources: Some(pod::resources(&fleet.spec.sync.resources, &RESOURCES)),
        security_context: Some(pod::container_security()),
        termination_message_path: Some(TERMINATION_LOG.to_owned()),
        termination_message_policy: Some(pod::TERMINATION_MESSAGE.to_owned()),
        volume_mounts: Some(mounts),
        ..Default::default()
    }
}

fn arguments(fleet: &Fleet, place: &Place, start: &Start) -> Vec<String> {
    let pairs = [
        ("-f", format!("{RUN_DIR}/{RUN_FILE}")),
        ("--mirror", fleet.name.clone()),
        ("--data", DATA.to_owned()),
        ("--metrics-listen", format!("[::]:{METRICS_PORT}")),
        ("--termination-message", TERMINATION_LOG.to_owned()),
        ("--high-water", start.high_water.clone()),
        ("--region", place.region.name.clone()),
        ("--namespace", fleet.namespace.clone()),
    ];
    let damaged = serde_json::to_string(&start.damaged).ok();
    let damaged = damaged.filter(|_| !start.damaged.is_empty());
    let fetches = start.following.is_none();
    let refs = fetches.then(|| ("--refs", REFS_DIR.to_owned()));
    let pairs = pairs
        .into_iter()
        .chain(refs)
        .chain(damaged.map(|list| ("--damaged", list)))
        .flat_map(|(flag, value)| [flag.to_owned(), value]);
    let ordered = start.ordered.iter().flat_map(Ordered::arguments);
    let following = start.following.iter().flat_map(Following::arguments);
    let arguments = std::iter::once("sync".to_owned()).chain(pairs);
    arguments.chain(ordered).chain(following).collect()
}

/// The Upstream and the Mirror as they are declared now, one YAML document each (JSON is YAML).
pub(super) fn manifests(fleet: &Fleet) -> String {
    let spec = |spec: Result<serde_json::Value, serde_json::Error>| spec.unwrap_or_default();
    let upstream = spec(serde_json::to_value(fleet.upstream_spec()));
    let mirror = spec(serde_json::to_value(fleet.spec));
    let upstream = document::<Upstream>(&fleet.namespace, &fleet.spec.upstream_ref.name, upstream);
    let mirror = document::<Mirror>(&fleet.namespace, &fleet.name, mirror);
    format!("{upstream}\n---\n{mirror}\n")
}

/// A manifest as a YAML document (JSON is YAML).
pub(super) fn document<K: Resource<DynamicType = ()>>(
    namespace: &str,
    name: &str,
    spec: serde_json::Value,
) -> serde_json::Value {
    json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}

pub(super) fn run_volume() -> Volume {
    pod::annotation_volume(RUN_VOLUME, RUN_FILE, labels::RUN_MANIFESTS)
}

/// The Secrets and ConfigMaps that the Upstream names, each key at `<kind>/<name>/<key>`. All optional: what is
/// missing is the worker's to report, where a pod that never starts would say nothing.
pub(super) fn refs_volume(fleet: &Fleet) -> Option<Volume> {
    refs_of(
        keyrings(fleet)
            .chain(access_refs(fleet.upstream_spec()))
            .collect(),
    )
}

/// The keys of them alone, by which what is served is judged.
pub(super) fn keys_volume(fleet: &Fleet) -> Option<Volume> {
    refs_of(keyrings(fleet).collect())
}

fn keyrings(fleet: &Fleet) -> impl Iterator<Item = VolumeProjection> {
    let upstream = fleet.upstream_spec();
    upstream.trust.keyrings().map(|key| {
        let lists = [KeyRef::TRUSTED, KeyRef::REVOKED].map(|list| key.beside(list));
        let keys: Vec<&str> = match upstream.upstream_type {
            UpstreamType::Arch => std::iter::once(&key.key)
                .chain(&lists)
                .map(String::as_str)
                .collect(),
            UpstreamType::Debian | UpstreamType::Npm => vec![&key.key],
        };
        projection(key.kind, &key.name, &keys)
    })
}

/// What an Upstream names of how it is got at, without whom it is believed.
pub(super) fn access_refs(upstream: &UpstreamSpec) -> impl Iterator<Item = VolumeProjection> {
    let bundle = upstream.access.ca_bundle_ref.iter();
    let bundle = bundle.map(|key| projection(key.kind, &key.name, &[&key.key]));
    let credentials = upstream.access.credentials_ref.iter();
    let credentials = credentials.map(|secret| {
        projection(
            RefKind::Secret,
            &secret.name,
            &["username", "password", "token", "hosts"],
        )
    });
    bundle.chain(credentials)
}

pub(super) fn refs_of(sources: Vec<VolumeProjection>) -> Option<Volume> {
    (!sources.is_empty()).then(|| Volume {
        name: REFS_VOLUME.to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(sources),
            default_mode: Some(0o440),
        }),
        ..Default::default()
    })
}

fn projection(kind: RefKind, name: &str, keys: &[&str]) -> VolumeProjection {
    let item = |key: &&str| KeyToPath {
        key: (*key).to_owned(),
        path: format!("{}/{name}/{key}", kind.as_str()),
        ..Default::default()
    };
    let items = Some(keys.iter().map(item).collect());
    let (name, optional) = (name.to_owned(), Some(true));
    match kind {
        RefKind::Secret => VolumeProjection {
            secret: Some(SecretProjection {
                name,
                optional,
                items,
            }),
            ..Default::default()
        },
        RefKind::ConfigMap => VolumeProjection {
            config_map: Some(ConfigMapProjection {
                name,
                optional,
                items,
            }),
            ..Default::default()
        },
    }
}
