//! What a file is to the declared slice, by its name alone.
//! <https://wiki.debian.org/DebianRepository/Format#Overview>

use fleet_api::mirror::DebianInclude;

use super::slice::Slice;
use crate::seam::{Compression, IndexGroup};

/// Best compression first: the order in which one of a group is chosen to be read.
pub(super) const SUFFIXES: [(&str, Compression); 6] = [
    (".xz", Compression::Xz),
    (".zst", Compression::Zstd),
    (".lzma", Compression::Lzma),
    (".bz2", Compression::Bzip2),
    (".gz", Compression::Gzip),
    (".lz4", Compression::Lz4),
];

/// An index's name without its suffix of compression.
pub(super) fn split_suffix(path: &str) -> (&str, Compression) {
    let found = SUFFIXES
        .iter()
        .find_map(|(suffix, compression)| Some((path.strip_suffix(suffix)?, *compression)));
    found.unwrap_or((path, Compression::None))
}

/// The better one comes first.
pub(super) fn rank(compression: Compression) -> usize {
    SUFFIXES
        .iter()
        .position(|(_, known)| *known == compression)
        .unwrap_or(SUFFIXES.len())
}

/// What a group's files list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Kind {
    /// Nothing that we fetch: Translation, Contents, dep11, Commands, the per-component Release files.
    Opaque = 0,
    Packages = 1,
    Sources = 2,
    /// `SHA256SUMS`: names relative to its own directory, without sizes.
    Checksums = 3,
    /// `*.diff/Index`: patches in its own directory.
    Differences = 4,
}

impl Kind {
    pub fn of(group: &IndexGroup) -> Kind {
        let kinds = [
            Kind::Packages,
            Kind::Sources,
            Kind::Checksums,
            Kind::Differences,
        ];
        kinds
            .into_iter()
            .find(|kind| *kind as u16 == group.kind)
            .unwrap_or(Kind::Opaque)
    }
}

/// Where a file of the slice stands in it. Required is what clients ask for (apt: `Packages` and `Sources`) and what the
/// slice names besides; differences only spare clients some bytes, and all else is good to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Role {
    pub kind: Kind,
    pub required: bool,
}

impl Role {
    const OPAQUE: Role = Role {
        kind: Kind::Opaque,
        required: false,
    };
    const DIFFERENCES: Role = Role {
        kind: Kind::Differences,
        required: false,
    };

    const fn required(kind: Kind) -> Role {
        Role {
            kind,
            required: true,
        }
    }
}

/// What decides about the names.
pub(super) struct Roles<'a> {
    pub slice: &'a Slice,
    pub flat: bool,
    /// Whether clients ask for `binary-all` beside an architecture's own index.
    pub asks_for_all: bool,
    /// The directories of the declared components, relative to the Release file.
    pub components: Vec<&'a str>,
}

impl Roles<'_> {
    /// What a file is to the slice; none where it does not belong to it.
    pub fn role(&self, stem: &str) -> Option<Role> {
        if self.flat {
            return self.role_in_flat(stem);
        }
        let inside = |directory: &&str| stem.strip_prefix(directory)?.strip_prefix('/');
        let components = self.components.iter().filter_map(inside);
        components
            .filter_map(|rest| self.role_in_component(rest))
            .next()
            .or_else(|| self.role_of_contents(stem))
    }

    /// Nothing is declared of a flat repository but what to copy besides packages.
    fn role_in_flat(&self, name: &str) -> Option<Role> {
        let DebianInclude {
            sources,
            contents,
            pdiffs,
            ..
        } = self.slice.include;
        let (plain, differences) = match name.strip_suffix(".diff/Index") {
            Some(plain) => (plain, true),
            None => (name, false),
        };
        let role = match plain {
            "Packages" => Role::required(Kind::Packages),
            "Sources" if sources => Role::required(Kind::Sources),
            _ if contents && plain.starts_with("Contents-") && !plain.contains('/') => {
                Role::required(Kind::Opaque)
            }
            _ => return None,
        };
        match differences {
            true => pdiffs.then_some(Role::DIFFERENCES),
            false => Some(role),
        }
    }

    fn role_in_component(&self, inside: &str) -> Option<Role> {
        let DebianInclude {
            sources,
            dep11,
            installer,
            ..
        } = self.slice.include;
        if inside.starts_with("Contents-") {
            return self.role_of_contents(inside);
        }
        let (directory, rest) = inside.split_once('/')?;
        if let Some(architecture) = directory.strip_prefix("binary-") {
            return self
                .wants(architecture)
                .then(|| self.role_of_binary(architecture, rest))?;
        }
        if let Some(architecture) = directory.strip_prefix("installer-") {
            return (installer && self.wants(architecture)).then(|| role_of_installer(rest))?;
        }
        match directory {
            "source" if sources => {
                self.role_of_package_index(rest, "Sources", Role::required(Kind::Sources))
            }
            // They translate the descriptions of binary packages.
            "i18n" if self.wants("all") => self.role_of_translation(rest),
            "dep11" if dep11 => self.role_of_dep11(rest),
            "cnf" => rest
                .strip_prefix("Commands-")
                .filter(|architecture| self.wants(architecture))
                .map(|_| Role::OPAQUE),
            "debian-installer" if installer => {
                let (directory, rest) = rest.split_once('/')?;
                directory
                    .strip_prefix("binary-")
                    .filter(|architecture| self.wants(architecture))?;
                self.role_of_package_index(rest, "Packages", Role::required(Kind::Packages))
            }
            _ => None,
        }
    }

    fn wants(&self, architecture: &str) -> bool {
        let mut declared = self.slice.architectures.iter();
        match architecture {
            "all" => declared.next().is_some(),
            other => declared.any(|declared| declared == other),
        }
    }

    fn role_of_binary(&self, architecture: &str, rest: &str) -> Option<Role> {
        let alone = self.slice.architectures == ["all"];
        let role = Role {
            kind: Kind::Packages,
            required: architecture != "all" || self.asks_for_all || alone,
        };
        self.role_of_package_index(rest, "Packages", role)
    }

    /// `Packages`, `Release` and `Packages.diff/Index` in one directory; the same with `Sources`.
    fn role_of_package_index(&self, rest: &str, index: &str, role: Role) -> Option<Role> {
        match rest.strip_prefix(index) {
            Some("") => Some(role),
            Some(".diff/Index") => self.slice.include.pdiffs.then_some(Role::DIFFERENCES),
            _ => (rest == "Release").then_some(Role::OPAQUE),
        }
    }

    fn role_of_translation(&self, rest: &str) -> Option<Role> {
        if rest == "Index" {
            // What clients before 2012 read.
            return Some(Role::OPAQUE);
        }
        let language = rest.strip_prefix("Translation-")?;
        match language.split_once('/') {
            None => Some(Role::OPAQUE),
            Some((_, "Index")) if language.ends_with(".diff/Index") => {
                self.slice.include.pdiffs.then_some(Role::DIFFERENCES)
            }
            Some(_) => None,
        }
    }

    fn role_of_dep11(&self, rest: &str) -> Option<Role> {
        let components = rest
            .strip_prefix("Components-")
            .and_then(|rest| rest.strip_suffix(".yml"));
        let cross_index = rest
            .strip_prefix("CID-Index-")
            .and_then(|rest| rest.strip_suffix(".json"));
        let icons = rest.starts_with("icons-") && !rest.contains('/');
        let mut of_architecture = components.into_iter().chain(cross_index);
        (icons || of_architecture.any(|architecture| self.wants(architecture)))
            .then_some(Role::required(Kind::Opaque))
    }

    /// `Contents-amd64`, `Contents-udeb-amd64`, `Contents-source`, and their differences.
    fn role_of_contents(&self, name: &str) -> Option<Role> {
        let DebianInclude {
            sources,
            contents,
            installer,
            pdiffs,
            ..
        } = self.slice.include;
        let rest = name.strip_prefix("Contents-").filter(|_| contents)?;
        let (rest, role) = match rest.strip_suffix(".diff/Index") {
            Some(rest) => (rest, pdiffs.then_some(Role::DIFFERENCES)?),
            None => (rest, Role::required(Kind::Opaque)),
        };
        let wanted = match rest.strip_prefix("udeb-") {
            Some(architecture) => installer && self.wants(architecture),
            None => (rest == "source" && sources) || self.wants(rest),
        };
        wanted.then_some(role)
    }
}

/// Below `installer-<architecture>/`. Only the current images: older ones are of no use to an installation.
fn role_of_installer(rest: &str) -> Option<Role> {
    let (directory, file) = rest.rsplit_once('/')?;
    let images = matches!(directory, "current/images" | "current/legacy-images");
    match file {
        "SHA256SUMS" if images => Some(Role::required(Kind::Checksums)),
        "MD5SUMS" if images => Some(Role::OPAQUE),
        _ => None,
    }
}
