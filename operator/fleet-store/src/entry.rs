//! What a snapshot says about one path, and about itself.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use fleet_types::documents::SnapshotChanges;
use fleet_types::{ClockReading, DigestError, Sha256, UnitRevision};
use serde::{Deserialize, Serialize};

/// The identity of a snapshot: SHA-256 over the index format's version, the inputs, the revision and the sorted
/// (path, state, digest, size). The same everywhere in a fleet; mtimes are not part of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SnapshotId(pub Sha256);

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for SnapshotId {
    type Err = DigestError;
    /// The full form of 64 hexadecimal digits. For a prefix use [`crate::Store::resolve`].
    fn from_str(text: &str) -> Result<Self, DigestError> {
        text.parse().map(SnapshotId)
    }
}

/// Whether and why the content of a path is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EntryState {
    /// The blob is in the store.
    Present,
    /// An index names it; the manifest leaves it out.
    Excluded,
    /// An index names it, the upstream does not have it, and another form of the same content was verified.
    AbsentUpstream,
    /// The content is known by digest and is fetched when it is asked for.
    NotYetFetched,
}

impl EntryState {
    /// Whether a snapshot needs the blob.
    pub fn is_here(self) -> bool {
        self == EntryState::Present
    }

    /// Whether clients are given content: it is here, or it is fetched when it is asked for.
    pub fn is_offered(self) -> bool {
        matches!(self, EntryState::Present | EntryState::NotYetFetched)
    }
}

/// One path of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub state: EntryState,
    /// All zero where the content is not known by SHA-256 (only possible unless `Present`).
    pub digest: Sha256,
    /// Bytes, at most 2^48 - 1.
    pub size: u64,
    /// Seconds since 1970-01-01T00:00:00Z; what a server says in Last-Modified.
    pub mtime: i64,
    /// Whether the name gets new content from one revision to the next (Debian: InRelease, Packages.xz).
    pub mutable: bool,
    /// Whether new content under this name is refused (the mutation rule; Debian: packages and sources).
    pub guarded: bool,
    /// Where the index that named it lists SHA-512 only, or wants it served by SHA-512.
    pub sha512: Option<[u8; 64]>,
}

impl Entry {
    /// The entry of a path of which the index that names it says too little to copy anything.
    pub fn unusable() -> Entry {
        Entry {
            state: EntryState::Excluded,
            digest: NO_DIGEST,
            size: 0,
            mtime: 0,
            mutable: false,
            guarded: false,
            sha512: None,
        }
    }

    /// Whether it is [`Self::unusable`]: what a manifest leaves out is known by a digest, or by a bound of its size.
    pub fn is_unusable(&self) -> bool {
        *self == Entry::unusable()
    }
}

/// The digest of an entry whose content is not known by SHA-256.
pub const NO_DIGEST: Sha256 = Sha256([0; 32]);

/// What a snapshot says about itself; part of its immutable index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotMeta {
    pub upstream_type: String,
    /// SHA-256 over all that we chose ourselves: content and verification spec, keyring.
    pub inputs: Sha256,
    /// The slice as the manifest declares it.
    pub content: serde_json::Value,
    /// Sorted by unit.
    pub revision: Vec<UnitRevision>,
    /// When it was made, seconds since 1970-01-01T00:00:00Z. Not part of the id.
    pub created: i64,
    /// The snapshot that it was derived from. Not part of the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SnapshotId>,
    /// Directories that stand for other ones (Debian: `dists/stable` for `dists/trixie`): link and target, both as paths
    /// in the repository. Part of the id; the index builder leaves out those in whose place there is content.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
    /// The file with which a client begins to read each unit, and whether all that follows from it has names that never
    /// change. Not part of the id, since the revision decides it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub openings: BTreeMap<String, bool>,
    /// How the upstream's clock stood when each unit was read, where it has one. Not part of the id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clocks: BTreeMap<String, ClockReading>,
    /// By how many paths it differs from the snapshot that it was derived from; none where there was none. Filled in by the index
    /// builder, and not part of the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<SnapshotChanges>,
    /// Number of paths. Filled in by the index builder.
    pub entries: u64,
    /// Sum of the sizes of all `Present` paths (content under two paths counts twice). Filled in by the index builder.
    pub bytes: u64,
}
