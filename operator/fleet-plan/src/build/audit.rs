//! A Job that audits one region over its URL, as clients would. It has no volume but a scratch one, no login and no token: of
//! what the Upstream names it gets the keys alone.

use fleet_api::labels;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::job::{
    REFS_DIR, REFS_VOLUME, RESOURCES, RUN_DIR, RUN_FILE, RUN_VOLUME, TERMINATION_LOG, keys_volume,
    manifests, run_volume,
};
use super::metadata::{map, owned, replica_labels};
use super::pod;
use crate::fleet::{Fleet, Place};

pub const CONTAINER: &str = "audit";
/// Indices of the largest archives, each form once, and what is drawn.
const SCRATCH_SIZE: &str = "8Gi";
const TIMEOUT: &str = "10m";
/// It ends by itself before; a pod that finds no node does not.
const DEADLINE_SECONDS: i64 = 15 * 60;

/// `url` is where the region's files are for clients.
pub fn audit(fleet: &Fleet, place: &Place, name: &str, url: &str, image: &str) -> Job {
    let labels = || replica_labels(fleet, place, labels::COMPONENT_AUDIT);
    let keys = keys_volume(fleet);
    let (scratch, scratch_mount) = pod::scratch(SCRATCH_SIZE);
    let mut mounts = vec![pod::mount(RUN_VOLUME, RUN_DIR), scratch_mount];
    mounts.extend(keys.iter().map(|_| pod::mount(REFS_VOLUME, REFS_DIR)));
    let container = Container {
        name: CONTAINER.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: pod::pull_policy(&fleet.pods),
        args: Some(arguments(fleet, url)),
        resources: Some(pod::resources(&fleet.spec.sync.resources, &RESOURCES)),
        security_context: Some(pod::container_security()),
        termination_message_path: Some(TERMINATION_LOG.to_owned()),
        termination_message_policy: Some(pod::TERMINATION_MESSAGE.to_owned()),
        volume_mounts: Some(mounts),
        ..Default::default()
    };
    let volumes = [run_volume(), scratch].into_iter().chain(keys);
    let mut spec = pod::pod_spec(&fleet.pods, place.region, container, volumes.collect());
    spec.restart_policy = Some("Never".to_owned());
    Job {
        metadata: owned(fleet, labels(), name),
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            active_deadline_seconds: Some(DEADLINE_SECONDS),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(pod::with_ours(&fleet.pods.labels, labels())),
                    annotations: Some(pod::with_ours(
                        &fleet.pods.annotations,
                        map([(labels::RUN_MANIFESTS, manifests(fleet).as_str())]),
                    )),
                    ..Default::default()
                }),
                spec: Some(spec),
            },
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn arguments(fleet: &Fleet, url: &str) -> Vec<String> {
    let manifests = format!("{RUN_DIR}/{RUN_FILE}");
    let pairs = [
        ("-f", manifests.as_str()),
        ("--mirror", &fleet.name),
        ("--url", url),
        ("--timeout", TIMEOUT),
        ("--refs", REFS_DIR),
        ("--termination-message", TERMINATION_LOG),
    ];
    let pairs = pairs.into_iter().flat_map(|(flag, value)| [flag, value]);
    let arguments = std::iter::once("audit").chain(pairs);
    arguments.map(str::to_owned).collect()
}
