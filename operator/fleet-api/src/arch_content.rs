//! The content block of a mirror of pacman's repositories.

use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A slice of an upstream with pacman's repositories: Arch Linux, and whoever else publishes for pacman.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"), 
    validation = Rule::new("size(self.architectures) == 1 || self.layout.path.contains('$arch')")
        .message("layout.path lacks $arch, so that all architectures would be one folder: put it in, or declare one architecture"),
    validation = Rule::new("size(self.architectures) == 1 || !has(self.layout.paths) || self.layout.paths.all(p, p.path.contains('$arch'))")
        .message("a path in layout.paths lacks $arch, so that all architectures would be one folder: put it in, or declare one architecture"),
    validation = Rule::new("!has(self.layout.paths) || self.layout.paths.all(p, p.repo in self.repos)")
        .message("layout.paths speaks of declared repositories only: write repo as it stands in repos"),
)]
#[serde(rename_all = "camelCase")]
pub struct ArchContent {
    /// Repositories as they stand in a pacman.conf: `core`, `extra`.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 64)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new(crate::rules::REPOS).message("write repositories as they stand in a pacman.conf, for example core or extra-testing; a name begins with a letter, a digit or _ and holds no slash"))]
    pub repos: Vec<String>,
    /// What stands for `$arch` in the upstream's addresses: `x86_64`. Packages of the architecture `any` come with each.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 64)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new(crate::rules::ARCHITECTURES).message("write architectures as they stand in the upstream's addresses, for example x86_64 or aarch64"))]
    pub architectures: Vec<String>,
    /// Where an upstream has its repositories.
    #[serde(default)]
    pub layout: ArchLayout,
    /// What of a repository to copy besides its database and its packages.
    #[serde(default)]
    pub include: ArchInclude,
    /// Which packages of all these to copy. The database stays upstream's, so clients still see the others and get 404
    /// for them.
    #[serde(default, skip_serializing_if = "ArchPackages::is_empty")]
    pub packages: ArchPackages,
    /// What to do about a new state in which a package has a lower version than before, as pacman compares versions.
    #[serde(default, skip_serializing_if = "ArchDowngrades::is_note")]
    pub downgrades: ArchDowngrades,
}

/// What to do about packages that go back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ArchDowngrades {
    /// It is copied, and the run's report names them: packages are withdrawn, and repositories of development versions go
    /// back often.
    #[default]
    Note,
    /// The repository keeps the state that it has (`RollbackDetected`).
    Refuse,
}

impl ArchDowngrades {
    fn is_note(&self) -> bool {
        *self == ArchDowngrades::Note
    }
}

/// Where an upstream has its repositories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct ArchLayout {
    /// The folder of a repository's database below the Upstream's URL, as it stands in a mirrorlist: `$repo` and `$arch`
    /// stand for names; `.` is the top itself.
    #[serde(default = "ArchLayout::default_path")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new(crate::rules::LAYOUT).message(LAYOUT_MESSAGE))]
    pub path: String,
    /// Repositories that have another folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["repo"]))]
    pub paths: Vec<ArchRepoPath>,
    /// A folder in which the upstream has every package once more, `pool/packages` for example; `$repo` and `$arch` as
    /// above. The content is stored once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new(crate::rules::LAYOUT).message(LAYOUT_MESSAGE))]
    pub pool: Option<String>,
    /// By which file at its top an upstream tells that something is new.
    #[serde(default)]
    pub clock: ArchClock,
}

const LAYOUT_MESSAGE: &str = "write a folder below the Upstream's URL, for example $repo/os/$arch; a part of it begins with a letter, a digit or $";

impl ArchLayout {
    fn default_path() -> String {
        "$repo/os/$arch".to_owned()
    }
}

impl Default for ArchLayout {
    fn default() -> Self {
        ArchLayout {
            path: Self::default_path(),
            paths: Vec::new(),
            pool: None,
            clock: ArchClock::default(),
        }
    }
}

/// Where one repository is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct ArchRepoPath {
    /// A declared repository.
    #[schemars(length(min = 1, max = 64))]
    pub repo: String,
    /// Its folder, as in `layout.path`.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new(crate::rules::LAYOUT).message(LAYOUT_MESSAGE))]
    pub path: String,
}

/// By what an upstream tells that something is new.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ArchClock {
    /// The file `lastupdate`, as Arch Linux has it; while it is as it was, no database is asked for. `lastsync` is copied
    /// with it. An upstream without these files is asked for its databases.
    #[default]
    LastUpdate,
    /// Nothing: each database is asked for, on condition that it is new. For upstreams that do not renew the file.
    None,
}

/// What of a repository not everybody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArchInclude {
    /// The lists of files in packages (`core.files`), which `pacman -F` reads.
    #[serde(default = "ArchInclude::yes")]
    pub files: bool,
    /// The signature beside each package (`.sig`). Upstreams that sign nothing have none; those that a database holds
    /// itself are copied in any case.
    #[serde(default = "ArchInclude::yes")]
    pub signatures: bool,
    /// The installation images of the release that `iso/latest` has, as Arch Linux lays them out at its top: what
    /// `iso/latest/sha256sums.txt` names, with the signature beside each, also below `iso/` and the release's date.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub iso: bool,
}

impl ArchInclude {
    const fn yes() -> bool {
        true
    }
}

impl Default for ArchInclude {
    fn default() -> Self {
        ArchInclude {
            files: true,
            signatures: true,
            iso: false,
        }
    }
}

/// Rules over packages: one is copied when `include` is empty or some rule of it matches, and no rule of `exclude` does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArchPackages {
    /// Only packages that one of these matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub include: Vec<ArchPackageRule>,
    /// None of the packages that one of these matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub exclude: Vec<ArchPackageRule>,
}

impl ArchPackages {
    fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }
}

/// Globs over what a database says of a package; all that are given must match. `*` matches any text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"), 
    validation = Rule::new("has(self.name) || has(self.base) || has(self.group)")
        .message("a rule over packages needs at least one of name, base and group"),
)]
#[serde(rename_all = "camelCase")]
pub struct ArchPackageRule {
    /// Name of the package (`linux-*`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub name: Option<String>,
    /// The package base that it was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub base: Option<String>,
    /// A group that it is in (`gnome`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub group: Option<String>,
}

impl ArchContent {
    /// The unit of the installation images.
    pub const IMAGES: &str = "iso";

    /// One for each database, `core/x86_64`, and one for the installation images.
    pub fn units(&self) -> Vec<String> {
        let of_repo = |repo| {
            let architectures = self.architectures.iter();
            architectures.map(move |architecture| format!("{repo}/{architecture}"))
        };
        let images = self.include.iso.then(|| Self::IMAGES.to_owned());
        let databases = self.repos.iter().flat_map(of_repo);
        databases.chain(images).collect()
    }

    /// The folder of a repository's database as it is declared, before anything stands for `$repo` and `$arch`.
    pub fn path_of(&self, repo: &str) -> &str {
        let mut own = self.layout.paths.iter();
        let own = own.find(|own| own.repo == repo);
        own.map_or(&self.layout.path, |own| &own.path)
    }
}
