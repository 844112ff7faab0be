//! A copy and its authority, and what happens to them; known to both.

use std::collections::BTreeMap;

use fleet_api::{Attempt, Mirror, RegionStatus, ReplicaStatus, Upstream};
use fleet_plan::alone::Alone;
use fleet_plan::fleet::Fleet;
use fleet_plan::freshness::remembered;
use fleet_plan::high_water;
use fleet_plan::inputs::Inputs;
use fleet_plan::observed::PodRole;
use fleet_plan::schedule::{later, seconds};
use fleet_plan::timing::{Timing, begins_round};
use fleet_plan::{
    Answer, Observed, ObservedUpstream, Probe, ProbeAnswer, SeenMeta, SeenObjects, SeenPod,
    Settings, names, plan, plan_upstream,
};
use fleet_types::documents::{Report, ServedStatus, UnixSeconds};
use fleet_types::gauges::MirrorGauges;
use fleet_types::{Reason, Sha256, UnitRevision};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::json;

use crate::roles::local::memory::Memory;

const UNIT: &str = "trixie";
pub const NAME: &str = "debian";
pub const START: i64 = 1_767_261_600;

#[derive(Debug, Clone)]
pub enum Event {
    Wait(u16),
    /// The run that is due begins at its time and takes so long.
    Run {
        seconds: u16,
        reason: Reason,
        retry_after: Option<u64>,
    },
    Edit(u8),
    /// The authority has a new state, and vouches for it for so long.
    Publish {
        digest: u8,
        good_for: Option<u16>,
    },
    /// Both ask the authority.
    Ask,
}

pub fn events() -> impl Strategy<Value = Vec<Event>> {
    let reason = prop_oneof![
        Just(Reason::Published),
        Just(Reason::Pinned),
        Just(Reason::UpstreamUnreachable),
        Just(Reason::SignatureBad),
    ];
    let run = (1u16..4000, reason, proptest::option::of(1u64..20_000));
    let event = prop_oneof![
        (1u16..30_000).prop_map(Event::Wait),
        run.prop_map(|(seconds, reason, retry_after)| Event::Run {
            seconds,
            reason,
            retry_after: retry_after.filter(|_| reason.outcome() != fleet_types::Outcome::Good),
        }),
        (0u8..3).prop_map(Event::Edit),
        (1u8..4, proptest::option::of(1u16..30_000))
            .prop_map(|(digest, good_for)| Event::Publish { digest, good_for }),
        Just(Event::Ask),
    ];
    proptest::collection::vec(event, 1..40)
}

pub struct World {
    pub now: Timestamp,
    authority: UnitRevision,
    /// What the copy serves.
    pub served: Option<UnitRevision>,
    mirror: Mirror,
    upstream: Upstream,
    memory: Memory,
    pub copy: Alone,
    /// How the authority answered the controller last.
    probe: Option<Probe>,
    /// Whether this process knows as much of the authority as a controller that probes.
    is_told: bool,
}

pub fn world(min_interval: Option<&str>, retries: u32) -> World {
    world_that(min_interval, retries, false)
}

pub fn world_that(min_interval: Option<&str>, retries: u32, on_upstream_change: bool) -> World {
    let now = Timestamp::from_second(START).unwrap();
    let mirror: Mirror = serde_json::from_value(json!({
        "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Mirror",
        "metadata": {"name": NAME, "namespace": "ns", "uid": NAME, "generation": 1, "creationTimestamp": now.to_string()},
        "spec": {"upstreamRef": {"name": NAME}, "freshness": {"objective": "3h"},
            "sync": {"schedule": "17 */2 * * *", "jitter": "20m", "onUpstreamChange": on_upstream_change, "retries": {"limit": retries, "backoff": "2m"}},
            "content": {"debian": {"suites": [UNIT], "components": ["main"], "architectures": ["amd64"]}},
            "regions": [{"name": "main"}]},
    }))
    .unwrap();
    let upstream: Upstream = serde_json::from_value(json!({
        "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Upstream", "metadata": {"name": NAME, "namespace": "ns"},
        "spec": {"type": "Debian", "authority": {"url": "https://mirrors.kernel.org/debian/"},
            "politeness": {"minInterval": min_interval}, "trust": {"keyringRef": {"name": "keys", "key": "keyring.gpg"}}},
    }))
    .unwrap();
    let declared = Inputs::of(&mirror.spec, NAME, &upstream.spec).occasion();
    World {
        now,
        authority: state(1, now, None),
        served: None,
        memory: Memory::new(&declared, None, now),
        copy: Alone::new(&mirror, &upstream, None, now),
        probe: None,
        mirror,
        upstream,
        is_told: true,
    }
}

pub fn state(digest: u8, now: Timestamp, good_for: Option<u16>) -> UnitRevision {
    UnitRevision {
        unit: UNIT.to_owned(),
        digest: Sha256([digest; 32]),
        date: now.as_second() - 60,
        valid_until: good_for.map(|good_for| now.as_second() + i64::from(good_for)),
    }
}

impl World {
    pub fn happens(&mut self, event: &Event) {
        match event {
            Event::Wait(wait) => self.pass(*wait),
            Event::Publish { digest, good_for } => {
                self.authority = state(*digest, self.now, *good_for);
            }
            Event::Ask => {
                self.controller_asks();
                let revision = [self.authority.clone()];
                self.copy.heard(Reason::Unchanged, "", &revision, self.now);
                self.is_told = true;
            }
            Event::Edit(component) => {
                let content = self.mirror.spec.content.debian.as_mut().unwrap();
                content.components = vec![format!("component-{component}")];
                self.memory.declare(&self.inputs().occasion());
                self.copy.declare(&self.mirror, &self.upstream);
            }
            Event::Run {
                seconds,
                reason,
                retry_after,
            } => self.run(*seconds, *reason, *retry_after),
        }
    }

    pub fn pass(&mut self, wait: u16) {
        self.now = later(self.now, seconds(wait.into()));
    }

    fn inputs(&self) -> Inputs {
        Inputs::of(&self.mirror.spec, NAME, &self.upstream.spec)
    }

    pub fn timing(&self) -> Timing {
        Timing::new(&self.mirror.spec.sync, &self.upstream.spec.politeness, NAME).unwrap()
    }

    /// As the controller's probe does, at the same instant as this process.
    fn controller_asks(&mut self) {
        let answer = ProbeAnswer::Has {
            digest: self.authority.digest.to_string(),
            date: Timestamp::from_second(self.authority.date).ok(),
        };
        let probe = Probe::after(self.probe.as_ref(), UNIT.to_owned(), self.now, answer);
        self.probe = Some(probe.clone());
        let seen = ObservedUpstream {
            now: self.now,
            units: vec![UNIT.to_owned()],
            probes: vec![probe],
            ..ObservedUpstream::default()
        };
        self.upstream.status = Some(plan_upstream(&self.upstream, &seen).status);
    }

    fn run(&mut self, seconds_: u16, reason: Reason, retry_after: Option<u64>) {
        let due = self
            .memory
            .next(&self.timing(), self.copy.news_at())
            .unwrap();
        self.now = self
            .now
            .max(Timestamp::from_second(due.at.as_second()).unwrap());
        let (started_at, carried_out) = (self.now, self.inputs());
        let begun = self.memory.begin(&due, started_at);
        self.pass(seconds_);
        let good = reason.outcome() == fleet_types::Outcome::Good;
        if reason == Reason::Published {
            self.served = Some(self.authority.clone());
        }
        if good {
            self.controller_asks();
        }
        self.is_told = good;
        let report = self.report(started_at, reason, retry_after);
        self.memory.end(&begun, &report, self.now);
        self.copy.ran(&report);
        let status = self.mirror.status.get_or_insert_default();
        high_water::learn(&mut status.high_water, &report);
        let finished_at = self.now;
        let not_before = retry_after.map(|wait| Time(later(finished_at, seconds(wait))));
        let replica = self.replica();
        if begins_round(due.trigger) {
            replica.round_started_at = Some(Time(started_at));
        }
        replica.last_attempt = Some(Attempt {
            job: "job".to_owned(),
            trigger: due.trigger,
            retry: due.retry,
            copies: None,
            prepared: None,
            reason,
            message: String::new(),
            contradiction: None,
            started_at: Time(started_at),
            finished_at: Time(finished_at),
            files_fetched: None,
            bytes_fetched: None,
            seconds: None,
            not_before,
            key_expires_at: None,
            inputs: carried_out.snapshot,
            snapshots_inputs: carried_out.snapshots,
        });
    }

    pub fn report(
        &self,
        started_at: Timestamp,
        reason: Reason,
        retry_after: Option<u64>,
    ) -> Report {
        Report {
            reason,
            revision: vec![self.authority.clone()],
            retry_after_seconds: retry_after,
            started_at: UnixSeconds(started_at.as_second()),
            finished_at: UnixSeconds(self.now.as_second()),
            ..Report::default()
        }
    }

    fn replica(&mut self) -> &mut ReplicaStatus {
        let status = self.mirror.status.get_or_insert_default();
        if status.regions.is_empty() {
            status.regions.push(RegionStatus {
                name: "main".to_owned(),
                replicas: vec![ReplicaStatus::default()],
                ..RegionStatus::default()
            });
        }
        &mut status.regions[0].replicas[0]
    }

    fn serves(&self) -> ServedStatus {
        ServedStatus {
            snapshot: self.served.as_ref().map(|_| "snapshot".to_owned()),
            revision: self.served.iter().cloned().collect(),
            ..ServedStatus::default()
        }
    }

    /// What this process tells.
    pub fn told(&mut self) -> MirrorGauges {
        let serves = self.serves();
        self.copy.judge(Some(serves), None, self.now)
    }

    fn observed(&self) -> Observed {
        let pod = names::serving_pod_name(&names::child_name(NAME, "main"));
        Observed {
            now: self.now,
            upstream: Some(self.upstream.clone()),
            upstream_error: None,
            cut_off: false,
            refusals: Default::default(),
            objects: SeenObjects {
                pods: vec![SeenPod {
                    meta: SeenMeta {
                        name: pod.clone(),
                        ..SeenMeta::default()
                    },
                    role: PodRole::Serving,
                    ..SeenPod::default()
                }],
                ..SeenObjects::default()
            },
            answers: BTreeMap::from([(pod, Answer::Serves(Box::new(self.serves())))]),
            line: Default::default(),
            rollouts_elsewhere: 0,
            copies_elsewhere: 0,
            serves_http_routes: false,
            settings: Settings::default(),
        }
    }

    /// What both say now.
    pub fn judged_alike(&mut self) {
        let observed = self.observed();
        assert_eq!(
            Fleet::new(&self.mirror, &observed).unwrap().inputs,
            self.inputs()
        );
        let planned = plan(&self.mirror, &observed);
        let there = planned.gauges(&self.mirror, &observed);
        let status = planned.status;
        let next = status.next_sync_time.as_ref().map(|at| at.0.as_second());
        let due = self.memory.next(&self.timing(), self.copy.news_at());
        assert_eq!(next, due.map(|due| due.at.as_second()), "when");
        let here = self.told();
        if self.is_told {
            assert_eq!(
                self.copy.behind(),
                remembered(&status.units),
                "what is behind"
            );
            let (one, other) = (&here.regions[0], &there.regions[0]);
            assert_eq!(one.superseded, other.superseded, "since when");
            assert_eq!(one.index_valid_until, other.index_valid_until);
            let fresh = |gauges: &MirrorGauges| {
                let fresh = gauges.conditions.iter().find(|known| known.kind == "Fresh");
                fresh.map(|fresh| (fresh.status, fresh.reason))
            };
            assert_eq!(fresh(&here), fresh(&there), "whether that is fresh");
        }
        self.mirror.status = Some(status);
    }
}
