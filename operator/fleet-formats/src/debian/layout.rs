//! Which of the files that a Release lists belong to the declared slice, and how clients fetch them.

use std::collections::{BTreeMap, BTreeSet};

use fleet_types::{Digest, Expected, Reason, RepoPath};

use super::release::{Release, ReleaseFile};
use super::roles::{Kind, Role, Roles};
use super::slice::{DebianSlice, Suite};
use crate::decompress::MAX_OUTPUT_LIMIT;
use crate::seam::{Compression, IndexFile, IndexGroup, Rejected};

/// Best compression first: the order in which one of a group is chosen to be read.
const SUFFIXES: [(&str, Compression); 6] = [
    (".xz", Compression::Xz),
    (".zst", Compression::Zstd),
    (".lzma", Compression::Lzma),
    (".bz2", Compression::Bzip2),
    (".gz", Compression::Gzip),
    (".lz4", Compression::Lz4),
];

/// The index groups of the slice, by name. Errors: `NotOffered`, `WeakHash`, `UnsafePath`,
/// `TooLarge`.
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
    let roles = selection.roles();
    let mut stems: BTreeMap<&str, (Role, Vec<Listed<'_>>)> = BTreeMap::new();
    for (path, file) in &release.files {
        let (stem, compression) = split_suffix(path.as_str());
        if let Some(role) = roles.role(stem) {
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
) -> Result<Vec<Vec<&'a str>>, Rejected> {
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
        found.push(directories);
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
    /// For each declared component the directories that may hold it.
    components: Vec<Vec<&'a str>>,
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

    fn roles(&self) -> Roles<'_> {
        let components = self.components.iter().flatten().copied();
        Roles {
            slice: self.slice,
            flat: self.suite.is_flat(),
            all_is_included: self.release.all_is_included,
            components: components.collect(),
        }
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
        let each =
            components.flat_map(|directories| wanted.iter().map(move |name| (directories, name)));
        each.map(|(directories, name)| {
            directories
                .iter()
                .map(|directory| format!("{directory}/{name}"))
                .collect()
        })
        .collect()
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
        if listed.file.size > MAX_OUTPUT_LIMIT {
            let message = format!(
                "the Release lists {path} with {} bytes; no index has more than {MAX_OUTPUT_LIMIT}",
                listed.file.size
            );
            return Err(Rejected::new(Reason::TooLarge, message));
        }
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
