//! What fetches on demand in a serving pod: a container of its own, which alone of the two may write to the volume and knows
//! the upstream's credentials.
//!
//! Another declaration of what is fetched, or from where, restarts the pod: it is a part of its template. Other edits of the
//! Mirror do not.

use fleet_api::mirror::Mode;
use fleet_api::{Mirror, Upstream, labels};
use k8s_openapi::api::core::v1::{Container, EmptyDirVolumeSource, Volume, VolumeMount};
use serde_json::json;

use super::job::{REFS_DIR, REFS_VOLUME, document, refs_volume};
use super::pod::{self, DATA};
use crate::fleet::{Fleet, Place};
use crate::observed::Settings;

pub const CONTAINER: &str = "fill";
/// Of metrics and health, beside the server's.
pub const METRICS_PORT: u16 = 9091;
pub const METRICS_PORT_NAME: &str = "metrics-fill";
const SOCKET_VOLUME: &str = "fill";
const SOCKET_DIR: &str = "/run/mirrorfleet";
const DECLARED_VOLUME: &str = "declared";
const DECLARED_DIR: &str = "/etc/mirrorfleet/declared";
const DECLARED_FILE: &str = "manifests.yaml";
/// Small files are in memory while they come, larger ones are not; what is written is cache until the disk has it.
const RESOURCES: pod::Needs = pod::Needs {
    cpu: "50m",
    memory: "64Mi",
    memory_limit: "512Mi",
};

/// Whether the serving pods of a Mirror have it.
pub fn is_wanted(fleet: &Fleet) -> bool {
    fleet.spec.mode == Mode::PullThrough
}

/// How the server is told where the two meet, which depends on what it asks there.
pub fn server_arguments(fleet: &Fleet) -> [String; 2] {
    let flag = match fleet.spec.fills_itself() {
        true => "--registry",
        false => "--origin",
    };
    [flag.to_owned(), socket()]
}

/// Where the two containers meet.
fn socket() -> String {
    format!("{SOCKET_DIR}/fill.sock")
}

/// The folder of the socket, for both.
pub fn socket_mount() -> VolumeMount {
    VolumeMount {
        name: SOCKET_VOLUME.to_owned(),
        mount_path: SOCKET_DIR.to_owned(),
        ..Default::default()
    }
}

pub fn volumes(fleet: &Fleet) -> Vec<Volume> {
    let socket = Volume {
        name: SOCKET_VOLUME.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Default::default()
    };
    let declared = pod::annotation_volume(DECLARED_VOLUME, DECLARED_FILE, labels::FILL_MANIFESTS);
    [socket, declared]
        .into_iter()
        .chain(refs_volume(fleet))
        .collect()
}

pub fn container(fleet: &Fleet, place: &Place, settings: &Settings) -> Container {
    let mut mounts = vec![
        pod::data_mount(false),
        socket_mount(),
        pod::mount(DECLARED_VOLUME, DECLARED_DIR),
    ];
    mounts.extend(refs_volume(fleet).map(|_| pod::mount(REFS_VOLUME, REFS_DIR)));
    let pairs = [
        ("-f", format!("{DECLARED_DIR}/{DECLARED_FILE}")),
        ("--mirror", fleet.name.clone()),
        ("--data", DATA.to_owned()),
        ("--refs", REFS_DIR.to_owned()),
        ("--socket", socket()),
        ("--fillers", fleet.places.len().to_string()),
        ("--metrics-listen", format!("[::]:{METRICS_PORT}")),
        ("--namespace", fleet.namespace.clone()),
        ("--region", place.region.name.clone()),
    ];
    let pairs = pairs.into_iter();
    let pairs = pairs.flat_map(|(flag, value)| [flag.to_owned(), value]);
    Container {
        name: CONTAINER.to_owned(),
        image: Some(settings.image.clone()),
        image_pull_policy: pod::pull_policy(&fleet.pods),
        args: Some(std::iter::once(CONTAINER.to_owned()).chain(pairs).collect()),
        ports: Some(vec![pod::port(METRICS_PORT_NAME, METRICS_PORT.into())]),
        resources: Some(pod::resources(&None, &RESOURCES)),
        security_context: Some(pod::container_security()),
        termination_message_policy: Some(pod::TERMINATION_MESSAGE.to_owned()),
        volume_mounts: Some(mounts),
        ..Default::default()
    }
}

/// What of the Upstream and the Mirror decides about what is fetched on demand, one YAML document each.
pub fn manifests(fleet: &Fleet, place: &Place) -> String {
    let (upstream, mirror) = (fleet.upstream_spec(), fleet.spec);
    let upstream = json!({
        "type": upstream.upstream_type,
        "authority": upstream.authority,
        "endpoints": upstream.endpoints,
        "trust": upstream.trust,
        "access": upstream.access,
        "politeness": upstream.politeness,
    });
    let mut mirror = json!({
        "upstreamRef": mirror.upstream_ref,
        "mode": mirror.mode,
        "pullThrough": mirror.pull_through.clone().unwrap_or_default(),
        "content": mirror.content,
        "sync": {"stallTimeout": mirror.sync.stall_timeout},
        "storage": {"cache": mirror.storage.cache},
        "snapshots": {"pinned": mirror.snapshots.pinned},
        "serving": {"path": mirror.serving.path},
    });
    if fleet.spec.fills_itself() {
        // What a registry's answers depend on: what is held back, and the addresses that stand in documents.
        mirror["guard"] = json!(fleet.spec.guard);
        mirror["serving"]["aliases"] = json!(fleet.spec.serving.aliases);
        let region = place.region;
        mirror["regions"] = json!([{"name": region.name, "publicUrl": region.public_url}]);
    }
    let upstream = document::<Upstream>(&fleet.namespace, &fleet.spec.upstream_ref.name, upstream);
    let mirror = document::<Mirror>(&fleet.namespace, &fleet.name, mirror);
    format!("{upstream}\n---\n{mirror}\n")
}
