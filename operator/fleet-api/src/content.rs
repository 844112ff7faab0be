//! What a Mirror copies: one block per type of Upstream.

use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::arch_content::ArchContent;
use crate::npm_content::NpmContent;
use crate::upstream::UpstreamType;

/// What to copy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"), 
    validation = Rule::new("(has(self.debian) ? 1 : 0) + (has(self.arch) ? 1 : 0) + (has(self.npm) ? 1 : 0) == 1")
        .message("content needs exactly one block that names what to copy, and it must be the one of the Upstream's type: debian, arch or npm"),
    validation = Rule::new("!has(self.npm) || !has(self.exclude) || size(self.exclude) == 0")
        .message("content.exclude is about paths of repositories: write packages that are not carried as content.npm.deny"),
)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    /// For Upstreams of type Debian.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debian: Option<DebianContent>,
    /// For Upstreams of type Arch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<ArchContent>,
    /// For Upstreams of type Npm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub npm: Option<NpmContent>,
    /// Globs over paths in the repository (`pool/*/x/xplanet-images/**`): payload that is not copied. The signed index
    /// stays upstream's, so clients still see the names and get 404 for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 256)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub exclude: Vec<String>,
}

/// A slice of a Debian archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"), 
    validation = Rule::new("self.suites.all(s, s.endsWith('/')) || (has(self.components) && size(self.components) > 0)")
        .message("components is missing: name at least one, for example main; only flat repositories (suites that end in /) have none"),
    validation = Rule::new("self.suites.all(s, s.endsWith('/')) || (has(self.architectures) && size(self.architectures) > 0) || (has(self.include) && has(self.include.sources) && self.include.sources)")
        .message("architectures is missing: name at least one, for example amd64; only flat repositories (suites that end in /) and sources alone (include.sources) need none"),
    validation = Rule::new("!has(self.aliases) || self.aliases.all(a, a.suite in self.suites && !a.suite.endsWith('/'))")
        .message("an alias stands for one of the declared suites, and not for a flat repository"),
    validation = Rule::new("!has(self.aliases) || self.aliases.all(a, !(a.name in self.suites))")
        .message("an alias needs another name than every declared suite"),
    validation = Rule::new("!has(self.releaseNames) || self.releaseNames.all(r, r.suite in self.suites)")
        .message("releaseNames speaks of declared suites only: write suite as it stands in suites"),
)]
#[serde(rename_all = "camelCase")]
pub struct DebianContent {
    /// Suite names as they stand in a sources.list; one that ends in `/` is a flat repository.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 128)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new(crate::rules::SUITES).message("write suites as they stand in a sources.list, for example trixie-updates, or ./ for a flat repository; a part of a name begins with a letter or digit"))]
    pub suites: Vec<String>,
    /// Components; none for flat repositories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new(crate::rules::COMPONENTS).message("write components as they stand in a sources.list, for example main or updates/main; a part of a name begins with a letter or digit"))]
    pub components: Vec<String>,
    /// Architectures; `all` comes with any of them, and `source` says the same as `include.sources`. None with
    /// `include.sources`: sources alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 64)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new(crate::rules::ARCHITECTURES).message("write architectures as they stand in a sources.list, for example amd64, arm64 or all"))]
    pub architectures: Vec<String>,
    /// What else of the slice to copy besides packages and translations.
    #[serde(default)]
    pub include: DebianInclude,
    /// Other names of suites, as links beside them (`stable` for `trixie`). One is served as long as the suite's signed
    /// Release calls itself so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub aliases: Vec<DebianAlias>,
    /// What the Release of a suite calls itself where that is not the suite's own name. The Release of another suite is
    /// refused otherwise, since it could be put in the place of the one that is meant; apt only warns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["suite"]))]
    pub release_names: Vec<DebianReleaseName>,
    /// Which packages of all these to copy. The signed index stays upstream's, so clients still see the others and get
    /// 404 for them.
    #[serde(default, skip_serializing_if = "DebianPackages::is_empty")]
    pub packages: DebianPackages,
}

/// Another name of a suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct DebianAlias {
    /// The name that clients may use besides the suite's own.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new(crate::rules::ALIAS).message("write aliases as suites stand in a sources.list, for example stable; a part of a name begins with a letter or digit"))]
    pub name: String,
    /// The declared suite that it stands for.
    #[schemars(length(min = 1, max = 128))]
    pub suite: String,
}

/// What the Release of a suite calls itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DebianReleaseName {
    /// A declared suite.
    #[schemars(length(min = 1, max = 128))]
    pub suite: String,
    /// Its Suite or Codename; empty for a Release that has neither.
    #[schemars(length(max = 128))]
    pub name: String,
}

/// Rules over packages: one is copied when `include` is empty or some rule of it matches, and no rule of `exclude` does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DebianPackages {
    /// Only packages that one of these matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub include: Vec<PackageRule>,
    /// None of the packages that one of these matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub exclude: Vec<PackageRule>,
}

impl DebianPackages {
    fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }
}

/// Globs over what an index says of a package; all that are given must match. `*` matches any text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"), 
    validation = Rule::new("has(self.name) || has(self.section) || has(self.priority) || has(self.source)")
        .message("a rule over packages needs at least one of name, section, priority and source"),
)]
#[serde(rename_all = "camelCase")]
pub struct PackageRule {
    /// Name of the package (`linux-image-*`); for source packages the name of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub name: Option<String>,
    /// Section, with its component where the index says it (`{doc,*/doc}`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub section: Option<String>,
    /// Priority (`required`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub priority: Option<String>,
    /// The source package that it is made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub source: Option<String>,
}

/// Parts of an archive that not everybody needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// What is given of [`Content`]: one value for each type of Upstream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Block<'a> {
    Debian(&'a DebianContent),
    Arch(&'a ArchContent),
    Npm(&'a NpmContent),
}

impl Content {
    /// The block that is given; none where there is none, or more than one.
    pub fn block(&self) -> Option<Block<'_>> {
        let Content {
            debian,
            arch,
            npm,
            exclude: _,
        } = self;
        match (debian, arch, npm) {
            (Some(debian), None, None) => Some(Block::Debian(debian)),
            (None, Some(arch), None) => Some(Block::Arch(arch)),
            (None, None, Some(npm)) => Some(Block::Npm(npm)),
            _ => None,
        }
    }

    /// The units of the slice, whose revisions freshness compares; none without a block.
    pub fn units(&self) -> Vec<String> {
        self.block().map(Block::units).unwrap_or_default()
    }
}

impl<'a> Block<'a> {
    /// Whose Mirrors have it.
    pub fn upstream_type(self) -> UpstreamType {
        match self {
            Block::Debian(_) => UpstreamType::Debian,
            Block::Arch(_) => UpstreamType::Arch,
            Block::Npm(_) => UpstreamType::Npm,
        }
    }

    /// Debian: the suites. Arch: the databases, `repository/architecture`. A registry has none: it is no slice that is
    /// behind or not.
    pub fn units(self) -> Vec<String> {
        match self {
            Block::Debian(debian) => debian.suites.clone(),
            Block::Arch(arch) => arch.units(),
            Block::Npm(_) => Vec::new(),
        }
    }
}
