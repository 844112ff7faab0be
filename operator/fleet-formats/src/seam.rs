//! Where a repository format meets the sync engine.
//!
//! The engine knows how to fetch, bound, store, merge and publish; a [`Format`] knows which files say what a
//! repository holds, whether they can be believed, and what they list. An upstream's state is told in three layers:
//!
//! 1. **roots**: few small files per unit that carry or are covered by the signature (Debian: `InRelease`);
//! 2. **indices**: the files that a verified root lists with size and digest (Debian: `Packages.xz`);
//! 3. **payload**: what the indices list, again with size and digest (Debian: the packages).
//!
//! Adding a format means one module that implements [`Format`], one content block in the Mirror resource and one line
//! where the manifest is turned into a format.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::{ControlFlow, Deref};

use fleet_types::{Accepted, Expected, Hashes, Reason, Relation, RepoPath, Sha256, UnitRevision};

use crate::openpgp::Keyring;

/// A repository format with its declared slice (for Debian: suites, components, architectures, include switches).
pub trait Format: Send + Sync {
    /// The parts that are signed, refused and carried forward on their own, in declared order (Debian: suites).
    fn units(&self) -> Vec<String>;

    /// Which files to ask for to learn the state of a unit.
    fn roots(&self, unit: &str) -> Result<RootPlan, Rejected>;

    /// Which files to ask for besides, given the roots that there are, because nothing signed lists them and nothing
    /// signed need: for each the names that it may have, of which the first that exists is taken. They go to
    /// [`Format::verify`] with the roots, which lists them by what they are. Only for [`SignaturePolicy::None`].
    fn unlisted(&self, unit: &str, roots: &[RootContent]) -> Result<Vec<Vec<RootFile>>, Rejected> {
        let _ = (unit, roots);
        Ok(Vec::new())
    }

    /// What a trace file of this format says about the declared slice, field by field; none where the format's mirrors
    /// have no trace files.
    fn trace(&self) -> Option<Vec<(String, String)>> {
        None
    }

    /// Where an upstream tells which of its states it has, and what of that file a trace of ours repeats; none where the
    /// format's mirrors have no trace files. The file is not signed.
    fn upstream_trace(&self) -> Option<UpstreamTrace> {
        None
    }

    /// The file that the upstream on `host` has at its top while it is being changed; none where the format knows none.
    fn update_mark(&self, host: &str) -> Option<RootFile> {
        let _ = host;
        None
    }

    /// How state `a` of a unit stands to its state `b`.
    fn compare(&self, a: &UnitRevision, b: &UnitRevision) -> Relation {
        a.compare(b)
    }

    /// What the roots of a unit say, whoever made them and however old they are: for what was verified when it was
    /// stored, and for those who only want to know what somebody says. Nothing new is published from it.
    fn read(&self, unit: &str, roots: &[RootContent]) -> Result<UnitIndex, Rejected>;

    /// Decides whether the roots of a unit can be believed, and what they list. Every obligation of a verification
    /// (signature, rollback, freeze, unit, pair) is discharged here.
    fn verify(
        &self,
        unit: &str,
        roots: &[RootContent],
        context: &VerifyContext<'_>,
    ) -> Result<Verified<UnitIndex>, Rejected>;

    /// Reads one index file, *already decompressed and bounded by the caller*, as a stream and reports what it lists.
    /// `group` is the one that [`UnitIndex::groups`] gave. Only called for groups with `lists_payload`. The result is
    /// how many entries (Debian: stanzas) the index has; an entry that cannot be used costs only itself, and what the
    /// declared slice leaves out is not judged. An error is about the index as a whole. `found` can end the reading, with
    /// the entries so far as the result.
    fn read_index(
        &self,
        group: &IndexGroup,
        content: &mut dyn Read,
        found: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<u64, Rejected>;
}

/// What to ask for to learn the state of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootPlan {
    /// Tried in order; the first that exists identifies the state. Unchanged means that this one file is unchanged.
    /// Debian: `InRelease`, then `Release`.
    pub probes: Vec<RootFile>,
    /// Fetched too when the probe is new; each may be absent. Debian: `Release`, `Release.gpg`.
    pub companions: Vec<RootFile>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootFile {
    pub path: RepoPath,
    /// No more than this is read.
    pub max_bytes: u64,
}

/// See [`Format::upstream_trace`].
pub struct UpstreamTrace {
    pub file: RootFile,
    /// The field that is repeated, with its value; none where the file does not have it, or not as it should be.
    pub read: fn(&[u8]) -> Option<(String, String)>,
}

/// A root as it was fetched.
#[derive(Debug, Clone)]
pub struct RootContent {
    pub path: RepoPath,
    pub bytes: Vec<u8>,
}

/// All that a verification may look at besides the roots.
pub struct VerifyContext<'a> {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub now: i64,
    pub trust: &'a Trust,
    /// The newest state of this unit that was ever accepted, from the store and from the controller's memory.
    pub accepted: Option<&'a Accepted>,
    pub allowances: &'a Allowances,
    /// The roots were read a second time, so what does not fit together is not an update in the middle of which we came.
    pub settled: bool,
}

/// What a person lets through of one unit although it would be refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowances {
    /// `verification.allowed`, for this unit.
    pub states: Vec<AllowedState>,
    /// `verification.expired`: states past their Valid-Until, whichever.
    pub expired: bool,
}

/// One state that is let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedState {
    /// [`UnitRevision::digest`]
    pub digest: Sha256,
    /// Of `RollbackDetected`, `IndexExpired`, `Equivocation` and `ReleaseInfoChanged`.
    pub reasons: Vec<Reason>,
}

impl Allowances {
    /// Nothing.
    pub const NONE: &'static Allowances = &Allowances {
        states: Vec::new(),
        expired: false,
    };

    /// For which reasons this state is let through.
    pub fn reasons_for(&self, digest: Sha256) -> impl Iterator<Item = Reason> {
        let states = self
            .states
            .iter()
            .filter(move |state| state.digest == digest);
        states.flat_map(|state| state.reasons.iter().copied())
    }

    pub fn allows(&self, digest: Sha256, reason: Reason) -> bool {
        self.reasons_for(digest).any(|allowed| allowed == reason)
    }
}

/// How a person takes exactly this state: what to put into the Mirror, ready to paste.
pub fn let_through(revision: &UnitRevision, reasons: &[Reason]) -> String {
    let reasons: Vec<&str> = reasons.iter().map(|reason| reason.as_str()).collect();
    format!(
        "to take this very state, put into the Mirror's spec `verification: {{allowed: [{{unit: {:?}, digest: \"{}\", reasons: [{}]}}]}}`",
        revision.unit,
        revision.digest,
        reasons.join(", ")
    )
}

/// Whom to believe, as the Upstream declares it.
#[derive(Debug, Clone)]
pub struct Trust {
    /// None only with [`SignaturePolicy::None`] or when an `Optional` upstream has no keyring.
    pub keyring: Option<Keyring>,
    pub signatures: SignaturePolicy,
    pub min_good_signatures: u32,
    /// Whether a signature that is not good, by whichever key, is one too many.
    pub all_signatures_good: bool,
    /// Seconds; the limit where the upstream gives no Valid-Until.
    pub max_index_age: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignaturePolicy {
    /// Not signed, or not good: refused.
    Required,
    /// Not signed is accepted; signed must be good.
    Optional,
    /// Signatures are not looked at. Must be spelled out in the manifest.
    None,
}

/// Something that passed its verification. Only [`Format::verify`] implementations in this crate can make one, and it
/// stays one until what it says is published.
#[derive(Debug, Clone)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    pub(crate) fn new(inner: T) -> Self {
        Verified(inner)
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

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
    /// Immutable names that are served for it besides `path` (Debian: by-hash for every listed algorithm).
    pub aliases: Vec<RepoPath>,
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

/// One file that an index lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    pub path: RepoPath,
    pub expected: Expected,
    /// False where the index lists digests only (`SHA256SUMS`): `expected.size` is then the most that may be read, and
    /// the digest alone decides.
    pub exact_size: bool,
    /// Whether the mutation rule covers it: new bytes under a known name are refused. Debian: packages and sources.
    pub guarded: bool,
    /// False where the declared slice leaves it out although the index lists it. Where another listing of the same path
    /// wants it, it is copied.
    pub wanted: bool,
}

/// Why something that an upstream said is not believed. The message says what is wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejected {
    pub reason: Reason,
    pub message: String,
    /// What does not fit together may be an update in the middle of which we came: reading it once more can help.
    pub unsettled: bool,
}

impl Rejected {
    /// The message may quote what an upstream wrote: control characters, which terminals obey, are written as escapes.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Rejected {
            reason,
            message: printable(message.into()),
            unsettled: false,
        }
    }

    /// As [`Rejected::new`], of what may fit when it is read again.
    pub fn unsettled(reason: Reason, message: impl Into<String>) -> Self {
        Rejected {
            unsettled: true,
            ..Rejected::new(reason, message)
        }
    }

    /// With the place where that is.
    pub fn at(self, place: impl std::fmt::Display) -> Self {
        Rejected {
            message: format!("{place}: {}", self.message),
            ..self
        }
    }
}

fn printable(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let shown = |c: char| match c {
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.chars().map(shown).collect()
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
