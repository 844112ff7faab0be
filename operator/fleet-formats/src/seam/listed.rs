//! What roots and indices list.

use std::collections::BTreeMap;

use fleet_types::{Expected, Hashes, Reason, RepoPath, Sha256, UnitRevision};

use super::refusal::printable;

/// What verified roots say about a unit.
#[derive(Debug, Clone)]
pub struct UnitIndex {
    pub revision: UnitRevision,
    /// Of whom and what it says that it is, by field: remembered, since a change is refused (Debian: Origin, Label, ...).
    pub identity: BTreeMap<String, String>,
    /// What of it would be refused had a person not allowed it ([`Allowances`]).
    pub allowed: Vec<Reason>,
    /// The root files to store and serve, under mutable names, each with the SHA-256 of its bytes.
    pub roots: Vec<(RepoPath, Sha256)>,
    /// The indices inside the declared slice.
    pub groups: Vec<IndexGroup>,
    /// Directories that stand for others of this unit: link and target (Debian: `dists/stable`, `dists/trixie`).
    pub links: Vec<Link>,
    /// Whether clients can fetch all that the roots list by names that never change (Debian: Acquire-By-Hash). Those
    /// of other units may meet the next state between two requests.
    pub fixed_names: bool,
    /// Fingerprints (upper-case hexadecimal) of the keys whose signatures were good.
    pub signed_by: Vec<String>,
    /// When fewer of these keys than are wanted vouch for anything, in seconds since 1970-01-01T00:00:00Z; none where that
    /// never comes or nothing was judged.
    pub vouched_until: Option<i64>,
    /// What people should know although the unit is believed: one sentence each.
    pub notes: Vec<String>,
    /// What is declared and nothing in this unit answers to. Where no unit has it, the declaration is wrong
    /// (`NotOffered`).
    pub lacks: Vec<Lack>,
}

/// A declared word that a unit has nothing for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// The same for every unit that lacks it (`component contrib`).
    pub word: String,
    /// What this unit has instead.
    pub message: String,
}

/// The place of a link, and what it stands for.
pub type Link = (RepoPath, RepoPath);

/// Index files that hold the same content in different compressions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexGroup {
    /// The name without a compression suffix.
    pub stem: RepoPath,
    /// Whether [`Format::read_index`] finds payload in it.
    pub lists_payload: bool,
    /// Whether the unit is incomplete when the upstream has none of `files`. Where one of `files` verified, the others
    /// may be absent upstream: many archives list uncompressed indices that nobody serves. What is not required is left
    /// out, with all that it lists, where it or something that it lists cannot be had.
    pub required: bool,
    /// Best compression first: the first that is present is the one that is read.
    pub files: Vec<IndexFile>,
    /// What it decompresses to, where the root says so: [`crate::decompress::output_limit`] bounds exactly then.
    pub uncompressed: Option<Expected>,
    /// What it lists, and below which directory; what it means is the format's own business.
    pub kind: u16,
}

/// One index file that a verified root lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFile {
    pub path: RepoPath,
    pub expected: Expected,
    /// All digests that the root lists, for checks beyond the strong one.
    pub hashes: Hashes,
    pub compression: Compression,
    /// Where to fetch it, best first (Debian with Acquire-By-Hash: the by-hash name, then the plain one).
    pub sources: Vec<RepoPath>,
    /// Names that are served for it besides `path` (Debian: by-hash for every listed algorithm).
    pub aliases: Vec<Alias>,
    /// False where several versions of one name never exist (a content-addressed or versioned index name).
    pub mutable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    None,
    Gzip,
    Xz,
    Bzip2,
    Zstd,
    Lzma,
    Lz4,
}

/// What one entry of an index comes to; an entry may list several files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    File(Payload),
    Unusable(Unusable),
}

/// An entry of which nothing is copied: it says too little, something impossible, or different things to different
/// readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// What people call it (Debian: the package); bounded in length, and printable.
    pub name: String,
    /// A few words; bounded in length, and printable.
    pub why: String,
    /// Where its files would be, as far as that can be told.
    pub paths: Vec<RepoPath>,
}

/// Another name of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    pub path: RepoPath,
    /// Whether it may name other content with the next state.
    pub mutable: bool,
}

/// One file that an index lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    pub path: RepoPath,
    pub promise: Promise,
    /// Names that are served for it besides `path`.
    pub aliases: Vec<Alias>,
    /// Whether the mutation rule covers it: new bytes under a known name are refused. Debian: packages and sources.
    pub guarded: bool,
    /// False where the declared slice leaves it out although the index lists it. Where another listing of the same path
    /// wants it, it is copied.
    pub wanted: bool,
}

/// By what a file is known to be the right one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Promise {
    Digest {
        expected: Expected,
        /// False where the index lists digests only (`SHA256SUMS`): `expected.size` is then the most that may be read, and
        /// the digest alone decides.
        exact: bool,
    },
    /// It is a signature over another file of the unit, and nothing else is known of it before it is there:
    /// [`super::Format::endorse`] decides. Where the other file is left out, so is this one.
    SignatureOver {
        path: RepoPath,
        /// The other file's content, as its own promise has it.
        signed: Sha256,
        /// No more than this is read, and never more than [`Promise::MAX_SIGNATURE_BYTES`].
        max_bytes: u64,
    },
    /// The index itself holds the file.
    Given {
        content: Vec<u8>,
        /// Where it is a signature, as in [`Promise::SignatureOver`]: over which file, and its content.
        over: Option<(RepoPath, Sha256)>,
    },
}

impl Promise {
    pub const MAX_SIGNATURE_BYTES: u64 = 256 << 10;

    /// Size and digest.
    pub fn exactly(expected: Expected) -> Promise {
        Promise::Digest {
            expected,
            exact: true,
        }
    }
}

impl Unusable {
    /// Cuts what an upstream wrote to a length that people read.
    pub(crate) fn new(name: &str, why: &str, paths: Vec<RepoPath>) -> Self {
        let short = |text: &str, limit| printable(text.chars().take(limit).collect());
        Unusable {
            name: short(name, 80),
            why: short(why, 160),
            paths,
        }
    }
}
