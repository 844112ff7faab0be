//! What a run is asked to do: plain values that the caller took from manifests.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fleet_fetch::{Access, Endpoint};
use fleet_formats::seam::{Allowances, Format, Rejected, Trust};
use fleet_store::{Clients, Retention, SnapshotId};
use fleet_types::documents::{IndexPin, UnixSeconds};
use fleet_types::{Accepted, Order, Sha256};
use url::Url;

/// Turns a declared slice (`SyncOptions::content`) into its format. A refused unit is carried forward with the slice of
/// the snapshot that it comes from, which need not be the one that is declared now.
pub type MakeFormat = fn(&serde_json::Value) -> Result<Arc<dyn Format>, Rejected>;

/// One run of one Mirror.
#[derive(Clone)]
pub struct SyncOptions {
    /// The Mirror's name.
    pub mirror: String,
    /// The store of this Mirror alone; created when missing.
    pub store_dir: PathBuf,
    /// `Debian`, ...
    pub upstream_type: String,
    /// Without slashes at either end.
    pub serving_path: String,
    pub directory_listing: bool,
    /// What clients are told besides the files.
    pub clients: Clients,
    /// What freshness is measured against.
    pub authority: Url,
    /// Where content is fetched from. Empty: from the authority.
    pub endpoints: Vec<Endpoint>,
    pub access: Access,
    pub politeness: Politeness,
    /// The format of `content`: what `make_format(&content)` gives.
    pub format: Arc<dyn Format>,
    pub make_format: MakeFormat,
    /// The slice as declared; recorded in the snapshot.
    pub content: serde_json::Value,
    pub trust: Trust,
    /// SHA-256 over the keyring's bytes and the trust policy: a change makes every unit be verified again.
    pub trust_digest: Sha256,
    pub payload: Payload,
    /// Glob patterns over repository paths; `*` does not cross a `/`, `**` does.
    pub exclude: Vec<String>,
    pub verification: Verification,
    pub retention: Retention,
    pub publishing: Publishing,
    /// Instead of asking the upstream: what another mirror of ours made is copied, and `endpoints` are where from. Then
    /// neither `trust` nor `access` is looked at.
    pub follow: Option<Follow>,
    pub timeouts: Timeouts,
    /// What the caller remembers as accepted before; the newest of it and the store's own memory counts.
    pub high_water: Vec<Accepted>,
    /// Blobs that the server of this store found missing or damaged; a run fetches them again.
    pub damaged: Vec<Sha256>,
    /// The product in User-Agent, for example `mirrorfleet/0.1.0`; the contact is appended.
    pub user_agent: String,
}

/// When what indices list is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// Before a snapshot that lists it is published.
    Copied,
    /// When somebody asks for it, by who fills the store then: what no index promises by its SHA-256, signatures and what
    /// brings keys are fetched before all the same.
    OnDemand,
}

/// A snapshot that another mirror of ours made, to be copied as it is. Whoever says so vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follow {
    pub snapshot: SnapshotId,
    /// Its index file.
    pub index: IndexPin,
    /// When whoever asked the upstream last found that the snapshot is what the upstream has. None: when it was made.
    pub confirmed: Option<UnixSeconds>,
    /// What the mirror is called that is copied from, where clients are told.
    pub name: String,
}

/// Who says which snapshot of the store is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publishing {
    /// The run: what it makes is served, but for a pin.
    ByRun {
        /// An id, or an unambiguous prefix, of the snapshot that stays served.
        pinned: Option<String>,
        /// Beginnings of the ids of snapshots that are not served but by a pin.
        skip: Vec<String>,
    },
    /// Somebody who orders servers what to serve: what the run makes is only prepared.
    ByOrder {
        /// What servers were told when the run was started: `current` is brought in line with it. None before the first.
        order: Option<Order>,
        /// What may be ordered while the run goes on: none of these is given up.
        keep: Vec<SnapshotId>,
    },
}

impl Publishing {
    /// What a run may not give up.
    pub fn keep(&self) -> &[SnapshotId] {
        match self {
            Publishing::ByRun { .. } => &[],
            Publishing::ByOrder { keep, .. } => keep,
        }
    }
}

/// How gently the upstream is treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Politeness {
    /// Over all endpoints together; 0 is taken as 1.
    pub max_connections: usize,
    /// Bytes a second over all connections together.
    pub bandwidth: Option<u64>,
    /// Whom the upstream's operators can write to.
    pub contact: Option<String>,
}

/// What a person allows that would be refused otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// States that are let through, by unit.
    pub allowances: BTreeMap<String, Allowances>,
    /// Accept new bytes under any known name.
    pub allow_mutation: bool,
    /// Accept exactly these new bytes under these known names.
    pub allow_mutations: Vec<AllowedMutation>,
    pub shrink: Shrink,
}

/// How much a unit may lose from one state to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shrink {
    /// Of its payload; 100 is no limit.
    pub max_percent: u64,
    /// Files; none is no limit.
    pub max_count: Option<u64>,
    /// Digests of revisions that may lose any number.
    pub allowed: Vec<Sha256>,
}

impl Default for Shrink {
    fn default() -> Self {
        Shrink {
            max_percent: 10,
            max_count: Some(40_000),
            allowed: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedMutation {
    pub path: String,
    /// Of the new content.
    pub sha256: Sha256,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// For the whole run.
    pub total: Duration,
    /// In which a transfer must bring 4 KiB.
    pub stall: Duration,
    /// How often a request is repeated after its first failure, at each endpoint.
    pub retry_limit: u32,
    /// Before the first repetition; doubled each time, with jitter. Also the longest Retry-After that is waited for.
    pub retry_backoff: Duration,
    /// For a connection to come about.
    pub connect: Duration,
}
