//! What an Upstream's status says of its endpoints, and when they are asked.

use std::collections::BTreeMap;

use fleet_api::Upstream;
use fleet_api::upstream::{EndpointState, EndpointStatus};
use fleet_plan::{ObservedUpstream, Probe, ProbeAnswer, UpstreamPlan, plan_upstream};
use fleet_types::Reason;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::model::{SUITE, at, digest, upstream};

const INTERVAL: SignedDuration = SignedDuration::from_mins(10);

/// An authority and an endpoint that are asked as they are due, each having the state of a number.
struct World {
    now: Timestamp,
    upstream: Upstream,
    seen: ObservedUpstream,
    authority: u8,
    /// None: it does not answer.
    endpoint: Option<u8>,
    writes: usize,
}

impl World {
    fn new() -> World {
        let mut upstream = upstream();
        upstream.status = None;
        let endpoints = json!([
            {"name": "fr", "url": "http://fr.example.org/debian/"},
            {"name": "master", "url": "https://mirrors.kernel.org/debian"},
            {"name": "near", "url": "rsync://near.example.org/debian/"},
        ]);
        upstream.spec.endpoints = serde_json::from_value(endpoints).unwrap();
        World {
            now: at("2026-01-01T10:00:00Z"),
            upstream,
            seen: ObservedUpstream {
                units: vec![SUITE.to_owned()],
                ..ObservedUpstream::default()
            },
            authority: 1,
            endpoint: Some(1),
            writes: 0,
        }
    }

    /// As the controller does it: plan, ask, plan again, write what changed.
    fn turn(&mut self) {
        let plan = self.plan();
        if !plan.probe.is_empty() {
            let answer = has(self.authority, self.now);
            self.seen.probes = asked(&self.seen.probes, self.now, answer);
        } else if !plan.probe_endpoints.is_empty() {
            assert_eq!(
                plan.probe_endpoints,
                ["fr"],
                "the others are the authority, and for Jobs"
            );
            let known = self.seen.endpoints.entry("fr".to_owned()).or_default();
            let answer = self.endpoint.map_or_else(failed, |it| has(it, self.now));
            *known = asked(known, self.now, answer);
        }
        let plan = self.plan();
        self.writes += usize::from(plan.status_changed);
        self.upstream.status = Some(plan.status);
    }

    /// Both are asked, as often as there is something to do.
    fn round(&mut self) {
        self.turn();
        self.turn();
        let plan = self.plan();
        assert!(plan.probe.is_empty() && plan.probe_endpoints.is_empty() && !plan.status_changed);
        assert_eq!(plan.wake_at, Some(self.now + INTERVAL), "not before");
        self.now += INTERVAL;
    }

    fn plan(&mut self) -> UpstreamPlan {
        self.seen.now = self.now;
        plan_upstream(&self.upstream, &self.seen)
    }

    fn told(&self, name: &str) -> EndpointStatus {
        let status = self.upstream.status.as_ref().unwrap();
        let mut all = status.endpoints.iter();
        all.find(|told| told.name == name).unwrap().clone()
    }

    fn behind(&self) -> Option<Timestamp> {
        let behind = self.told("fr").behind;
        behind.first().map(|unit| unit.superseded_at.0)
    }

    fn gauges(&mut self) -> BTreeMap<String, (Option<bool>, Option<Option<i64>>)> {
        let gauges = self.plan().gauges().endpoints.into_iter();
        gauges
            .map(|it| (it.endpoint, (it.reachable, it.superseded)))
            .collect()
    }
}

/// Each state is a day newer than the one before.
fn has(state: u8, now: Timestamp) -> ProbeAnswer {
    let day = SignedDuration::from_hours(24 * i64::from(state));
    ProbeAnswer::Has {
        digest: digest(state).to_string(),
        date: Some((at("2025-12-01T00:00:00Z") + day).min(now)),
    }
}

fn failed() -> ProbeAnswer {
    ProbeAnswer::Failed {
        reason: Reason::UpstreamUnreachable,
        message: "who knows".to_owned(),
    }
}

fn asked(known: &[Probe], now: Timestamp, answer: ProbeAnswer) -> Vec<Probe> {
    vec![Probe::after(known.first(), SUITE.to_owned(), now, answer)]
}

#[test]
fn endpoints_are_asked_after_the_authority_and_nothing_is_written_while_nothing_changes() {
    let mut world = World::new();
    world.round();
    assert_eq!(world.told("fr").state, EndpointState::Reachable);
    assert_eq!(world.told("master").state, EndpointState::Reachable);
    let since = world.told("fr").since;
    let writes = world.writes;
    for _ in 0..20 {
        world.round();
    }
    assert_eq!((world.writes, world.told("fr").since), (writes, since));
    let gauges = world.gauges();
    assert_eq!(gauges["fr"], (Some(true), Some(None)));
    assert!(
        !gauges.contains_key("near"),
        "no Job has asked it: {gauges:?}"
    );
}

#[test]
fn an_endpoint_is_behind_since_what_it_has_was_last_seen_at_the_authority() {
    let mut world = World::new();
    world.round();
    let last_seen = at("2026-01-01T10:10:00Z");
    world.round();
    world.authority = 2;
    // The authority alone: what the endpoint said before does not tell that it lacks this.
    world.turn();
    assert_eq!(world.behind(), None);
    world.turn();
    assert_eq!(world.behind(), Some(last_seen));
    world.now += INTERVAL;
    // It counts from its own state, however many come after that one, also after a restart of the controller.
    world.authority = 3;
    world.seen.probes.clear();
    world.seen.endpoints.clear();
    world.round();
    assert_eq!(world.behind(), Some(last_seen));
    let second = Some(last_seen.as_second());
    assert_eq!(world.gauges()["fr"], (Some(true), Some(second)));
    assert_eq!(
        world.gauges()["master"],
        (Some(true), Some(None)),
        "it is the authority"
    );
    // One state on: still behind, and since that one was superseded.
    world.endpoint = Some(2);
    world.round();
    assert!(world.behind() > Some(last_seen), "{:?}", world.behind());
    world.endpoint = Some(3);
    world.round();
    assert_eq!(world.behind(), None);
    assert_eq!(
        world.told("fr").revision_date.unwrap().0,
        at("2025-12-04T00:00:00Z")
    );
}

#[test]
fn one_question_without_an_answer_is_no_news_and_three_are() {
    let mut world = World::new();
    world.round();
    let writes = world.writes;
    world.endpoint = None;
    world.round();
    world.round();
    assert_eq!(world.told("fr").state, EndpointState::Reachable);
    assert_eq!(world.writes, writes);
    world.round();
    let told = world.told("fr");
    assert_eq!(told.state, EndpointState::Unreachable);
    assert!(!told.message.is_empty() && !told.message.contains("who knows"));
    assert!(told.revision_date.is_some(), "what it had is still known");
    // It may be behind by now.
    assert_eq!(world.gauges()["fr"], (Some(false), None));
    world.endpoint = Some(1);
    world.round();
    assert_eq!(world.told("fr").state, EndpointState::Reachable);
    let mut never = World::new();
    never.endpoint = None;
    never.round();
    assert_eq!(never.told("fr").state, EndpointState::Unreachable);
}

#[test]
fn what_is_no_longer_declared_is_told_of_no_longer() {
    let mut world = World::new();
    world.round();
    world.upstream.spec.endpoints.clear();
    let plan = world.plan();
    assert!(plan.status.endpoints.is_empty() && plan.status_changed);
}

/// Each of sixteen endpoints behind with forty suites: the status stays small.
#[test]
fn what_is_told_of_endpoints_is_bounded() {
    let mut world = World::new();
    let units: Vec<String> = (0..40).map(|unit| format!("suite-{unit:02}")).collect();
    let all = |state: u8, when: &str| {
        let probes = units.iter().map(|unit| {
            let answer = has(state, world.now);
            Probe::after(None, unit.clone(), at(when), answer)
        });
        probes.collect::<Vec<_>>()
    };
    let endpoints = (0..16).map(|it| json!({"name": format!("e{}", char::from(b'a' + it)), "url": format!("http://e{it}.example.org/debian/")}));
    let (newest, older) = (
        all(3, "2026-01-01T10:00:00Z"),
        all(2, "2026-01-01T10:00:00Z"),
    );
    world.upstream.spec.endpoints = serde_json::from_value(endpoints.collect()).unwrap();
    world.seen.units = units.clone();
    world.seen.probes = newest;
    let names = world
        .upstream
        .spec
        .endpoints
        .iter()
        .map(|it| it.name.clone());
    world.seen.endpoints = names.map(|name| (name, older.clone())).collect();
    let told = world.plan().status.endpoints;
    assert!(
        told.len() == 16
            && told
                .iter()
                .all(|it| it.behind.len() == EndpointStatus::MOST_BEHIND)
    );
    let size = serde_json::to_string(&told).unwrap().len();
    assert!(size < 32 * 1024, "{size}");
}
