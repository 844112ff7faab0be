//! The Release file: what a suite calls itself, from when it is, and the digests of all its indices.
//! <https://wiki.debian.org/DebianRepository/Format#A.22Release.22_files>

use std::collections::BTreeMap;

use fleet_types::{Digest, HashAlgorithm, Hashes, Reason, RepoPath};

use crate::deb822::{Deb822Error, Reader, Stanza};
use crate::seam::Rejected;

/// No file of an archive comes near this: 1 TiB.
pub(super) const MAX_PLAUSIBLE_SIZE: u64 = 1 << 40;

const ALGORITHMS: [HashAlgorithm; 4] = [
    HashAlgorithm::Md5,
    HashAlgorithm::Sha1,
    HashAlgorithm::Sha256,
    HashAlgorithm::Sha512,
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Release {
    pub suite: Option<String>,
    pub codename: Option<String>,
    pub origin: Option<String>,
    pub label: Option<String>,
    /// As it stands there: what it means is [`super::time`]'s.
    pub date: Option<String>,
    /// As it stands there.
    pub valid_until: Option<String>,
    /// The priority that apt gives the packages where its user says nothing: 1, 100 or 500.
    pub priority: u16,
    pub acquire_by_hash: bool,
    /// Empty where the file does not say.
    pub components: Vec<String>,
    /// Empty where the file does not say.
    pub architectures: Vec<String>,
    /// The `Packages` of each architecture hold the `all` packages too: clients need no `binary-all`.
    pub all_is_included: bool,
    /// By path relative to the Release file.
    pub files: BTreeMap<RepoPath, ReleaseFile>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReleaseFile {
    pub size: u64,
    pub hashes: Hashes,
}

impl Release {
    /// Reads the one stanza of a Release file. Errors: `IndexMalformed`, `UnsafePath`, `PathConflict`.
    pub fn parse(payload: &[u8]) -> Result<Release, Rejected> {
        let mut reader = Reader::with_limit(payload, payload.len().saturating_add(1));
        let release = match reader.next_stanza().map_err(malformed)? {
            Some(stanza) => Release::from_stanza(&stanza)?,
            None => {
                return Err(Rejected::new(
                    Reason::IndexMalformed,
                    "the Release file is empty",
                ));
            }
        };
        match reader.next_stanza().map_err(malformed)? {
            None => Ok(release),
            // Two readers could take different ones.
            Some(second) => Err(malformed(
                second.malformed("a second stanza in a Release file".to_owned()),
            )),
        }
    }

    fn from_stanza(stanza: &Stanza<'_>) -> Result<Release, Rejected> {
        let text = |name: &str| {
            Ok::<_, Rejected>(
                stanza
                    .text(name)
                    .map_err(malformed)?
                    .filter(|text| !text.is_empty()),
            )
        };
        let words = |name: &str| {
            Ok::<_, Rejected>(
                text(name)?
                    .unwrap_or_default()
                    .split_ascii_whitespace()
                    .map(str::to_owned)
                    .collect(),
            )
        };
        let owned = |name: &str| Ok::<_, Rejected>(text(name)?.map(str::to_owned));
        let yes = |name: &str| Ok::<_, Rejected>(text(name)?.is_some_and(is_yes));
        let priority = match (yes("NotAutomatic")?, yes("ButAutomaticUpgrades")?) {
            (true, true) => 100,
            (true, false) => 1,
            (false, _) => 500,
        };
        Ok(Release {
            suite: owned("Suite")?,
            codename: owned("Codename")?,
            origin: owned("Origin")?,
            label: owned("Label")?,
            date: owned("Date")?,
            valid_until: owned("Valid-Until")?,
            priority,
            acquire_by_hash: yes("Acquire-By-Hash")?,
            components: words("Components")?,
            architectures: words("Architectures")?,
            all_is_included: text("No-Support-for-Architecture-all")?.is_some_and(|value| {
                value
                    .split_ascii_whitespace()
                    .any(|word| word.eq_ignore_ascii_case("Packages"))
            }),
            files: files(stanza)?,
        })
    }
}

/// What apt takes for true.
fn is_yes(value: &str) -> bool {
    ["yes", "true", "with", "on", "enable", "1"]
        .iter()
        .any(|yes| value.eq_ignore_ascii_case(yes))
}

fn files(stanza: &Stanza<'_>) -> Result<BTreeMap<RepoPath, ReleaseFile>, Rejected> {
    let mut files = BTreeMap::new();
    for algorithm in ALGORITHMS {
        let list = stanza
            .text(algorithm.debian_name())
            .map_err(malformed)?
            .unwrap_or_default();
        for line in list.lines().filter(|line| !line.trim().is_empty()) {
            let listed = ChecksumLine::parse(algorithm, line)
                .map_err(|what| malformed(stanza.malformed(what)))?;
            let path = RepoPath::new(listed.name).map_err(|error| {
                Rejected::new(
                    Reason::UnsafePath,
                    format!("the Release file lists {error}"),
                )
            })?;
            add_file(&mut files, path, &listed)?;
        }
    }
    Ok(files)
}

fn add_file(
    files: &mut BTreeMap<RepoPath, ReleaseFile>,
    path: RepoPath,
    listed: &ChecksumLine<'_>,
) -> Result<(), Rejected> {
    let conflict = |path: &RepoPath| {
        Err(Rejected::new(
            Reason::PathConflict,
            format!("the Release file lists {path} with different sizes or digests"),
        ))
    };
    let file = files.entry(path.clone()).or_insert(ReleaseFile {
        size: listed.size,
        hashes: Hashes::default(),
    });
    let known = file
        .hashes
        .iter()
        .find(|known| known.algorithm() == listed.digest.algorithm());
    if file.size != listed.size || known.is_some_and(|known| known != listed.digest) {
        return conflict(&path);
    }
    file.hashes.set(listed.digest);
    Ok(())
}

/// A line `digest size name` of a Release file, a source package or a difference index.
pub(super) struct ChecksumLine<'a> {
    pub digest: Digest,
    pub size: u64,
    pub name: &'a str,
}

impl<'a> ChecksumLine<'a> {
    pub fn parse(algorithm: HashAlgorithm, line: &'a str) -> Result<ChecksumLine<'a>, String> {
        let mut words = line.split_ascii_whitespace();
        let (Some(digest), Some(size), Some(name), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(format!(
                "{algorithm}: not `digest size name`: {:.120?}",
                line.trim()
            ));
        };
        let digest = Digest::parse(algorithm, digest)
            .map_err(|error| format!("{algorithm} of {name:.120?}: {error}"))?;
        let size = parse_size(size)
            .ok_or_else(|| format!("{algorithm}: the size of {name:.120?} is {size:.40?}"))?;
        Ok(ChecksumLine { digest, size, name })
    }
}

/// A size in bytes: decimal digits only, and one that a file can have.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|size| *size <= MAX_PLAUSIBLE_SIZE)
}

pub(super) fn malformed(error: Deb822Error) -> Rejected {
    match &error {
        Deb822Error::Malformed { .. } => Rejected::new(Reason::IndexMalformed, error.to_string()),
        Deb822Error::TooLarge { .. } => Rejected::new(Reason::TooLarge, error.to_string()),
        Deb822Error::Io(inner) => crate::decompress::rejection(inner),
    }
}
