//! What a Mirror's status says of one region: instants and states.

use fleet_types::{Order, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is known of one region. What a version before wrote here stays until it was read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct RegionStatus {
    /// The region's name.
    pub name: String,
    /// One word derived from the facts below.
    #[serde(default)]
    pub state: RegionState,
    /// Whether it fetches for the others or follows one of them; none where each region is one copy that fetches for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RegionRole>,
    /// Since when all of it has been left out of the lists of regions, and of the Mirror's Service where there is one; none while
    /// clients are led there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_at: Option<Time>,
    /// What clients write into their `sources.list`: below the region's `publicUrl`, else of its route once that is accepted,
    /// else of its Service for pods of this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Since when the authority has had something newer; none while the region is current. Of what: `status.units`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_at: Option<Time>,
    /// Its copies, in the order of their numbers: the first is replica 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<ReplicaStatus>,
}

/// What is known of one copy: a volume, with what serves it and what runs there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStatus {
    /// Whether the serving pod is ready.
    #[serde(default)]
    pub ready: bool,
    /// Since when no Service leads to it, where that is not since when its whole region is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_at: Option<Time>,
    /// The snapshot that the serving pod says it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Since when the clock of its pod's node has been wrong by more than five seconds, against the controller's; none while it
    /// is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_wrong_since: Option<Time>,
    /// What it was told to serve last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderStatus>,
    /// The run that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_run: Option<Run>,
    /// The last run that ended. If it failed, its Job stays until another run ends: `kubectl logs job/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<Attempt>,
    /// When a run last succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Time>,
    /// Failed runs since then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub consecutive_failures: i32,
    /// When the newest round began that nobody asked for; `politeness.minInterval` counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_started_at: Option<Time>,
    /// The last value of the annotation `mirrorfleet.dev/sync-requested-at` that a run here was started for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handled_sync_request: Option<String>,
}

/// What one copy was told to serve.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderStatus {
    /// The decision that it comes from: `status.publication.epoch` as it was then.
    pub epoch: i64,
    /// The snapshot's id: 64 hexadecimal digits. None where the copy serves it, as its `snapshot` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// When that was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

impl OrderStatus {
    /// The order as a status holds it.
    pub fn of(order: &Order, since: Time) -> OrderStatus {
        OrderStatus {
            epoch: i64::try_from(order.epoch).unwrap_or(i64::MAX),
            snapshot: Some(order.snapshot.to_string()),
            since: Some(since),
        }
    }
}

impl RegionStatus {
    /// What people call one of its copies: the region, and after it the copy's number where there are several.
    pub fn title(&self, replica: usize) -> String {
        match self.replicas.len() {
            ..=1 => self.name.clone(),
            _ => format!("{}/{replica}", self.name),
        }
    }

    /// Since when the Mirror's Service has not led to one of its copies; none while it does, or where there is no such copy.
    pub fn withdrawn(&self, replica: usize) -> Option<&Time> {
        let replica = self.replicas.get(replica)?;
        replica.withdrawn_at.as_ref().or(self.withdrawn_at.as_ref())
    }
}

impl ReplicaStatus {
    /// The id of the snapshot that it was told to serve last.
    pub fn ordered(&self) -> Option<&str> {
        let order = self.order.as_ref()?;
        order.snapshot.as_deref().or(self.snapshot.as_deref())
    }

    /// What it was told last, as servers take it; none where that is none, as a person may have written it.
    pub fn order(&self) -> Option<Order> {
        let (order, snapshot) = (self.order.as_ref()?, self.ordered()?);
        format!("{} {snapshot}", order.epoch).parse().ok()
    }

    /// With the snapshot of its order said by itself, which stays when it comes to serve another.
    pub fn in_full(mut self) -> ReplicaStatus {
        let ordered = self.ordered().map(str::to_owned);
        if let Some(order) = &mut self.order {
            order.snapshot = ordered;
        }
        self
    }

    /// As a status holds it: an id that stands there already is not said twice.
    pub fn in_brief(mut self) -> ReplicaStatus {
        let serves = &self.snapshot;
        if let Some(order) = self
            .order
            .as_mut()
            .filter(|order| order.snapshot == *serves)
        {
            order.snapshot = None;
        }
        self
    }
}

const fn is_zero(count: &i32) -> bool {
    *count == 0
}

/// Where a region stands, in one word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RegionState {
    /// Objects are missing or nothing was ever synced; of a registry: it has not answered yet.
    #[default]
    Pending,
    /// The first sync runs.
    Syncing,
    /// Its pod serves a snapshot that is no older than the objective allows, or a registry.
    Serving,
    /// Its pod serves a snapshot that is older.
    Stale,
    /// Its pod serves a snapshot that is older than what the others serve. The Mirror's Service leaves it out until it has
    /// caught up.
    Joining,
    /// Its pod serves a snapshot that is older than `freshness.withdrawAfter` allows. Lists of regions leave it out until it
    /// has caught up.
    Withdrawn,
    /// Its pod is not ready or cannot be asked.
    Unknown,
}

impl RegionState {
    /// Whether clients can be given something, now or as soon as its pod is back.
    pub const fn has_content(self) -> bool {
        !matches!(self, RegionState::Pending | RegionState::Syncing)
    }
}

/// What a region is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RegionRole {
    /// It fetches from the Upstream, and the others follow it.
    Hub,
    /// It copies from another region.
    Edge,
}

/// Why a run is started.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Trigger {
    /// Nothing was ever synced here.
    First,
    /// Its time has come.
    Schedule,
    /// A person asked for it.
    Request,
    /// What it depends on was edited.
    SpecChange,
    /// The authority was seen to have a new state, and `sync.onUpstreamChange` is set.
    UpstreamChange,
    /// Somebody said that the upstream has something new.
    Push,
    /// The run before it failed.
    Retry,
    /// The region that it follows has what it lacks.
    Follow,
}

impl Trigger {
    /// All of them.
    pub const ALL: [Trigger; 8] = [
        Trigger::First,
        Trigger::Schedule,
        Trigger::Request,
        Trigger::SpecChange,
        Trigger::UpstreamChange,
        Trigger::Push,
        Trigger::Retry,
        Trigger::Follow,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Trigger::First => "First",
            Trigger::Schedule => "Schedule",
            Trigger::Request => "Request",
            Trigger::SpecChange => "SpecChange",
            Trigger::UpstreamChange => "UpstreamChange",
            Trigger::Push => "Push",
            Trigger::Retry => "Retry",
            Trigger::Follow => "Follow",
        }
    }
}

/// A run that is under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Name of the Job.
    pub job: String,
    /// Why it was started.
    pub trigger: Trigger,
    /// 0 for the first run of a round, n for its nth retry.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retry: i32,
    /// The snapshot that it copies from another region, where it does: 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<String>,
    /// When the Job was created.
    pub started_at: Time,
    /// Digest of the declaration that it carries out, without `spec.snapshots`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub inputs: String,
    /// Digest of the `spec.snapshots` that it carries out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub snapshots_inputs: String,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Name of the Job.
    pub job: String,
    /// Why it was started.
    pub trigger: Trigger,
    /// 0 for the first run of a round, n for its nth retry.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retry: i32,
    /// The snapshot that it copies from another region, where it does: 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<String>,
    /// The newest snapshot on the volume when it ended, where regions follow each other and it went well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepared: Option<String>,
    /// One fixed word.
    #[schemars(with = "String")]
    pub reason: Reason,
    /// What is wrong and what to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// A unit that was refused since the upstream contradicts itself, whatever else was wrong; the first of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contradiction: Option<Contradiction>,
    /// When the Job was created.
    pub started_at: Time,
    /// When it ended.
    pub finished_at: Time,
    /// Files that it fetched; absent, as the next two, where it left no report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_fetched: Option<i64>,
    /// Bytes that it fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_fetched: Option<i64>,
    /// Whole seconds that it worked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<i64>,
    /// The upstream asked not to be visited before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// When too few are left of the keys that signed what the run took for true; absent where that never comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_expires_at: Option<Time>,
    /// Digest of the declaration that the run carried out, without `spec.snapshots`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub inputs: String,
    /// Digest of the `spec.snapshots` that it carried out; a run of an earlier version has one digest of both above.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub snapshots_inputs: String,
}

/// Two truths that an upstream told about one unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Contradiction {
    /// Debian: the suite.
    pub unit: String,
    /// `Equivocation` or `ReleasePairMismatch`.
    #[schemars(with = "String")]
    pub reason: Reason,
    /// What does not fit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_word_of_another_version_is_read_and_tells_nothing_good() {
        let told = |reason: &str| -> Attempt {
            serde_json::from_value(json!({"job": "j", "trigger": "First", "reason": reason,
                "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:00Z"}))
            .unwrap()
        };
        assert_eq!(told("Published").reason, Reason::Published);
        let other = told("SomethingNewer").reason;
        assert_eq!(other, Reason::Unknown);
        assert_ne!(other.outcome(), fleet_types::Outcome::Good);
        let schema = schemars::schema_for!(Attempt);
        assert_eq!(schema.as_value()["properties"]["reason"]["type"], "string");
        assert!(
            schema.as_value()["properties"]["reason"]
                .get("enum")
                .is_none()
        );
    }
}
