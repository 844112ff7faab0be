//! One probe of an Upstream where the controller may not ask: a Job without a claim and without a token, that carries with it
//! what it asks for, and tells by its termination message what it was told.

use fleet_api::mirror::{Content, PodSettings, Region};
use fleet_api::upstream::Endpoint;
use fleet_api::{Mirror, Upstream, labels};
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Container, PodTemplateSpec, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube_core::{Resource, ResourceExt};
use serde_json::json;

use super::job::{
    REFS_DIR, REFS_VOLUME, RUN_DIR, RUN_FILE, RUN_VOLUME, TERMINATION_LOG, access_refs, document,
    refs_of, run_volume,
};
use super::metadata::{Map, map};
use super::pod;

pub const CONTAINER: &str = "probe";
/// It holds one index at a time.
const RESOURCES: pod::Needs = pod::Needs {
    cpu: "50m",
    memory: "64Mi",
    memory_limit: "256Mi",
};
/// A minute for the authority and a quarter of one for each of sixteen endpoints, and time to find a node and an image.
const DEADLINE_SECONDS: i64 = 600;
/// What the program rsync has fetched, one index at a time, for as long as it is read.
const SCRATCH_SIZE: &str = "64Mi";
/// What is declared in one annotation of a pod, which may have 256 KiB with all others.
const MOST_BYTES: usize = 64 * 1024;

/// What one probe is.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    pub name: String,
    pub image: &'a str,
    /// As the pods of a Mirror of it.
    pub pods: &'a PodSettings,
    /// Where such a pod may run.
    pub region: &'a Region,
    /// The units that it asks for.
    pub units: &'a [String],
    /// What Mirrors declare of them.
    pub contents: &'a [Content],
}

pub fn probe_job(upstream: &Upstream, ask: &Ask) -> Job {
    let generation = upstream.metadata.generation.unwrap_or(0).to_string();
    let name = upstream.name_any();
    let annotations = map([
        (labels::PROBES, name.as_str()),
        (labels::PROBES_GENERATION, generation.as_str()),
    ]);
    Job {
        metadata: ObjectMeta {
            name: Some(ask.name.clone()),
            namespace: upstream.namespace(),
            labels: Some(own_labels()),
            annotations: Some(annotations),
            owner_references: Some(vec![OwnerReference {
                api_version: Upstream::api_version(&()).into_owned(),
                kind: Upstream::kind(&()).into_owned(),
                name: name.clone(),
                uid: upstream.uid().unwrap_or_default(),
                controller: Some(true),
                block_owner_deletion: None,
            }]),
            ..Default::default()
        },
        spec: Some(JobSpec {
            // The next one is a probe of its own.
            backoff_limit: Some(0),
            active_deadline_seconds: Some(DEADLINE_SECONDS),
            template: template(upstream, ask, &name),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// By these the controller watches what it made of this kind.
fn own_labels() -> Map {
    map([
        (labels::NAME, labels::MANAGED_BY_VALUE),
        (labels::MANAGED_BY, labels::MANAGED_BY_VALUE),
        (labels::COMPONENT, labels::COMPONENT_PROBE),
    ])
}

fn template(upstream: &Upstream, ask: &Ask, name: &str) -> PodTemplateSpec {
    let refs = refs_of(access_refs(&upstream.spec).collect());
    let mut container = container(upstream, ask, refs.as_ref());
    let mut volumes = vec![run_volume()];
    volumes.extend(refs);
    if upstream.spec.endpoints_of_jobs().any(Endpoint::is_rsync) {
        let (scratch, mount) = pod::scratch(SCRATCH_SIZE);
        volumes.push(scratch);
        container.volume_mounts.get_or_insert_default().push(mount);
    }
    let mut spec = pod::pod_spec(ask.pods, ask.region, container, volumes);
    spec.restart_policy = Some("Never".to_owned());
    let manifests = manifests(upstream, ask);
    let ours = map([
        (labels::PROBES, name),
        (labels::RUN_MANIFESTS, manifests.as_str()),
    ]);
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod::with_ours(&ask.pods.labels, own_labels())),
            annotations: Some(pod::with_ours(&ask.pods.annotations, ours)),
            ..Default::default()
        }),
        spec: Some(spec),
    }
}

fn container(upstream: &Upstream, ask: &Ask, refs: Option<&Volume>) -> Container {
    let mut mounts = vec![pod::mount(RUN_VOLUME, RUN_DIR)];
    mounts.extend(refs.map(|_| pod::mount(REFS_VOLUME, REFS_DIR)));
    let pairs = [
        ("-f", format!("{RUN_DIR}/{RUN_FILE}")),
        ("--upstream", upstream.name_any()),
        ("--refs", REFS_DIR.to_owned()),
        ("--termination-message", TERMINATION_LOG.to_owned()),
    ];
    let units = ask.units.iter().map(|unit| ("--unit", unit.clone()));
    let pairs = pairs.into_iter().chain(units);
    let pairs = pairs.flat_map(|(flag, value)| [flag.to_owned(), value]);
    Container {
        name: CONTAINER.to_owned(),
        image: Some(ask.image.to_owned()),
        image_pull_policy: pod::pull_policy(ask.pods),
        args: Some(std::iter::once("probe".to_owned()).chain(pairs).collect()),
        resources: Some(pod::resources(&None, &RESOURCES)),
        security_context: Some(pod::container_security()),
        termination_message_path: Some(TERMINATION_LOG.to_owned()),
        termination_message_policy: Some(pod::TERMINATION_MESSAGE.to_owned()),
        volume_mounts: Some(mounts),
        ..Default::default()
    }
}

/// The Upstream, with the endpoints that are asked and without whom it is believed, and of its Mirrors what they declare, one
/// YAML document each.
fn manifests(upstream: &Upstream, ask: &Ask) -> String {
    let (name, namespace) = (
        upstream.name_any(),
        upstream.namespace().unwrap_or_default(),
    );
    let spec = &upstream.spec;
    let spec = json!({
        "type": spec.upstream_type,
        "authority": spec.authority,
        "endpoints": spec.endpoints_of_jobs().collect::<Vec<_>>(),
        "trust": spec.trust,
        "access": spec.access,
        "politeness": spec.politeness,
    });
    let mut text = document::<Upstream>(&namespace, &name, spec).to_string();
    for (number, content) in ask.contents.iter().enumerate() {
        let spec = json!({"upstreamRef": {"name": name}, "content": content});
        let mirror = document::<Mirror>(&namespace, &format!("declared-{number}"), spec);
        let more = format!("\n---\n{mirror}");
        // What has no room is asked for with the next probe: what was not asked for longest comes first.
        if text.len() + more.len() > MOST_BYTES && number > 0 {
            break;
        }
        text.push_str(&more);
    }
    text
}
