//! What metrics tell, from what a plan says.

use fleet_api::{Attempt, ConditionStatus, Mirror, Publication, RegionStatus};
use fleet_types::Reason;
use fleet_types::gauges::{
    ConditionGauges, MirrorGauges, PublicationGauges, RegionGauges, RunGauges, UpstreamGauges,
};
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
            let child = names::child_name(name, &region.name);
            let answer = seen.answers.get(&names::serving_pod_name(&child));
            let claim = (seen.objects.claims.iter()).find(|claim| claim.meta.name == child);
            let created = claim.and_then(|claim| claim.meta.created_at);
            RegionGauges {
                created: created.max(declared).map(Timestamp::as_second),
                ..self::region(region, judged, answer)
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
            conditions: conditions(&self.status.conditions),
        }
    }
}

fn region(region: &RegionStatus, judged: bool, answer: Option<&Answer>) -> RegionGauges {
    let served = match answer {
        Some(Answer::Serves(served)) => Some(served),
        _ => None,
    };
    let storage = served.and_then(|served| served.storage);
    let behind = region.superseded_at.as_ref();
    let behind = behind.map(|since| Some(since.0.as_second()));
    let serves = (region.replicas.iter()).any(|replica| replica.snapshot.is_some());
    let current = (judged && served.is_some() && serves).then_some(None);
    let revision = served.map_or(&[][..], |served| &served.revision);
    RegionGauges {
        region: region.name.clone(),
        withdrawn: Some((region.withdrawn_at.as_ref()).map(|since| since.0.as_second())),
        created: None,
        superseded: behind.or(current),
        snapshot: served.and_then(|served| served.snapshot.clone()),
        last_success: oldest(region.replicas.iter().map(|replica| &replica.last_success))
            .map(|at| at.0.as_second()),
        last_run: (region.replicas.iter())
            .filter_map(|replica| replica.last_attempt.as_ref())
            .max_by_key(|last| last.finished_at.0)
            .map(run),
        consecutive_failures: (region.replicas.iter())
            .filter_map(|replica| u32::try_from(replica.consecutive_failures).ok())
            .max()
            .unwrap_or(0),
        index_valid_until: freshness::index_ends(revision)
            .map(|(unit, end)| (unit.to_owned(), end.as_second()))
            .collect(),
        clock_skew: served.map(|served| served.clock_skew),
        storage_used_bytes: storage.map(|storage| storage.used),
        storage_capacity_bytes: storage.map(|storage| storage.capacity),
    }
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
