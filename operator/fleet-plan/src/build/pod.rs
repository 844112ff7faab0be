//! What serving pods and sync pods have in common: no token, no root, nothing writable but the volume.

use fleet_api::mirror::{Identity, PodSecurity, PodSettings, Region, Resources};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, DownwardAPIVolumeFile, DownwardAPIVolumeSource,
    EmptyDirVolumeSource, LocalObjectReference, ObjectFieldSelector,
    PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, ResourceRequirements,
    SELinuxOptions, SeccompProfile, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::metadata::Map;
use crate::fleet::Place;

/// One user and group for everything that touches a volume.
const USER: i64 = 65532;
const DATA_VOLUME: &str = "data";
pub const DATA: &str = "/data";
const SCRATCH_VOLUME: &str = "scratch";
const SCRATCH_DIR: &str = "/tmp";
pub const HTTP_PORT: i32 = 8080;
pub const HTTP_PORT_NAME: &str = "http";
/// Where other regions copy from.
pub const FOLLOW_PORT: i32 = 8081;
pub const FOLLOW_PORT_NAME: &str = "http-follow";
/// Of metrics, health and status.
pub const METRICS_PORT: u16 = 9090;
pub const METRICS_PORT_NAME: &str = "metrics";
/// Who ends without a report leaves the end of its log, so that a condition can quote it: nobody gives us pods/log.
pub const TERMINATION_MESSAGE: &str = "FallbackToLogsOnError";

/// A pod of a region without its container's particulars.
pub fn pod_spec(
    pods: &PodSettings,
    region: &Region,
    container: Container,
    volumes: Vec<Volume>,
) -> PodSpec {
    PodSpec {
        priority_class_name: pods.priority_class_name.clone(),
        runtime_class_name: pods.runtime_class_name.clone(),
        containers: vec![container],
        volumes: Some(volumes),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: pull_secrets(pods),
        tolerations: Some(region.tolerations.clone()).filter(|list| !list.is_empty()),
        node_selector: node_selector(region),
        security_context: Some(pod_security(&pods.security_context)),
        ..Default::default()
    }
}

/// What Pod Security *restricted* asks of a pod, whatever is wished for, and who it runs as.
fn pod_security(wished: &PodSecurity) -> PodSecurityContext {
    let own = match wished.identity {
        Some(Identity::Platform) => None,
        Some(Identity::Own) | None => Some(USER),
    };
    let level = wished.se_linux_options.as_ref();
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: wished.run_as_user.or(own),
        run_as_group: wished.run_as_group.or(own),
        fs_group: wished.fs_group.or(own),
        // Or each start would change the owner of every blob.
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        se_linux_options: level.map(|given| SELinuxOptions {
            level: Some(given.level.clone()),
            ..Default::default()
        }),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// What is written on a pod: what was asked for, and ours, which nothing covers.
pub fn with_ours(asked: &Map, ours: Map) -> Map {
    let mut all = asked.clone();
    all.extend(ours);
    all
}

pub fn pull_policy(pods: &PodSettings) -> Option<String> {
    let policy = pods.image_pull_policy?;
    Some(policy.as_str().to_owned())
}

/// What a container of ours gets where the manifest says nothing. There is no limit of CPU: it would only slow down what
/// is urgent.
pub struct Needs {
    pub cpu: &'static str,
    pub memory: &'static str,
    pub memory_limit: &'static str,
}

/// The manifest's resources as they are, or ours.
pub fn resources(given: &Option<Resources>, ours: &Needs) -> ResourceRequirements {
    let quantity = |name: &str, value: &str| (name.to_owned(), Quantity(value.to_owned()));
    let Resources { requests, limits } = given.clone().unwrap_or_else(|| Resources {
        requests: [quantity("cpu", ours.cpu), quantity("memory", ours.memory)].into(),
        limits: [quantity("memory", ours.memory_limit)].into(),
    });
    ResourceRequirements {
        requests: Some(requests).filter(|map| !map.is_empty()),
        limits: Some(limits).filter(|map| !map.is_empty()),
        ..Default::default()
    }
}

/// What Pod Security *restricted* asks of a container, and a root file system that nobody can write.
pub fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The region's claim; read-only is said on the mount and not here, where it would hold for the node's attachment.
pub fn data_volume(place: &Place) -> Volume {
    Volume {
        name: DATA_VOLUME.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: place.child.clone(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub fn data_mount(read_only: bool) -> VolumeMount {
    VolumeMount {
        name: DATA_VOLUME.to_owned(),
        mount_path: DATA.to_owned(),
        read_only: read_only.then_some(true),
        ..Default::default()
    }
}

pub fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(true),
        ..Default::default()
    }
}

/// A folder for temporary files, which goes with the pod; a pod that puts more than `size` there is evicted.
pub fn scratch(size: &str) -> (Volume, VolumeMount) {
    let volume = Volume {
        name: SCRATCH_VOLUME.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(size.to_owned())),
            ..Default::default()
        }),
        ..Default::default()
    };
    let mount = VolumeMount {
        name: SCRATCH_VOLUME.to_owned(),
        mount_path: SCRATCH_DIR.to_owned(),
        ..Default::default()
    };
    (volume, mount)
}

/// An annotation of the pod itself as a file of this name.
pub fn annotation_volume(volume: &str, file: &str, annotation: &str) -> Volume {
    Volume {
        name: volume.to_owned(),
        downward_api: Some(DownwardAPIVolumeSource {
            items: Some(vec![DownwardAPIVolumeFile {
                path: file.to_owned(),
                field_ref: Some(ObjectFieldSelector {
                    field_path: format!("metadata.annotations['{annotation}']"),
                    ..Default::default()
                }),
                ..Default::default()
            }]),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub fn port(name: &str, port: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        protocol: Some("TCP".to_owned()),
        ..Default::default()
    }
}

fn node_selector(region: &Region) -> Option<Map> {
    Some(region.node_selector.clone()).filter(|map| !map.is_empty())
}

fn pull_secrets(pods: &PodSettings) -> Option<Vec<LocalObjectReference>> {
    let names = pods
        .image_pull_secrets
        .iter()
        .map(|secret| LocalObjectReference {
            name: secret.name.clone(),
        });
    Some(names.collect::<Vec<_>>()).filter(|list| !list.is_empty())
}
