//! A copy without a cluster, as `mirrorfleet local` has: what is said of it is what a controller would say of a region whose
//! volume is bound, whose pod is ready, and whose Upstream was asked when this process did.

use std::collections::BTreeMap;

use fleet_api::mirror::Region;
use fleet_api::upstream::{ObservedUnit, UpstreamStatus};
use fleet_api::{
    ConditionStatus, ConditionType, Mirror, MirrorStatus, RegionStatus, Run, Trigger, Upstream,
    labels,
};
use fleet_types::documents::{Report, ServedStatus, Success};
use fleet_types::gauges::{MirrorGauges, UpstreamGauges};
use fleet_types::{Outcome, Reason, UnitRevision};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::freshness::{BehindUnit, Found, observe, remembered};
use crate::observed::{
    Answer, Observed, PodRole, SeenClaim, SeenMeta, SeenObjects, SeenPod, Settings, VolumePhase,
};
use crate::report::instant;
use crate::runs::{Ending, Runs};
use crate::upstream::{ObservedUpstream, Probe, ProbeAnswer, SeenAttempt, plan_upstream};
use crate::{high_water, inputs, names, news, planner};

/// The name of its one region.
pub const REGION: &str = "local";

/// One copy: what is declared, and what is known of it and its authority.
#[derive(Debug, Clone)]
pub struct Alone {
    mirror: Mirror,
    upstream: Upstream,
    /// What the authority was seen to have, and whether it may have something else by now.
    authority: Vec<ObservedUnit>,
    is_told: bool,
    /// Since when it has not answered, and how it did not.
    silent: Option<(Timestamp, Reason, String)>,
    /// How it answered when it was last asked.
    probes: Vec<Probe>,
}

impl Alone {
    /// `report` is of the last run that its store knows.
    pub fn new(
        mirror: &Mirror,
        upstream: &Upstream,
        report: Option<&Report>,
        now: Timestamp,
    ) -> Alone {
        let begun = report.map(|report| instant(report.started_at));
        let mut alone = Alone {
            mirror: mirror.clone(),
            upstream: upstream.clone(),
            authority: Vec::new(),
            is_told: false,
            silent: None,
            probes: Vec::new(),
        };
        alone.mirror.status = Some(MirrorStatus {
            regions: vec![RegionStatus {
                name: REGION.to_owned(),
                replicas: vec![Default::default()],
                ..RegionStatus::default()
            }],
            ..MirrorStatus::default()
        });
        alone.mirror.metadata.creation_timestamp = Some(Time(begun.unwrap_or(now).min(now)));
        alone.declare(mirror, upstream);
        if let Some(report) = report {
            alone.ended(report);
        }
        alone
    }

    /// The manifests were read again; what happened stays.
    pub fn declare(&mut self, mirror: &Mirror, upstream: &Upstream) {
        let (status, created) = (
            self.mirror.status.take(),
            self.mirror.metadata.creation_timestamp.take(),
        );
        self.mirror = mirror.clone();
        self.mirror.status = status;
        self.mirror.metadata.creation_timestamp = created;
        // Minutes are spread by the name where no cluster gives a uid.
        self.mirror.metadata.uid = mirror.metadata.name.clone();
        let spec = &mut self.mirror.spec;
        spec.pods = Default::default();
        spec.regions = vec![Region {
            follows: None,
            storage: None,
            standby: false,
            replicas: 1,
            name: REGION.to_owned(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            public_url: None,
            trace_name: None,
            host: None,
            client_cidrs: Vec::new(),
        }];
        self.upstream = upstream.clone();
        self.upstream.status = None;
        // This process may read what a controller may not, so it asks the authority itself.
        let access = &mut self.upstream.spec.access;
        (access.credentials_ref, access.ca_bundle_ref) = (None, None);
    }

    /// A run has ended.
    pub fn ran(&mut self, report: &Report) {
        self.ended(report);
        let at = instant(report.finished_at);
        self.heard(report.reason, &report.message, &report.revision, at);
    }

    fn ended(&mut self, report: &Report) {
        let status = self.mirror.status.get_or_insert_default();
        high_water::learn(&mut status.high_water, report);
        let replicas = status
            .regions
            .iter_mut()
            .flat_map(|region| &mut region.replicas);
        for replica in replicas {
            let mut runs = Runs::new(std::mem::take(replica));
            let run = Run {
                job: String::new(),
                trigger: Trigger::Schedule,
                retry: 0,
                started_at: Time(instant(report.started_at)),
                copies: None,
                inputs: String::new(),
                snapshots_inputs: String::new(),
            };
            let ending = Ending::reported(report.clone(), instant(report.finished_at));
            runs.record(REGION, run, ending);
            *replica = runs.status;
        }
    }

    /// The authority was asked, by a run or a probe. One that was not good does not tell what it has; only one that met
    /// nobody tells that it does not answer.
    pub fn heard(
        &mut self,
        reason: Reason,
        message: &str,
        revision: &[UnitRevision],
        now: Timestamp,
    ) {
        match reason.outcome() {
            Outcome::Good => (self.is_told, self.silent) = (true, None),
            // What it said last is believed for a while.
            Outcome::Upstream => {
                let since = self.silent.as_ref().map_or(now, |(since, ..)| *since);
                self.silent = Some((since, reason, message.to_owned()));
            }
            _ => self.is_told = false,
        }
        let told = match reason.outcome() {
            Outcome::Good => revision
                .iter()
                .map(|unit| (unit.unit.clone(), has(unit)))
                .collect(),
            Outcome::Upstream => {
                let failed = ProbeAnswer::Failed {
                    reason,
                    message: message.to_owned(),
                };
                let units = self.mirror.spec.content.units().into_iter();
                units.map(|unit| (unit, failed.clone())).collect()
            }
            _ => Vec::new(),
        };
        for (unit, answer) in told {
            let last = self.probes.iter().find(|probe| probe.unit == unit);
            let probe = Probe::after(last, unit, now, answer);
            if let Some(found) = Found::of(&probe, &[]) {
                let known = self.authority.iter().find(|known| known.unit == probe.unit);
                let seen = observe(known, &probe.unit, &found);
                self.authority.retain(|known| known.unit != probe.unit);
                self.authority.push(seen);
            }
            self.probes.retain(|last| last.unit != probe.unit);
            self.probes.push(probe);
        }
    }

    /// What is true of it, where its store holds `served`.
    pub fn judge(
        &mut self,
        served: Option<ServedStatus>,
        success: Option<&Success>,
        now: Timestamp,
    ) -> MirrorGauges {
        let status = self.mirror.status.get_or_insert_default();
        let replicas = status
            .regions
            .iter_mut()
            .flat_map(|region| &mut region.replicas);
        for replica in replicas {
            let known = success.map(|success| Time(instant(success.at)));
            replica.last_success = known.or(replica.last_success.take());
        }
        let seen = self.observed(served, now);
        let mut plan = planner::plan(&self.mirror, &seen);
        // There are no objects that could be on their way.
        let is_other = |known: &Condition| known.type_ != ConditionType::Reconciling.as_str();
        plan.status.conditions.retain(is_other);
        let gauges = plan.gauges(&self.mirror, &seen);
        self.mirror.status = Some(plan.status);
        gauges
    }

    /// The world in which nothing but the copy itself can be at fault.
    fn observed(&self, served: Option<ServedStatus>, now: Timestamp) -> Observed {
        let name = self.mirror.metadata.name.as_deref().unwrap_or_default();
        let child = names::child_name(name, REGION);
        let pod = names::serving_pod_name(&child);
        let labels = [
            (labels::MANAGED_BY, labels::MANAGED_BY_VALUE),
            (labels::MIRROR, name),
            (labels::REGION, REGION),
            (labels::REPLICA, "0"),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let meta = |name: &str| SeenMeta {
            name: name.to_owned(),
            labels: labels.clone().into(),
            ..SeenMeta::default()
        };
        // Whether the store is of this repository is judged by the run that opens it.
        let (upstream_type, authority) = inputs::identity(&self.upstream.spec);
        let identity = [
            (labels::STORE_TYPE.to_owned(), upstream_type),
            (labels::STORE_AUTHORITY.to_owned(), authority),
        ];
        let answer = served.map_or(Answer::Nothing, |served| Answer::Serves(Box::new(served)));
        let mut upstream = self.upstream.clone();
        upstream.status = Some(UpstreamStatus {
            revision: self
                .authority
                .iter()
                .filter(|_| self.is_told)
                .cloned()
                .collect(),
            conditions: self.silent.iter().map(unreachable).collect(),
            ..UpstreamStatus::default()
        });
        Observed {
            now,
            upstream: Some(upstream),
            upstream_error: None,
            objects: SeenObjects {
                claims: vec![SeenClaim {
                    meta: SeenMeta {
                        annotations: identity.into(),
                        ..meta(&child)
                    },
                    phase: VolumePhase::Bound,
                    ..SeenClaim::default()
                }],
                pods: vec![SeenPod {
                    meta: meta(&pod),
                    role: PodRole::Serving,
                    ready: true,
                    ..SeenPod::default()
                }],
                ..SeenObjects::default()
            },
            answers: BTreeMap::from([(pod, answer)]),
            cut_off: false,
            refusals: BTreeMap::new(),
            line: Default::default(),
            rollouts_elsewhere: 0,
            copies_elsewhere: 0,
            serves_http_routes: false,
            settings: Settings::default(),
        }
    }

    /// The manifests, the Mirror with the status that a controller would give it.
    pub fn objects(&self) -> (&Mirror, &Upstream) {
        (&self.mirror, &self.upstream)
    }

    /// When the authority was first seen to have a state that no run here has taken.
    pub fn news_at(&self) -> Option<Timestamp> {
        let status = self.mirror.status.as_ref()?;
        let (_, replica) = status.replicas().next()?;
        news::of_status(&self.mirror, status, replica, &self.authority)
    }

    /// Units of which the authority is known to have something newer than is served.
    pub fn behind(&self) -> Vec<BehindUnit> {
        let status = self.mirror.status.as_ref();
        status.map_or_else(Vec::new, |status| remembered(&status.units))
    }
}

/// As a controller says it of an Upstream.
fn unreachable((since, reason, message): &(Timestamp, Reason, String)) -> Condition {
    Condition {
        type_: ConditionType::Reachable.as_str().to_owned(),
        status: ConditionStatus::False.as_str().to_owned(),
        reason: reason.as_str().to_owned(),
        message: message.clone(),
        last_transition_time: Time(*since),
        observed_generation: None,
    }
}

fn has(unit: &UnitRevision) -> ProbeAnswer {
    ProbeAnswer::Has {
        digest: unit.digest.to_string(),
        date: (unit.is_dated())
            .then(|| Timestamp::from_second(unit.date).ok())
            .flatten(),
    }
}

/// What is true of an Upstream, as `copies` of it know it; `before` is what was said of it last, and becomes what is said.
pub fn judge_upstream<'a>(
    copies: impl IntoIterator<Item = &'a Alone>,
    before: &mut UpstreamStatus,
    now: Timestamp,
) -> Option<UpstreamGauges> {
    let copies: Vec<&Alone> = copies.into_iter().collect();
    let mut upstream = copies.first()?.upstream.clone();
    upstream.status = Some(std::mem::take(before));
    let probes = copies.iter().flat_map(|copy| copy.probes.iter().cloned());
    let mut probes: Vec<Probe> = probes.collect();
    // Two Mirrors may have asked for one unit; what was heard last counts.
    probes.sort_by_key(|probe| std::cmp::Reverse(probe.at));
    let seen = ObservedUpstream {
        now,
        units: (copies.iter())
            .flat_map(|copy| copy.mirror.spec.content.units())
            .collect(),
        probes,
        attempts: (copies.iter())
            .flat_map(|copy| SeenAttempt::of(&copy.mirror, copy.mirror.status.as_ref()))
            .collect(),
        // Its runs are among what was heard; no run tells what other endpoints have.
        ..ObservedUpstream::default()
    };
    let plan = plan_upstream(&upstream, &seen);
    let gauges = plan.gauges();
    *before = plan.status;
    Some(gauges)
}
