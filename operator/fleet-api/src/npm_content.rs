//! The content block of a copy of npm's registry, and what may come into it.

use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::GoDuration;

/// Names of packages, or globs over them.
const NAMES: &str = "self.all(n, n.matches('^(@[A-Za-z0-9._~*?-]+/)?[A-Za-z0-9._~*?-]+$'))";
const NAMES_MESSAGE: &str = "write packages as name or @scope/name, with * for any part of one, for example @corp/* or corp-*";
/// Name of one package.
const NAME: &str = "^(@[A-Za-z0-9._~-]+/)?[A-Za-z0-9._~-]+$";
/// As `dist.integrity` of a package's document.
const INTEGRITY: &str = "^(sha1-[A-Za-z0-9+/]{27}=|sha256-[A-Za-z0-9+/]{43}=|sha384-[A-Za-z0-9+/]{64}|sha512-[A-Za-z0-9+/]{86}==)$";
const INSTANT: &str =
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$";

/// Which packages of a registry the mirror carries. All of them without any rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct NpmContent {
    /// Only these packages: names or globs (`@types/*`, `left-*`; a `*` does not go over the slash of a scope). Without any, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(min = 1, max = 214)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new(NAMES).message(NAMES_MESSAGE))]
    pub allow: Vec<String>,
    /// Packages, or single versions, that are not carried. Stronger than `allow`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub deny: Vec<NpmDeny>,
}

/// Packages that are not carried, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NpmDeny {
    /// A name, or a glob over names.
    #[schemars(
        length(min = 1, max = 214),
        regex(pattern = "^(@[A-Za-z0-9._~*?-]+/)?[A-Za-z0-9._~*?-]+$")
    )]
    pub package: String,
    /// Only this version of it; all without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub version: Option<String>,
    /// A sentence that whoever asks for it is told.
    #[schemars(length(min = 1, max = 512))]
    pub reason: String,
}

/// What is held back although the upstream offers it. Names that are reserved come first, then `content.npm`, then waivers, then
/// promises that have changed, then age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct Guard {
    /// Versions are let in when they are as old as this: until then no document shows them, `latest` is the newest that is
    /// old enough, and their tarballs are refused with the instant at which they open. 0 lets all in.
    #[serde(default = "Guard::default_age")]
    pub minimum_release_age: GoDuration,
    /// Whether versions in the first document of a package that is seen here are as old as that document says. What
    /// appears later is never older than its first sight. False counts everything from its first sight.
    #[serde(default = "Guard::default_trust")]
    pub trust_upstream_time: bool,
    /// Single versions that are let in although they are too young.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["package", "version"]))]
    pub waivers: Vec<Waiver>,
    /// Versions whose new bytes a person has approved: these count for the version, instead of those that were promised for it
    /// when it was first seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["package", "version"]))]
    pub allow_mutations: Vec<NpmMutation>,
    /// Names, or globs over them, that are never asked for at the upstream: not for a document, not in a search, not in an audit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 214)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new(NAMES).message(NAMES_MESSAGE))]
    pub reserved: Vec<String>,
    /// Holds nothing back for its age or by `content.npm`, and tells what would be. Reserved names and promises that have
    /// changed are held back all the same.
    #[serde(default)]
    pub dry_run: bool,
}

impl Guard {
    const fn default_age() -> GoDuration {
        GoDuration::from_secs(0)
    }
    const fn default_trust() -> bool {
        true
    }
}

impl Default for Guard {
    fn default() -> Self {
        Guard {
            minimum_release_age: Self::default_age(),
            trust_upstream_time: true,
            waivers: Vec::new(),
            allow_mutations: Vec::new(),
            reserved: Vec::new(),
            dry_run: false,
        }
    }
}

/// One version that a person lets in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Waiver {
    /// The package's name.
    #[schemars(length(min = 1, max = 214), regex(pattern = NAME))]
    pub package: String,
    /// The version.
    #[schemars(length(min = 1, max = 256))]
    pub version: String,
    /// Why; for people.
    #[schemars(length(min = 1, max = 512))]
    pub reason: String,
    /// When this ends (RFC 3339): from then on its age counts again.
    #[schemars(length(max = 64), regex(pattern = INSTANT))]
    pub until: String,
}

/// The bytes of one version that a person takes for the right ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NpmMutation {
    /// The package's name.
    #[schemars(length(min = 1, max = 214), regex(pattern = NAME))]
    pub package: String,
    /// The version.
    #[schemars(length(min = 1, max = 256))]
    pub version: String,
    /// What its tarball is to be, as the refusal names it: `sha512-` and the digest in base64 (Subresource Integrity).
    #[schemars(length(max = 96), regex(pattern = INTEGRITY))]
    pub integrity: String,
}
