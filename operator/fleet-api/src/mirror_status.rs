//! What a Mirror's status says of the whole: what its regions serve, unit by unit, is told once for all of them.

mod earlier;

use std::collections::BTreeMap;

use fleet_types::{Accepted, Reason, UnitRevision, documents};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::publication::Publication;
use crate::upstream::unobserved;
use crate::{RegionRole, RegionStatus, ReplicaStatus};

/// Instants and states, never ages: a converged fleet writes nothing. What a version before wrote is read as if it had been
/// written like this.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", remote = "Self")]
#[schemars(rename = "MirrorStatus")]
pub struct MirrorStatus {
    /// The generation that this status speaks of; -1 until the first visit.
    #[serde(default = "unobserved")]
    pub observed_generation: i64,
    /// A few words for the columns: `Serving` or why it is not Ready, and what else should be seen (`Stale`,
    /// `Suspended`, `Pinned`, `WaitingForTurn`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The snapshot that all regions serve; none while they differ or before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// How many regions serve, of how many: `1/1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regions_ready: Option<String>,
    /// The earliest instant since when some region has been behind the authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_at: Option<Time>,
    /// When a sync last succeeded in every region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_time: Option<Time>,
    /// Which snapshot is to be served; none before the first. Regions are told at once, and go on without the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publication: Option<Publication>,
    /// Who fetches in the place of the first replica of the region without `follows`; none while that one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetcher: Option<Fetcher>,
    /// The snapshots that regions keep, newest first: what `spec.snapshots.pinned` and `skip` may name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<SnapshotStatus>,
    /// What they are of each unit, the units of a snapshot one after another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<UnitStatus>,
    /// The newest state of each unit that was ever accepted, or that verification.allowed let through instead; given to each run, so that a new volume does not forget it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub high_water: Vec<AcceptedUnit>,
    /// What is known of each declared region.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<RegionStatus>,
    /// When the next sync is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_sync_time: Option<Time>,
    /// The last value of the annotation `mirrorfleet.dev/sync-requested-at` that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_sync_request: Option<String>,
    /// Claims of regions and replicas that are no longer declared; they stay until a person deletes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retained_claims: Vec<String>,
    /// Ready, Verified, Fresh, Serving and StorageReady always; Reconciling and Stalled only while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl MirrorStatus {
    /// Each copy that there is, with the region that it is of.
    pub fn replicas(&self) -> impl Iterator<Item = (&RegionStatus, &ReplicaStatus)> {
        self.regions.iter().flat_map(|region| {
            let replicas = region.replicas.iter();
            replicas.map(move |replica| (region, replica))
        })
    }

    /// The same, each under what people call it.
    pub fn titled(&self) -> impl Iterator<Item = (String, &ReplicaStatus)> {
        self.regions.iter().flat_map(|region| {
            let replicas = region.replicas.iter().enumerate();
            replicas.map(move |(number, replica)| (region.title(number), replica))
        })
    }

    /// The copies that fetch from the Upstream.
    pub fn fetching(&self) -> impl Iterator<Item = (&RegionStatus, &ReplicaStatus)> {
        fetching(&self.regions, self.fetcher.as_ref())
    }
}

/// The copies that fetch from the Upstream: who took over, or the first of each region that follows no other.
pub fn fetching<'a>(
    regions: &'a [RegionStatus],
    fetcher: Option<&'a Fetcher>,
) -> impl Iterator<Item = (&'a RegionStatus, &'a ReplicaStatus)> {
    let fetches = move |region: &RegionStatus| match fetcher {
        Some(fetcher) => (fetcher.region == region.name).then_some(fetcher.replica as usize),
        None => (region.role != Some(RegionRole::Edge)).then_some(0),
    };
    let fetching = move |region: &'a RegionStatus| {
        let replica = region.replicas.get(fetches(region)?)?;
        Some((region, replica))
    };
    regions.iter().filter_map(fetching)
}

impl Fetcher {
    /// What people call it.
    pub fn title(&self, regions: &[RegionStatus]) -> String {
        let mut regions = regions.iter();
        let known = regions.find(|region| region.name == self.region);
        known.map_or_else(
            || self.region.clone(),
            |region| region.title(self.replica as usize),
        )
    }
}

/// Who fetches in the place of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fetcher {
    /// Its region.
    pub region: String,
    /// The number of the replica in it.
    #[serde(default)]
    pub replica: u32,
    /// Since when.
    pub since: Time,
    /// Why the other one did not, as one fixed word.
    #[schemars(with = "String")]
    pub reason: Reason,
}

impl<'de> Deserialize<'de> for MirrorStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MirrorStatus, D::Error> {
        let mut written = serde_json::Value::deserialize(deserializer)?;
        let is_earlier = earlier::take_up(&mut written);
        let mut status = MirrorStatus::deserialize(written).map_err(D::Error::custom)?;
        if is_earlier {
            earlier::once(&mut status);
        }
        Ok(status)
    }
}

impl Serialize for MirrorStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        MirrorStatus::serialize(self, serializer)
    }
}

impl Default for MirrorStatus {
    fn default() -> Self {
        MirrorStatus {
            observed_generation: unobserved(),
            state: None,
            snapshot: None,
            regions_ready: None,
            superseded_at: None,
            last_sync_time: None,
            publication: None,
            fetcher: None,
            snapshots: Vec::new(),
            units: Vec::new(),
            high_water: Vec::new(),
            regions: Vec::new(),
            next_sync_time: None,
            last_handled_sync_request: None,
            retained_claims: Vec::new(),
            conditions: Vec::new(),
        }
    }
}

pub(crate) const fn is_false(holds: &bool) -> bool {
    !*holds
}

/// A snapshot that some region keeps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotStatus {
    /// Its id: 64 hexadecimal digits.
    pub id: String,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Time>,
    /// SHA-256 and size of its index, by which other regions copy it, as the run told that made it; none where no region
    /// follows another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// The newest of the dates of its units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision_date: Option<Time>,
    /// Sum of the sizes of its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// By how many paths it differs from the snapshot that it was derived from; none where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<SnapshotChanges>,
    /// Since when the authority has had something newer of one of its units; none while it is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_at: Option<Time>,
    /// Since when no region is told to serve it any more. What it names stays there for `spec.snapshots.minAge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_until: Option<Time>,
    /// How many regions serve it.
    #[serde(default)]
    pub regions: i32,
}

/// By how many paths a snapshot differs from the one that it was derived from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotChanges {
    /// Paths that are new.
    pub added: i64,
    /// Paths whose content is another.
    pub changed: i64,
    /// Paths that are gone.
    pub removed: i64,
}

impl From<documents::SnapshotChanges> for SnapshotChanges {
    fn from(told: documents::SnapshotChanges) -> SnapshotChanges {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        SnapshotChanges {
            added: count(told.added),
            changed: count(told.changed),
            removed: count(told.removed),
        }
    }
}

/// One unit of a snapshot that some region serves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnitStatus {
    /// Id of the snapshot.
    #[serde(default)]
    pub snapshot: String,
    /// Debian: the suite.
    pub unit: String,
    /// SHA-256 of the signed payload; empty where the snapshot has nothing of a declared unit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// The upstream's own date of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<Time>,
    /// Until when the upstream vouches for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Time>,
    /// Since when the authority has had something newer; none while it is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_at: Option<Time>,
}

/// A state of one unit that was verified and accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceptedUnit {
    /// Debian: the suite.
    pub unit: String,
    /// SHA-256 of the signed payload.
    pub digest: String,
    /// The upstream's own date of it.
    pub date: Time,
    /// Until when the upstream vouches for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Time>,
    /// Of whom and what its Release says that it is, by field; a change is refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub identity: BTreeMap<String, String>,
    /// Why it would have been refused had spec.verification not let it through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub allowed: Vec<Reason>,
    /// The date of the state in whose place it was let through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<Time>,
}

impl AcceptedUnit {
    /// A mark as a status holds it; none if its dates are beyond what one can say.
    pub fn of(mark: &Accepted) -> Option<AcceptedUnit> {
        let time = |at: i64| Timestamp::from_second(at).ok().map(Time);
        let revision = &mark.revision;
        Some(AcceptedUnit {
            unit: revision.unit.clone(),
            digest: revision.digest.to_string(),
            date: time(revision.date)?,
            valid_until: revision.valid_until.and_then(time),
            identity: mark.identity.clone(),
            allowed: mark.allowed.clone(),
            instead_of: mark.instead_of.and_then(time),
        })
    }

    /// The same as runs take and leave it; none if the digest is none.
    pub fn mark(&self) -> Option<Accepted> {
        let seconds = |at: &Time| at.0.as_second();
        Some(Accepted {
            revision: UnitRevision {
                unit: self.unit.clone(),
                digest: self.digest.parse().ok()?,
                date: seconds(&self.date),
                valid_until: self.valid_until.as_ref().map(seconds),
            },
            identity: self.identity.clone(),
            allowed: self.allowed.clone(),
            instead_of: self.instead_of.as_ref().map(seconds),
        })
    }
}
