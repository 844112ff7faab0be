//! What metrics tell, from what a plan says.

use std::collections::BTreeMap;

use fleet_api::upstream::{EndpointState, EndpointStatus};
use fleet_api::{Attempt, ConditionStatus, Mirror, Publication, RegionStatus, ReplicaStatus};
use fleet_types::documents::ServedStatus;
use fleet_types::gauges::{
    ConditionGauges, EndpointGauges, MirrorGauges, PublicationGauges, RegionGauges, RunGauges,
    UpstreamGauges,
};
use fleet_types::{Outcome, Reason};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::observed::{Answer, Observed};
use crate::plan::Plan;
use crate::schedule::Schedule;
use crate::status::oldest;
use crate::upstream::UpstreamPlan;
use crate::{freshness, names};

impl Plan {
    /// What is true of the Mirror, which this was planned for by what was seen.
    pub fn gauges(&self, mirror: &Mirror, seen: &Observed) -> MirrorGauges {
        let status = &self.status;
        // What is assumed is no measurement: a lag of zero would look like one.
        let judged = freshness::judged(&status.conditions) == Some(true);
        let meta = &mirror.metadata;
        let name = meta.name.as_deref().unwrap_or_default();
        let declared = meta.creation_timestamp.as_ref().map(|at| at.0);
        let regions = status.regions.iter().map(|region| {
            let replicas = Replica::all(name, region, seen);
            let created = replicas.iter().filter_map(|replica| replica.created).min();
            RegionGauges {
                created: created.max(declared).map(Timestamp::as_second),
                ..self::region(region, judged, &replicas)
            }
        });
        let seed = meta.uid.as_deref().unwrap_or_default();
        let schedule = Schedule::new(&mirror.spec.sync, seed).ok();
        let schedule = schedule.filter(|_| !mirror.spec.suspend);
        MirrorGauges {
            upstream: Some(mirror.spec.upstream_ref.name.clone()),
            regions: regions.collect(),
            freshness_objective: Some(mirror.spec.freshness.objective.as_secs()),
            next_run: status.next_sync_time.as_ref().map(|at| at.0.as_second()),
            sync_interval: schedule.and_then(|schedule| schedule.interval(seen.now)),
            conditions: conditions(&status.conditions),
            publication: status.publication.as_ref().map(publication),
        }
    }
}

fn publication(publication: &Publication) -> PublicationGauges {
    let preparing = publication.preparing.as_ref();
    let waiting = preparing.map_or(0, |preparing| preparing.waiting_for.len());
    PublicationGauges {
        epoch: publication.epoch,
        preparing: preparing.map(|preparing| preparing.since.0.as_second()),
        trial: (publication.canary.as_ref()).map(|trial| trial.since.0.as_second()),
        halted: (publication.halted.as_ref()).map(|halted| halted.since.0.as_second()),
        waiting_regions: u32::try_from(waiting).unwrap_or(u32::MAX),
    }
}

impl UpstreamPlan {
    /// What is true of the Upstream.
    pub fn gauges(&self) -> UpstreamGauges {
        let dated = self.status.revision.iter().filter_map(|unit| {
            let date = unit.date.as_ref()?.0.as_second();
            Some((unit.unit.clone(), date))
        });
        UpstreamGauges {
            revision: dated.collect(),
            key_expiry: (self.status.key_expires_at.as_ref()).map(|at| at.0.as_second()),
            endpoints: self.status.endpoints.iter().map(endpoint).collect(),
            conditions: conditions(&self.status.conditions),
        }
    }
}

fn endpoint(told: &EndpointStatus) -> EndpointGauges {
    let since = told
        .behind
        .iter()
        .map(|unit| unit.superseded_at.0.as_second());
    let since = since.min();
    EndpointGauges {
        endpoint: told.name.clone(),
        reachable: match told.state {
            EndpointState::Reachable => Some(true),
            EndpointState::Unreachable => Some(false),
            EndpointState::NotAsked => None,
        },
        revision: told.revision_date.as_ref().map(|date| date.0.as_second()),
        // That it was behind stays true while it does not answer; that it was not may have changed.
        superseded: match told.state {
            EndpointState::Reachable => Some(since),
            _ => since.map(Some),
        },
    }
}

/// One replica of a region, as far as metrics tell of it.
struct Replica<'a> {
    status: &'a ReplicaStatus,
    /// What its pod says.
    served: Option<&'a ServedStatus>,
    /// Since when its claim exists.
    created: Option<Timestamp>,
    /// Whether the region's clients are led to it.
    is_of_clients: bool,
}

impl<'a> Replica<'a> {
    fn all(mirror: &str, region: &'a RegionStatus, seen: &'a Observed) -> Vec<Replica<'a>> {
        let replica = |(number, status): (u32, &'a ReplicaStatus)| {
            let child = names::replica_name(mirror, &region.name, number);
            let answer = seen.answers.get(&names::serving_pod_name(&child));
            let mut claims = seen.objects.claims.iter();
            let claim = claims.find(|claim| claim.meta.name == child);
            Replica {
                status,
                served: match answer {
                    Some(Answer::Serves(served)) => Some(served),
                    _ => None,
                },
                created: claim.and_then(|claim| claim.meta.created_at),
                is_of_clients: status.withdrawn_at.is_none() || region.withdrawn_at.is_some(),
            }
        };
        (0..).zip(&region.replicas).map(replica).collect()
    }
}

/// A region, which is as the worst replica of those that its clients are led to.
fn region(region: &RegionStatus, judged: bool, replicas: &[Replica]) -> RegionGauges {
    let of_clients = || replicas.iter().filter(|replica| replica.is_of_clients);
    let told = || of_clients().filter_map(|replica| replica.served);
    let storage = replicas
        .iter()
        .filter_map(|replica| replica.served?.storage);
    let storage = storage.max_by_key(|storage| {
        u128::from(storage.used) * 1000 / u128::from(storage.capacity.max(1))
    });
    let behind = region.superseded_at.as_ref();
    let behind = behind.map(|since| Some(since.0.as_second()));
    let serves = (region.replicas.iter()).any(|replica| replica.snapshot.is_some());
    let are_told = told().count() > 0 && told().count() == of_clients().count();
    let current = (judged && are_told && serves).then_some(None);
    let attempts = || (region.replicas.iter()).filter_map(|replica| replica.last_attempt.as_ref());
    let failed = attempts().find(|last| last.reason.outcome() != Outcome::Good);
    RegionGauges {
        region: region.name.clone(),
        withdrawn: Some((region.withdrawn_at.as_ref()).map(|since| since.0.as_second())),
        created: None,
        superseded: behind.or(current),
        snapshot: told().find_map(|served| served.snapshot.clone()),
        last_success: oldest(of_clients().map(|replica| &replica.status.last_success))
            .map(|at| at.0.as_second()),
        // The first gets what the region gets.
        last_run: failed.or_else(|| attempts().next()).map(run),
        consecutive_failures: (region.replicas.iter())
            .filter_map(|replica| u32::try_from(replica.consecutive_failures).ok())
            .max()
            .unwrap_or(0),
        index_valid_until: ends(told()),
        clock_skew: (replicas.iter())
            .filter_map(|replica| Some(replica.served?.clock_skew))
            .max_by_key(|skew| skew.abs()),
        storage_used_bytes: storage.map(|storage| storage.used),
        storage_capacity_bytes: storage.map(|storage| storage.capacity),
    }
}

/// Of each unit the index that ends first.
fn ends<'s>(told: impl Iterator<Item = &'s ServedStatus>) -> Vec<(String, i64)> {
    let mut all: BTreeMap<String, i64> = BTreeMap::new();
    for (unit, end) in told.flat_map(|served| freshness::index_ends(&served.revision)) {
        let end = end.as_second();
        let known = all.entry(unit.to_owned()).or_insert(end);
        *known = end.min(*known);
    }
    all.into_iter().collect()
}

fn run(last: &Attempt) -> RunGauges {
    let count = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok());
    RunGauges {
        reason: last.reason,
        finished_at: last.finished_at.0.as_second(),
        seconds: last.seconds.map(|seconds| seconds as f64),
        bytes: count(last.bytes_fetched),
        files: count(last.files_fetched),
    }
}

fn conditions(conditions: &[Condition]) -> Vec<ConditionGauges> {
    let told = |told: &Condition| ConditionGauges {
        kind: told.type_.clone(),
        status: ConditionStatus::of(&told.status),
        reason: Some(Reason::of(&told.reason)),
        since: Some(told.last_transition_time.0.as_second()),
    };
    conditions.iter().map(told).collect()
}
