//! Which of the files that a Release lists belong to the declared slice, and how clients fetch them.

use std::collections::{BTreeMap, BTreeSet};

use fleet_types::{Digest, Expected, Reason, RepoPath};

use super::release::{Release, ReleaseFile};
use super::slice::{DebianSlice, Include, Suite};
use crate::seam::{Compression, IndexFile, IndexGroup, Rejected};

/// Best compression first: the order in which one of a group is chosen to be read.
const SUFFIXES: [(&str, Compression); 5] = [
    (".xz", Compression::Xz),
    (".zst", Compression::Zstd),
    (".lzma", Compression::Lzma),
    (".bz2", Compression::Bzip2),
    (".gz", Compression::Gzip),
];

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

/// Where a file of the slice stands in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Role {
    kind: Kind,
    required: bool,
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

/// The index groups of the slice, by name. Errors: `NotOffered`, `WeakHash`, `UnsafePath`.
pub(super) fn groups(
    slice: &DebianSlice,
    suite: &Suite<'_>,
    release: &Release,
) -> Result<Vec<IndexGroup>, Rejected> {
    let selection = Selection {
        slice,
        suite,
        release,
        components: offered_components(slice, suite, release)?,
    };
    selection.offers_architectures()?;
    let mut stems: BTreeMap<&str, (Role, Vec<Listed<'_>>)> = BTreeMap::new();
    for (path, file) in &release.files {
        let (stem, compression) = split_suffix(path.as_str());
        if let Some(role) = selection.role(stem) {
            let listed = Listed {
                name: path.as_str(),
                compression,
                file,
            };
            stems
                .entry(stem)
                .or_insert((role, Vec::new()))
                .1
                .push(listed);
        }
    }
    selection.offers_indices(&stems.keys().copied().collect())?;
    stems
        .into_iter()
        .map(|(stem, (role, listed))| selection.group(stem, role, listed))
        .collect()
}

struct Listed<'a> {
    name: &'a str,
    compression: Compression,
    file: &'a ReleaseFile,
}

fn split_suffix(path: &str) -> (&str, Compression) {
    let found = SUFFIXES
        .iter()
        .find_map(|(suffix, compression)| Some((path.strip_suffix(suffix)?, *compression)));
    found.unwrap_or((path, Compression::None))
}

fn rank(compression: Compression) -> usize {
    SUFFIXES
        .iter()
        .position(|(_, known)| *known == compression)
        .unwrap_or(SUFFIXES.len())
}

/// The directories of the declared components: `main`, or where the Release says `updates/main`, that too.
fn offered_components<'a>(
    slice: &'a DebianSlice,
    suite: &Suite<'_>,
    release: &'a Release,
) -> Result<Vec<(&'a str, Vec<&'a str>)>, Rejected> {
    if suite.is_flat() {
        return Ok(vec![]);
    }
    let mut found = Vec::new();
    for declared in &slice.components {
        let fits = |offered: &&String| {
            *offered == declared
                || offered
                    .strip_suffix(declared.as_str())
                    .is_some_and(|prefix| prefix.ends_with('/'))
        };
        let mut directories: Vec<&str> = release
            .components
            .iter()
            .filter(fits)
            .map(String::as_str)
            .collect();
        if directories.is_empty() && !release.components.is_empty() {
            return Err(not_offered(
                suite,
                "component",
                declared,
                &release.components,
            ));
        }
        if !directories.contains(&declared.as_str()) {
            directories.push(declared);
        }
        found.push((declared.as_str(), directories));
    }
    Ok(found)
}

fn not_offered(suite: &Suite<'_>, what: &str, declared: &str, offered: &[String]) -> Rejected {
    let message = format!(
        "suite {} has no {what} {declared}; it offers {}",
        suite.name,
        offered.join(", ")
    );
    Rejected::new(Reason::NotOffered, message)
}

struct Selection<'a> {
    slice: &'a DebianSlice,
    suite: &'a Suite<'a>,
    release: &'a Release,
    /// Each declared component with the directories that may hold it.
    components: Vec<(&'a str, Vec<&'a str>)>,
}

impl Selection<'_> {
    fn offers_architectures(&self) -> Result<(), Rejected> {
        let offered = &self.release.architectures;
        if self.suite.is_flat() || offered.is_empty() {
            return Ok(());
        }
        let missing = self
            .slice
            .architectures
            .iter()
            .find(|declared| *declared != "all" && !offered.contains(declared));
        match missing {
            Some(declared) => Err(not_offered(self.suite, "architecture", declared, offered)),
            None => Ok(()),
        }
    }

    /// Whether every index that the slice cannot do without is listed.
    fn offers_indices(&self, stems: &BTreeSet<&str>) -> Result<(), Rejected> {
        for names in self.indispensable() {
            if !names.iter().any(|name| stems.contains(name.as_str())) {
                let name = names.first().map(String::as_str).unwrap_or_default();
                return Err(Rejected::new(
                    Reason::NotOffered,
                    format!(
                        "the Release lists no {name}; take what needs it out of the declared content"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// For each indispensable index the names that it may have.
    fn indispensable(&self) -> Vec<Vec<String>> {
        if self.suite.is_flat() {
            let sources = self
                .slice
                .include
                .sources
                .then(|| vec!["Sources".to_owned()]);
            return std::iter::once(vec!["Packages".to_owned()])
                .chain(sources)
                .collect();
        }
        // Beside another architecture `all` asks for nothing: it is implied, and often part of the other's index.
        let architectures = &self.slice.architectures;
        let asked = architectures
            .iter()
            .filter(|name| *name != "all" || architectures.len() == 1);
        let mut wanted: Vec<String> = asked
            .map(|architecture| format!("binary-{architecture}/Packages"))
            .collect();
        if self.slice.include.sources {
            wanted.push("source/Sources".to_owned());
        }
        let components = self.components.iter();
        let each = components
            .flat_map(|(_, directories)| wanted.iter().map(move |name| (directories, name)));
        each.map(|(directories, name)| {
            directories
                .iter()
                .map(|directory| format!("{directory}/{name}"))
                .collect()
        })
        .collect()
    }

    /// What a file is to the slice; none where it does not belong to it.
    fn role(&self, stem: &str) -> Option<Role> {
        if self.suite.is_flat() {
            return match stem {
                "Packages" => Some(Role::required(Kind::Packages)),
                "Sources" if self.slice.include.sources => Some(Role::required(Kind::Sources)),
                _ => None,
            };
        }
        let directories = self
            .components
            .iter()
            .flat_map(|(_, directories)| directories);
        let inside = directories
            .filter_map(|directory| stem.strip_prefix(*directory)?.strip_prefix('/'))
            .next();
        match inside {
            Some(inside) => self.role_in_component(inside),
            None => self.role_of_contents(stem),
        }
    }

    fn role_in_component(&self, inside: &str) -> Option<Role> {
        let Include {
            sources,
            dep11,
            installer,
            ..
        } = self.slice.include;
        let Some((directory, rest)) = inside.split_once('/') else {
            return self.role_of_contents(inside);
        };
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
            "i18n" => self.role_of_translation(rest),
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
        architecture == "all"
            || self
                .slice
                .architectures
                .iter()
                .any(|declared| declared == architecture)
    }

    fn role_of_binary(&self, architecture: &str, rest: &str) -> Option<Role> {
        let declared = self
            .slice
            .architectures
            .iter()
            .any(|declared| declared == architecture);
        let required = declared || !self.release.all_is_included;
        self.role_of_package_index(
            rest,
            "Packages",
            Role {
                kind: Kind::Packages,
                required,
            },
        )
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
        let icons = rest.starts_with("icons-") && !rest.contains('/');
        (icons || components.is_some_and(|architecture| self.wants(architecture)))
            .then_some(Role::OPAQUE)
    }

    /// `Contents-amd64`, `Contents-udeb-amd64`, `Contents-source`, and their differences.
    fn role_of_contents(&self, name: &str) -> Option<Role> {
        let Include {
            sources,
            contents,
            installer,
            pdiffs,
            ..
        } = self.slice.include;
        let rest = name.strip_prefix("Contents-").filter(|_| contents)?;
        let (rest, role) = match rest.strip_suffix(".diff/Index") {
            Some(rest) => (rest, pdiffs.then_some(Role::DIFFERENCES)?),
            None => (rest, Role::OPAQUE),
        };
        let wanted = match rest.strip_prefix("udeb-") {
            Some(architecture) => installer && self.wants(architecture),
            None => (rest == "source" && sources) || self.wants(rest),
        };
        wanted.then_some(role)
    }

    fn group(
        &self,
        stem: &str,
        role: Role,
        mut listed: Vec<Listed<'_>>,
    ) -> Result<IndexGroup, Rejected> {
        listed.sort_by_key(|listed| rank(listed.compression));
        let files: Vec<IndexFile> = listed
            .iter()
            .filter_map(|listed| self.index_file(listed).transpose())
            .collect::<Result<_, _>>()?;
        if files.is_empty() {
            return Err(Rejected::new(
                Reason::WeakHash,
                format!(
                    "the Release lists {stem} with MD5 or SHA-1 only; the upstream must list SHA-256 or SHA-512"
                ),
            ));
        }
        let uncompressed = files
            .iter()
            .find(|file| file.compression == Compression::None)
            .map(|file| file.expected);
        Ok(IndexGroup {
            stem: self.suite.path(stem)?,
            lists_payload: role.kind != Kind::Opaque,
            required: role.required,
            files,
            uncompressed,
            kind: role.kind as u16,
        })
    }

    /// None where only weak digests are listed.
    fn index_file(&self, listed: &Listed<'_>) -> Result<Option<IndexFile>, Rejected> {
        let Some(digest) = listed.file.hashes.strong() else {
            return Ok(None);
        };
        let path = self.suite.path(listed.name)?;
        let by_hash = |digest: Digest| {
            let (directory, slash) = path.parent().map_or(("", ""), |directory| (directory, "/"));
            let name = format!(
                "{directory}{slash}by-hash/{}/{digest}",
                digest.algorithm().debian_name()
            );
            RepoPath::new(&name)
                .map_err(|error| Rejected::new(Reason::UnsafePath, error.to_string()))
        };
        let aliases = listed
            .file
            .hashes
            .iter()
            .map(by_hash)
            .collect::<Result<Vec<_>, _>>()?;
        // The digests come weakest first.
        let strongest = aliases
            .last()
            .filter(|_| self.release.acquire_by_hash)
            .cloned();
        Ok(Some(IndexFile {
            sources: strongest.into_iter().chain([path.clone()]).collect(),
            expected: Expected {
                size: listed.file.size,
                digest,
            },
            hashes: listed.file.hashes,
            compression: listed.compression,
            aliases,
            mutable: true,
            path,
        }))
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
