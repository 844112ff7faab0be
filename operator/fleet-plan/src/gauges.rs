//! What metrics tell, from what a plan says.

use std::collections::BTreeMap;

use fleet_api::{ConditionStatus, RegionStatus};
use fleet_types::gauges::{MirrorGauges, RegionGauges, UpstreamGauges};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::observed::Answer;
use crate::plan::Plan;
use crate::status::oldest;
use crate::upstream::UpstreamPlan;
use crate::{freshness, names};

impl Plan {
    /// What is true of the Mirror of this name; `answers` are those of its serving pods, by pod.
    pub fn gauges(&self, mirror: &str, answers: &BTreeMap<String, Answer>) -> MirrorGauges {
        let status = &self.status;
        // What is assumed is no measurement: a lag of zero would look like one.
        let judged = freshness::judged(&status.conditions) == Some(true);
        let regions = status.regions.iter().map(|region| {
            let child = names::child_name(mirror, &region.name);
            let answer = answers.get(&names::serving_pod_name(&child));
            self::region(region, judged, answer)
        });
        MirrorGauges {
            regions: regions.collect(),
            next_run: status.next_sync_time.as_ref().map(|at| at.0.as_second()),
            conditions: conditions(&status.conditions),
        }
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
        superseded: behind.or(current),
        snapshot: served.and_then(|served| served.snapshot.clone()),
        last_success: oldest(region.replicas.iter().map(|replica| &replica.last_success))
            .map(|at| at.0.as_second()),
        index_valid_until: freshness::index_ends(revision)
            .map(|(unit, end)| (unit.to_owned(), end.as_second()))
            .collect(),
        storage_used_bytes: storage.map(|storage| storage.used),
        storage_capacity_bytes: storage.map(|storage| storage.capacity),
    }
}

fn conditions(conditions: &[Condition]) -> Vec<(String, ConditionStatus)> {
    let told = conditions.iter();
    told.map(|told| (told.type_.clone(), ConditionStatus::of(&told.status)))
        .collect()
}
