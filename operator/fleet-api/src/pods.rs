//! What platform teams must be able to say of every pod. Nothing here can loosen Pod Security *restricted*.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Of all pods that are made for a Mirror. What is not given is as the installation says, key by key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct PodSettings {
    /// Labels beside ours. The installation names the prefixes that are allowed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    #[x_kube(validation = Rule::new(OTHERS_KEYS).message(KEY_MESSAGE))]
    pub labels: BTreeMap<String, String>,
    /// Annotations beside ours. The installation names the prefixes that are allowed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    #[x_kube(validation = Rule::new(OTHERS_KEYS).message(KEY_MESSAGE))]
    pub annotations: BTreeMap<String, String>,
    /// One of the priority classes that the installation allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = crate::rules::OBJECT_NAME))]
    pub priority_class_name: Option<String>,
    /// One of the runtime classes that the installation allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = crate::rules::OBJECT_NAME))]
    pub runtime_class_name: Option<String>,
    /// User, groups and SELinux level.
    #[serde(default, skip_serializing_if = "PodSecurity::is_default")]
    pub security_context: PodSecurity,
    /// When kubelets pull the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,
    /// Secrets in the Mirror's namespace to pull the image with, beside those of the installation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub image_pull_secrets: Vec<PullSecret>,
}

/// The largest number of a user or group that Kubernetes takes.
pub const MAX_ID: i64 = i32::MAX as i64;

/// What a container asks for and may use. Devices by claims are not offered: nothing here needs one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What the container is sure to get, for example of `cpu` and `memory`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, Quantity>,
    /// The most that it may use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Quantity>,
}

/// Who the programs run as. Root is not offered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSecurity {
    /// Who chooses the user and the groups that are not given here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_ID))]
    pub run_as_user: Option<i64>,
    /// The primary group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_ID))]
    pub run_as_group: Option<i64>,
    /// The group that owns the volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_ID))]
    pub fs_group: Option<i64>,
    /// SELinux labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub se_linux_options: Option<SeLinux>,
}

impl PodSecurity {
    fn is_default(&self) -> bool {
        *self == PodSecurity::default()
    }
}

/// Who chooses the user and the groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Identity {
    /// We: 65532, as in the image.
    Own,
    /// The cluster's admission, as on OpenShift: none are asked for.
    Platform,
}

/// SELinux labels that may be given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeLinux {
    /// The level, for example `s0:c123,c456`: that of everybody else who reads the volume.
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = "^s[0-9]{1,3}(-s[0-9]{1,3})?(:c[c0-9.,]*)?$")
    )]
    pub level: String,
}

/// When kubelets pull an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// Each time a pod starts.
    Always,
    /// Where the node does not have it.
    IfNotPresent,
    /// Never: somebody else brings it to the nodes.
    Never,
}

impl PullPolicy {
    pub const ALL: [PullPolicy; 3] = [
        PullPolicy::Always,
        PullPolicy::IfNotPresent,
        PullPolicy::Never,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            PullPolicy::Always => "Always",
            PullPolicy::IfNotPresent => "IfNotPresent",
            PullPolicy::Never => "Never",
        }
    }
}

/// A Secret with a registry's credentials.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PullSecret {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = crate::rules::OBJECT_NAME))]
    pub name: String,
}

/// Domains whose labels and annotations mean something to Kubernetes or to us.
const RESERVED: [&str; 3] = ["kubernetes.io", "k8s.io", "mirrorfleet.dev"];
/// The same as a rule of the schema.
const OTHERS_KEYS: &str =
    r"self.all(key, !key.matches('^([^/]*[.])?(kubernetes[.]io|k8s[.]io|mirrorfleet[.]dev)/'))";
/// What the message of a reserved key says.
pub const KEY_MESSAGE: &str = "keys of kubernetes.io, k8s.io and mirrorfleet.dev are not yours to set: choose one of your own domain";

/// Whether a label or annotation belongs to Kubernetes or to us.
pub fn is_reserved(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let below = |root: &str| {
        domain
            .strip_suffix(root)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    RESERVED.into_iter().any(below)
}

impl PodSettings {
    pub fn is_default(&self) -> bool {
        *self == PodSettings::default()
    }

    /// These, and what `others` say where these say nothing.
    pub fn over(&self, others: &PodSettings) -> PodSettings {
        let map = |ours: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>| {
            theirs
                .iter()
                .chain(ours)
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        };
        let (ours, theirs) = (&self.security_context, &others.security_context);
        let secrets = others.image_pull_secrets.iter();
        let secrets = secrets.filter(|secret| !self.image_pull_secrets.contains(secret));
        PodSettings {
            labels: map(&self.labels, &others.labels),
            annotations: map(&self.annotations, &others.annotations),
            priority_class_name: self
                .priority_class_name
                .clone()
                .or(others.priority_class_name.clone()),
            runtime_class_name: self
                .runtime_class_name
                .clone()
                .or(others.runtime_class_name.clone()),
            security_context: PodSecurity {
                identity: ours.identity.or(theirs.identity),
                run_as_user: ours.run_as_user.or(theirs.run_as_user),
                run_as_group: ours.run_as_group.or(theirs.run_as_group),
                fs_group: ours.fs_group.or(theirs.fs_group),
                se_linux_options: ours
                    .se_linux_options
                    .clone()
                    .or(theirs.se_linux_options.clone()),
            },
            image_pull_policy: self.image_pull_policy.or(others.image_pull_policy),
            image_pull_secrets: secrets.chain(&self.image_pull_secrets).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_kubernetes_and_ours_are_reserved_and_others_are_not() {
        for key in [
            "kubernetes.io/a",
            "pod-security.kubernetes.io/enforce",
            "mirrorfleet.dev/mirror",
            "x.k8s.io/y",
        ] {
            assert!(is_reserved(key), "{key}");
        }
        for key in [
            "team",
            "example.org/team",
            "notkubernetes.io/a",
            "example.org/kubernetes.io",
        ] {
            assert!(!is_reserved(key), "{key}");
        }
    }

    #[test]
    fn a_mirror_wins_over_the_installation_key_by_key() {
        let read = |text: &str| serde_json::from_str::<PodSettings>(text).unwrap();
        let installation = read(
            r#"{"labels": {"a": "1", "b": "1"}, "priorityClassName": "low", "imagePullPolicy": "Always",
                "securityContext": {"identity": "Platform", "seLinuxOptions": {"level": "s0"}},
                "imagePullSecrets": [{"name": "x"}]}"#,
        );
        let mirror = read(
            r#"{"labels": {"b": "2"}, "securityContext": {"fsGroup": 7}, "imagePullSecrets": [{"name": "x"}, {"name": "y"}]}"#,
        );
        let whole = read(
            r#"{"labels": {"a": "1", "b": "2"}, "priorityClassName": "low", "imagePullPolicy": "Always",
                "securityContext": {"identity": "Platform", "fsGroup": 7, "seLinuxOptions": {"level": "s0"}},
                "imagePullSecrets": [{"name": "x"}, {"name": "y"}]}"#,
        );
        assert_eq!(mirror.over(&installation), whole);
        assert_eq!(PodSettings::default().over(&installation), installation);
    }
}
