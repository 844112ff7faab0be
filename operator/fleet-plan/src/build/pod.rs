//! What serving pods and sync pods have in common: no token, no root, nothing writable but the volume.

use fleet_api::mirror::Region;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, LocalObjectReference,
    PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, SeccompProfile,
    SecurityContext, Volume, VolumeMount,
};

use crate::fleet::{Fleet, Site};
use crate::observed::Settings;

/// One user and group for everything that touches a volume.
const USER: i64 = 65532;
const DATA_VOLUME: &str = "data";
pub const DATA: &str = "/data";
pub const HTTP_PORT: i32 = 8080;
pub const HTTP_PORT_NAME: &str = "http";
pub const METRICS_PORT: i32 = 9090;
pub const METRICS_PORT_NAME: &str = "metrics";

/// A pod of a region without its container's particulars.
pub fn pod_spec(
    site: &Site,
    settings: &Settings,
    container: Container,
    volumes: Vec<Volume>,
) -> PodSpec {
    PodSpec {
        containers: vec![container],
        volumes: Some(volumes),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: pull_secrets(settings),
        tolerations: Some(site.region.tolerations.clone()).filter(|list| !list.is_empty()),
        node_selector: node_selector(site.region),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            // Or each start would change the owner of every blob.
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        }),
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
pub fn data_volume(site: &Site) -> Volume {
    Volume {
        name: DATA_VOLUME.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: site.child.clone(),
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

pub fn port(name: &str, port: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        protocol: Some("TCP".to_owned()),
        ..Default::default()
    }
}

/// The Secret with the certificate, where the serving pods speak TLS.
pub fn tls_secret<'a>(fleet: &'a Fleet) -> Option<&'a str> {
    fleet
        .spec
        .serving
        .tls
        .as_ref()
        .map(|tls| tls.secret_name.as_str())
        .filter(|name| !name.is_empty())
}

fn node_selector(region: &Region) -> Option<super::metadata::Map> {
    Some(region.node_selector.clone()).filter(|map| !map.is_empty())
}

fn pull_secrets(settings: &Settings) -> Option<Vec<LocalObjectReference>> {
    let names = settings
        .image_pull_secrets
        .iter()
        .map(|name| LocalObjectReference { name: name.clone() });
    Some(names.collect::<Vec<_>>()).filter(|list| !list.is_empty())
}
