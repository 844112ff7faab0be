//! Which of the files that a Release lists belong to the declared slice, and how clients fetch them.
//!
//! What is declared is a wish, and the list is the truth: what is declared and not listed is a hole, and a note says so.

use std::collections::BTreeMap;

use fleet_types::{Digest, Expected, Reason, RepoPath, counted};

use super::offer::{Declared, Offer};
use super::release::{Release, ReleaseFile};
use super::roles::{Kind, Role, Roles, rank, split_suffix};
use super::slice::{Slice, Suite};
use crate::decompress::MAX_OUTPUT_LIMIT;
use crate::seam::{Alias, Compression, IndexFile, IndexGroup, Lack, Rejected};

/// What a Release has of the slice.
pub(super) struct Layout {
    /// By name.
    pub groups: Vec<IndexGroup>,
    /// What is declared and nowhere to be found.
    pub lacks: Vec<Lack>,
    /// Holes and what is left out, one sentence each.
    pub notes: Vec<String>,
}

/// Errors: `WeakHash`, `UnsafePath`, `IndexMalformed` and `TooLarge`, all of them only for indices that
/// the slice needs.
pub(super) fn layout(
    slice: &Slice,
    suite: &Suite<'_>,
    release: &Release,
) -> Result<Layout, Rejected> {
    let offer = Offer::of(release, suite);
    let declared = Declared::of(slice, suite, release, &offer);
    let selection = Selection { suite, release };
    let roles = Roles {
        slice,
        flat: suite.is_flat(),
        asks_for_all: release.asks_for_all(),
        components: declared.directories().collect(),
    };
    let mut stems: BTreeMap<&str, (Role, Vec<Listed<'_>>)> = BTreeMap::new();
    for (name, file) in &release.files {
        let (stem, compression) = split_suffix(name);
        if let Some(role) = roles.role(stem) {
            let listed = Listed {
                name,
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
    let mut notes = declared.holes(&|stem| stems.contains_key(stem));
    for (name, why) in &release.unusable {
        let stem = split_suffix(name).0;
        match roles.role(stem) {
            Some(role) if role.required && !stems.contains_key(stem) => return Err(why.clone()),
            Some(_) => notes.push(format!("{name} is left out: {why}")),
            None => {}
        }
    }
    for name in &release.disputed {
        if roles.role(split_suffix(name).0).is_some() {
            notes.push(format!(
                "the Release lists {name:.120?} several times and differently; what stands first counts, as for apt"
            ));
        }
    }
    let mut groups = Vec::new();
    for (stem, (role, listed)) in stems {
        match selection.group(stem, role, listed) {
            Ok(group) => groups.push(group),
            Err(why) if role.required => return Err(why),
            Err(why) => notes.push(format!("{stem} is left out: {why}")),
        }
    }
    Ok(Layout {
        groups,
        lacks: declared.lacks(),
        notes,
    })
}

struct Listed<'a> {
    name: &'a str,
    compression: Compression,
    file: &'a ReleaseFile,
}

struct Selection<'a> {
    suite: &'a Suite<'a>,
    release: &'a Release,
}

impl Selection<'_> {
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
                "the Release lists {path} with {}; no index has more than {MAX_OUTPUT_LIMIT}",
                counted(listed.file.size, "byte")
            );
            return Err(Rejected::new(Reason::TooLarge, message));
        }
        let by_hash = |digest: Digest| {
            let (directory, slash) = path.parent().map_or(("", ""), |directory| (directory, "/"));
            let name = format!(
                "{directory}{slash}by-hash/{}/{digest}",
                digest.algorithm().debian_name()
            );
            let immutable = |path| Alias {
                path,
                mutable: false,
            };
            RepoPath::new(&name)
                .map(immutable)
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
            .map(|alias| alias.path.clone());
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
