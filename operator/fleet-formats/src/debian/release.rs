//! The Release file: what a suite calls itself, from when it is, and the digests of all its indices.
//! <https://wiki.debian.org/DebianRepository/Format#A.22Release.22_files>

use std::collections::{BTreeMap, BTreeSet};

use fleet_types::{Digest, HashAlgorithm, Hashes, Reason, RepoPath};

use super::stray::{self, Passed};
use crate::deb822::{Deb822Error, Reader, Stanza};
use crate::seam::Rejected;

/// No file of an archive comes near this: 1 TiB.
pub(super) const MAX_PLAUSIBLE_SIZE: u64 = 1 << 40;

/// In the order in which apt reads the lists: what the first of them says of a file's size counts.
const ALGORITHMS: [HashAlgorithm; 4] = [
    HashAlgorithm::Sha512,
    HashAlgorithm::Sha256,
    HashAlgorithm::Sha1,
    HashAlgorithm::Md5,
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
    /// By the name as it is written, relative to the Release file: clients look for exactly that text.
    pub files: BTreeMap<String, ReleaseFile>,
    /// Names whose lines nobody can use, and why. They are of no importance to those who do not need the file.
    pub unusable: BTreeMap<String, Rejected>,
    /// Names that stand several times with different sizes or digests: what stands first counts, as for apt.
    pub disputed: BTreeSet<String>,
    /// What clients pass over, one sentence each.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReleaseFile {
    pub size: u64,
    pub hashes: Hashes,
}

impl Release {
    /// Of an upstream that has none.
    pub fn none() -> Release {
        Release {
            suite: None,
            codename: None,
            origin: None,
            label: None,
            date: None,
            valid_until: None,
            priority: 500,
            acquire_by_hash: false,
            components: Vec::new(),
            architectures: Vec::new(),
            all_is_included: false,
            files: BTreeMap::new(),
            unusable: BTreeMap::new(),
            disputed: BTreeSet::new(),
            notes: Vec::new(),
        }
    }

    /// Reads the first stanza of a Release file, as clients do. Errors: `IndexMalformed`.
    pub fn parse(payload: &[u8]) -> Result<Release, Rejected> {
        let Passed { text, notes } = stray::pass_over(payload)?;
        let mut reader = Reader::with_limit(text.as_slice(), text.len().saturating_add(1));
        match reader.next_stanza().map_err(malformed)? {
            Some(stanza) => Release::from_stanza(&stanza, notes),
            None => Err(Rejected::new(
                Reason::IndexMalformed,
                "the Release file is empty, or begins with several empty lines, where clients stop reading",
            )),
        }
    }

    fn from_stanza(stanza: &Stanza<'_>, mut notes: Vec<String>) -> Result<Release, Rejected> {
        let text = |name: &str| {
            let text = stanza.last_text(name).map_err(malformed)?;
            Ok::<_, Rejected>(text.filter(|text| !text.is_empty()))
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
        // What people call a suite may be in any encoding; apt compares bytes, and nothing here is more than compared and shown.
        let owned = |name: &str| {
            stanza
                .all(name)
                .next_back()
                .filter(|value| !value.is_empty())
                .map(|value| String::from_utf8_lossy(value).into_owned())
        };
        let yes = |name: &str| Ok::<_, Rejected>(text(name)?.is_some_and(is_yes));
        let priority = match (yes("NotAutomatic")?, yes("ButAutomaticUpgrades")?) {
            (true, true) => 100,
            (true, false) => 1,
            (false, _) => 500,
        };
        if let Some(twice) = stanza.repeated() {
            notes.push(format!(
                "in the Release file {twice}; the last one counts, as for apt"
            ));
        }
        let Files {
            files,
            unusable,
            disputed,
        } = files(stanza)?;
        Ok(Release {
            suite: owned("Suite"),
            codename: owned("Codename"),
            origin: owned("Origin"),
            label: owned("Label"),
            date: owned("Date"),
            valid_until: owned("Valid-Until"),
            priority,
            acquire_by_hash: yes("Acquire-By-Hash")?,
            components: words("Components")?,
            architectures: words("Architectures")?,
            all_is_included: text("No-Support-for-Architecture-all")?.is_some_and(|value| {
                let mut words = value.split_ascii_whitespace();
                words.any(|word| word.eq_ignore_ascii_case("Packages"))
            }),
            files,
            unusable,
            disputed,
            notes,
        })
    }

    /// Whether anything is listed by a digest that apt believes. It refuses a signed Release that lists nothing so.
    pub fn has_strong_sums(&self) -> bool {
        let mut files = self.files.values();
        files.any(|file| file.hashes.strong().is_some())
    }

    /// Whether clients ask for `binary-all` beside an architecture's own index. apt asks where `all` is among the
    /// architectures, or nothing is said of them.
    pub fn asks_for_all(&self) -> bool {
        let offers_all =
            self.architectures.is_empty() || self.architectures.iter().any(|name| name == "all");
        offers_all && !self.all_is_included
    }
}

/// What apt takes for true.
fn is_yes(value: &str) -> bool {
    ["yes", "true", "with", "on", "enable", "1"]
        .iter()
        .any(|yes| value.eq_ignore_ascii_case(yes))
}

/// What the lists of a Release say, as in [`Release`].
#[derive(Default)]
struct Files {
    files: BTreeMap<String, ReleaseFile>,
    unusable: BTreeMap<String, Rejected>,
    disputed: BTreeSet<String>,
}

/// Errors: `IndexMalformed` where a line has not three words; clients give up the whole file then.
fn files(stanza: &Stanza<'_>) -> Result<Files, Rejected> {
    let mut found = Files::default();
    for algorithm in ALGORITHMS {
        let list = stanza
            .last_text(algorithm.debian_name())
            .map_err(malformed)?
            .unwrap_or_default();
        for line in list.lines().filter(|line| !line.trim().is_empty()) {
            let words = ChecksumWords::of(algorithm, line)
                .map_err(|what| malformed(stanza.malformed(what)))?;
            let name = words.name.to_owned();
            match listed_file(stanza, &words) {
                Ok(listed) => found.add(name, &listed),
                Err(why) => {
                    found.unusable.entry(name).or_insert(why);
                }
            }
        }
    }
    let Files {
        files, unusable, ..
    } = &mut found;
    files.retain(|name, _| !unusable.contains_key(name));
    Ok(found)
}

impl Files {
    /// What stands first counts.
    fn add(&mut self, name: String, listed: &ChecksumLine<'_>) {
        let file = self.files.entry(name).or_insert(ReleaseFile {
            size: listed.size,
            hashes: Hashes::default(),
        });
        let algorithm = listed.digest.algorithm();
        let before = file.hashes.iter().find(|it| it.algorithm() == algorithm);
        if file.size != listed.size || before.is_some_and(|before| before != listed.digest) {
            self.disputed.insert(listed.name.to_owned());
        }
        if before.is_none() {
            file.hashes.set(listed.digest);
        }
    }
}

/// A line that apt can use too, about a file that can have a name here.
fn listed_file<'a>(
    stanza: &Stanza<'_>,
    words: &ChecksumWords<'a>,
) -> Result<ChecksumLine<'a>, Rejected> {
    let bad = |what: String| malformed(stanza.malformed(what));
    let listed = words.parse().map_err(bad)?;
    if words.digest.bytes().any(|byte| byte.is_ascii_uppercase()) {
        let what = "the digest is written in upper case, which no client finds equal to a file's";
        return Err(bad(format!("{}: {what}", words.at())));
    }
    RepoPath::new(words.name).map_err(|error| {
        Rejected::new(
            Reason::UnsafePath,
            format!("the Release file lists {error}"),
        )
    })?;
    Ok(listed)
}

/// A line `digest size name` of a Release file, a source package or a difference index.
pub(super) struct ChecksumLine<'a> {
    pub digest: Digest,
    pub size: u64,
    pub name: &'a str,
}

impl<'a> ChecksumLine<'a> {
    pub fn parse(algorithm: HashAlgorithm, line: &'a str) -> Result<ChecksumLine<'a>, String> {
        ChecksumWords::of(algorithm, line)?.parse()
    }
}

/// The same before its words are looked at.
struct ChecksumWords<'a> {
    algorithm: HashAlgorithm,
    digest: &'a str,
    size: &'a str,
    name: &'a str,
}

impl<'a> ChecksumWords<'a> {
    fn of(algorithm: HashAlgorithm, line: &'a str) -> Result<ChecksumWords<'a>, String> {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some(digest), Some(size), Some(name), None) => Ok(ChecksumWords {
                algorithm,
                digest,
                size,
                name,
            }),
            _ => Err(format!(
                "{algorithm}: not `digest size name`: {:.120?}",
                line.trim()
            )),
        }
    }

    fn at(&self) -> String {
        format!("{} of {:.120?}", self.algorithm, self.name)
    }

    fn parse(&self) -> Result<ChecksumLine<'a>, String> {
        let digest = Digest::parse(self.algorithm, self.digest)
            .map_err(|error| format!("{}: {error}", self.at()))?;
        let size = parse_size(self.size).ok_or_else(|| {
            format!(
                "{}: the size of {:.120?} is {:.40?}",
                self.algorithm, self.name, self.size
            )
        })?;
        Ok(ChecksumLine {
            digest,
            size,
            name: self.name,
        })
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
