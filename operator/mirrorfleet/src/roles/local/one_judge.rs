//! One history, told to the controller's status and to this process's memory, makes the same run due and the same copy
//! fresh.

use std::collections::BTreeMap;

use fleet_api::{Attempt, ConditionType, Mirror, RegionStatus, ReplicaStatus, Upstream};
use fleet_plan::fleet::Fleet;
use fleet_plan::freshness::{BehindUnit, Freshness as Measured, remembered};
use fleet_plan::inputs::Inputs;
use fleet_plan::observed::PodRole;
use fleet_plan::schedule::{later, seconds};
use fleet_plan::timing::{Timing, begins_round};
use fleet_plan::{
    Answer, Observed, ObservedUpstream, Probe, ProbeAnswer, SeenMeta, SeenObjects, SeenPod,
    Settings, names, plan, plan_upstream,
};
use fleet_types::documents::{Report, ServedStatus, UnixSeconds};
use fleet_types::{Reason, Sha256, UnitRevision};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::json;

use super::freshness::{Known, is_fresh};
use super::memory::Memory;

const UNIT: &str = "trixie";
const NAME: &str = "debian";
const START: i64 = 1_767_261_600;

#[derive(Debug, Clone)]
enum Event {
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

struct World {
    now: Timestamp,
    authority: UnitRevision,
    /// What the copy serves.
    served: Option<UnitRevision>,
    mirror: Mirror,
    upstream: Upstream,
    memory: Memory,
    known: Known,
    /// Whether this process knows as much of the authority as a controller that probes.
    told: bool,
}

fn world(min_interval: Option<&str>, retries: u32) -> World {
    let now = Timestamp::from_second(START).unwrap();
    let mirror: Mirror = serde_json::from_value(json!({
        "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Mirror",
        "metadata": {"name": NAME, "namespace": "ns", "uid": NAME, "generation": 1, "creationTimestamp": now.to_string()},
        "spec": {"upstreamRef": {"name": NAME}, "freshness": {"objective": "3h"},
            "sync": {"schedule": "17 */2 * * *", "jitter": "20m", "retries": {"limit": retries, "backoff": "2m"}},
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
        mirror,
        upstream,
        known: Known::default(),
        told: true,
    }
}

fn state(digest: u8, now: Timestamp, good_for: Option<u16>) -> UnitRevision {
    UnitRevision {
        unit: UNIT.to_owned(),
        digest: Sha256([digest; 32]),
        date: now.as_second() - 60,
        valid_until: good_for.map(|good_for| now.as_second() + i64::from(good_for)),
    }
}

impl World {
    fn happens(&mut self, event: &Event) {
        match event {
            Event::Wait(wait) => self.pass(*wait),
            Event::Publish { digest, good_for } => {
                self.authority = state(*digest, self.now, *good_for);
            }
            Event::Ask => {
                self.controller_asks();
                let revision = [self.authority.clone()];
                self.known.heard(Reason::Unchanged, &revision, self.now);
                self.told = true;
            }
            Event::Edit(component) => {
                let content = self.mirror.spec.content.debian.as_mut().unwrap();
                content.components = vec![format!("component-{component}")];
                self.memory.declare(&self.inputs().occasion());
            }
            Event::Run {
                seconds,
                reason,
                retry_after,
            } => self.run(*seconds, *reason, *retry_after),
        }
    }

    fn pass(&mut self, wait: u16) {
        self.now = later(self.now, seconds(wait.into()));
    }

    fn inputs(&self) -> Inputs {
        Inputs::of(&self.mirror.spec, NAME, &self.upstream.spec)
    }

    fn timing(&self) -> Timing {
        Timing::new(&self.mirror.spec.sync, &self.upstream.spec.politeness, NAME).unwrap()
    }

    /// As the controller's probe does, at the same instant as this process.
    fn controller_asks(&mut self) {
        let seen = ObservedUpstream {
            now: self.now,
            units: vec![UNIT.to_owned()],
            probes: vec![Probe {
                unit: UNIT.to_owned(),
                at: self.now,
                answer: ProbeAnswer::Has {
                    digest: self.authority.digest.to_string(),
                    date: Timestamp::from_second(self.authority.date).ok(),
                },
                failures: 0,
            }],
            attempts: Vec::new(),
        };
        self.upstream.status = Some(plan_upstream(&self.upstream, &seen).status);
    }

    fn run(&mut self, seconds_: u16, reason: Reason, retry_after: Option<u64>) {
        let due = self.memory.next(&self.timing()).unwrap();
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
        self.told = good;
        let report = self.report(started_at, reason, retry_after);
        self.memory.end(&begun, &report, self.now);
        self.known.heard(reason, &report.revision, self.now);
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

    fn report(&self, started_at: Timestamp, reason: Reason, retry_after: Option<u64>) -> Report {
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

    fn observed(&self) -> Observed {
        let pod = names::serving_pod_name(&names::child_name(NAME, "main"));
        let serves = ServedStatus {
            snapshot: self.served.as_ref().map(|_| "snapshot".to_owned()),
            revision: self.served.iter().cloned().collect(),
            ..ServedStatus::default()
        };
        Observed {
            now: self.now,
            upstream: Some(self.upstream.clone()),
            upstream_error: None,
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
            answers: BTreeMap::from([(pod, Answer::Serves(Box::new(serves)))]),
            line: Default::default(),
            rollouts_elsewhere: 0,
            settings: Settings::default(),
        }
    }

    /// What both say now.
    fn judged_alike(&mut self) {
        let observed = self.observed();
        assert_eq!(
            Fleet::new(&self.mirror, &observed).unwrap().inputs,
            self.inputs()
        );
        let status = plan(&self.mirror, &observed).status;
        let next = status.next_sync_time.as_ref().map(|at| at.0.as_second());
        let due = self.memory.next(&self.timing());
        assert_eq!(next, due.map(|due| due.at.as_second()), "when");
        let served = self.served.as_ref().map(std::slice::from_ref);
        let measured = (self.known).measure(&[UNIT.to_owned()], served, self.now);
        if self.told {
            let region = &status.regions[0];
            let behind = region
                .superseded_at
                .as_ref()
                .map(|at| Some(at.0.as_second()));
            assert_eq!(
                self.known.behind,
                remembered(&status.units),
                "what is behind"
            );
            assert_eq!(
                self.known.superseded(&measured).filter(Option::is_some),
                behind,
                "since when"
            );
            let objective = seconds(self.mirror.spec.freshness.objective.as_secs());
            let fresh = is_fresh(&measured, served.unwrap_or_default(), objective, self.now);
            let told = (status.conditions.iter())
                .find(|condition| condition.type_ == ConditionType::Fresh.as_str())
                .map(|condition| condition.status.as_str());
            let word = match fresh {
                Some(true) => "True",
                Some(false) => "False",
                None => "Unknown",
            };
            assert_eq!(Some(word), told, "whether that is fresh");
        }
        self.mirror.status = Some(status);
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
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

proptest! {
    #[test]
    fn the_controller_and_local_judge_alike(
        events in events(),
        min_interval in proptest::option::of(prop_oneof![Just("30m"), Just("9h")]),
        retries in 0u32..4,
    ) {
        let mut world = world(min_interval, retries);
        world.judged_alike();
        for event in events {
            world.happens(&event);
            world.judged_alike();
        }
    }
}

#[test]
fn a_pin_alone_is_not_behind_and_one_that_holds_something_newer_back_is() {
    let mut world = world(None, 0);
    let run = |reason| Event::Run {
        seconds: 5,
        reason,
        retry_after: None,
    };
    world.happens(&run(Reason::Published));
    world.judged_alike();
    world.happens(&run(Reason::Pinned));
    world.judged_alike();
    assert!(world.known.behind.is_empty(), "nothing newer is known");
    world.happens(&Event::Publish {
        digest: 2,
        good_for: None,
    });
    world.happens(&run(Reason::Pinned));
    world.judged_alike();
    assert_eq!(world.known.behind.len(), 1);
}

#[test]
fn a_run_that_was_refused_does_not_tell_what_the_authority_has_and_what_was_behind_stays_so() {
    let mut world = world(None, 0);
    let (units, now) = ([UNIT.to_owned()], world.now);
    let known = &mut world.known;
    let (old, new) = (state(1, now, None), state(2, now, None));
    let served = Some(std::slice::from_ref(&old));
    known.heard(Reason::Published, std::slice::from_ref(&old), now);
    let measured = known.measure(&units, served, now);
    assert_eq!(known.superseded(&measured), Some(None));
    known.heard(Reason::SignatureBad, &[], now);
    let measured = known.measure(&units, served, now);
    assert_eq!(known.superseded(&measured), None);
    known.heard(Reason::Unchanged, std::slice::from_ref(&new), now);
    known.measure(&units, served, now);
    known.heard(Reason::SignatureBad, &[], now);
    let measured = known.measure(&units, served, now);
    assert_eq!(known.superseded(&measured), Some(Some(now.as_second())));
}

#[test]
fn after_a_restart_the_store_knows_whom_to_leave_alone() {
    let mut world = world(Some("9h"), 3);
    let started_at = world.now;
    world.pass(60);
    let report = world.report(started_at, Reason::UpstreamBusy, Some(1800));
    let memory = Memory::new("declared", Some(&report), later(world.now, seconds(300)));
    let due = memory.next(&world.timing()).unwrap();
    assert_eq!(
        (due.trigger, due.at),
        (fleet_api::Trigger::Retry, later(world.now, seconds(1800)))
    );
    let report = world.report(started_at, Reason::Unchanged, None);
    let memory = Memory::new("declared", Some(&report), later(world.now, seconds(300)));
    let due = memory.next(&world.timing()).unwrap();
    assert_eq!(
        (due.trigger, due.at),
        (
            fleet_api::Trigger::Schedule,
            later(started_at, seconds(9 * 3600))
        )
    );
}

#[test]
fn an_index_that_expired_is_not_fresh_although_the_authority_has_nothing_newer() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let fresh = |measured: &Measured, ends: &[i64]| {
        let unit = |end: &i64| UnitRevision {
            valid_until: Some(*end),
            ..state(1, at(0), None)
        };
        let served: Vec<_> = ends.iter().map(unit).collect();
        is_fresh(measured, &served, seconds(50), at(100))
    };
    let behind = |since| {
        Measured::Behind(vec![BehindUnit {
            unit: UNIT.to_owned(),
            digest: String::new(),
            superseded_at: Time(at(since)),
        }])
    };
    let unknown = Measured::Unknown(Reason::Unknown, String::new());
    assert_eq!(fresh(&Measured::Current, &[]), Some(true));
    assert_eq!(fresh(&Measured::Current, &[100, 101]), Some(true));
    assert_eq!(fresh(&Measured::Current, &[101, 99]), Some(false));
    assert_eq!(fresh(&unknown, &[99]), Some(false));
    assert_eq!(fresh(&unknown, &[]), None);
    assert_eq!(fresh(&behind(7), &[]), Some(false));
    assert_eq!(
        fresh(&behind(50), &[]),
        Some(true),
        "the objective allows it"
    );
    assert_eq!(fresh(&behind(50), &[99]), Some(false));
}
