//! Jobs ask rsync endpoints, also where the controller asks everything else of an Upstream.

use fleet_api::labels;
use fleet_api::upstream::{EndpointState, EndpointStatus};
use fleet_plan::observed::Trouble;
use fleet_plan::{Probe, ProbeAnswer, SeenPod};
use fleet_types::Reason;
use fleet_types::documents::{ProbeFailure, ProbeReport, ProbedEndpoint, ProbedUnit};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::model::{SUITE, at, digest};
use crate::prober::{INTERVAL, World, has, unit};

/// An Upstream that needs no Secret, with an endpoint of each kind.
fn world() -> World {
    let mut world = World::new();
    world.upstream.spec.access = Default::default();
    let endpoints = json!([
        {"name": "fr", "url": "http://fr.example.org/debian/"},
        {"name": "near", "url": "rsync://near.example.org/debian/"},
    ]);
    world.upstream.spec.endpoints = serde_json::from_value(endpoints).unwrap();
    world
}

/// The controller asks the authority and the endpoint that speaks HTTP.
fn asks(world: &mut World, state: u8) {
    let answer = ProbeAnswer::Has {
        digest: digest(state).to_string(),
        date: unit(state)
            .date
            .map(|date| Timestamp::from_second(date).unwrap()),
    };
    let now = world.now;
    let after = |known: &[Probe]| {
        vec![Probe::after(
            known.first(),
            SUITE.to_owned(),
            now,
            answer.clone(),
        )]
    };
    world.seen.probes = after(&world.seen.probes);
    let fr = world.seen.endpoints.entry("fr".to_owned()).or_default();
    *fr = after(fr);
}

/// The controller asks, and looks.
fn round(world: &mut World, state: u8) {
    asks(world, state);
    world.turn();
}

/// What a Job says where the authority has a state and the rsync endpoint another, or does not answer.
fn told(state: u8, near: Option<u8>) -> ProbeReport {
    let silent = ProbedUnit {
        unit: SUITE.to_owned(),
        failure: Some(ProbeFailure {
            reason: Reason::UpstreamUnreachable,
            message: "no route to host".to_owned(),
        }),
        ..ProbedUnit::default()
    };
    let others = match near {
        Some(near) if near == state => vec![],
        Some(near) => vec![unit(near)],
        None => vec![silent],
    };
    ProbeReport {
        endpoints: vec![ProbedEndpoint {
            name: "near".to_owned(),
            others,
            untold: vec![],
        }],
        ..has(state)
    }
}

fn near(world: &World) -> EndpointStatus {
    let status = world.upstream.status.as_ref().unwrap();
    let mut all = status.endpoints.iter();
    all.find(|told| told.name == "near").unwrap().clone()
}

#[test]
fn a_job_asks_each_half_hour_and_the_controller_all_else_as_often_as_ever() {
    let mut world = world();
    let plan = world.plan();
    assert_eq!(plan.probe, [SUITE], "the authority is the controller's");
    round(&mut world, 1);
    assert_eq!(world.made.len(), 1);
    world.tells(&told(1, Some(1)));
    assert_eq!(near(&world).state, EndpointState::Reachable);
    assert_eq!(
        near(&world).revision_date.unwrap().0,
        at("2026-01-01T00:00:01Z")
    );
    let (began, writes) = (at("2026-01-01T10:00:00Z"), world.writes);
    for tenth in 1..10 {
        world.now = began + SignedDuration::from_mins(10) * tenth;
        let plan = world.plan();
        assert_eq!(
            (plan.probe, plan.probe_endpoints),
            (vec![SUITE.to_owned()], vec![])
        );
        asks(&mut world, 1);
        world.turn();
        assert_eq!(world.made.len(), usize::try_from(1 + tenth / 3).unwrap());
        if tenth % 3 == 0 {
            world.tells(&told(1, Some(1)));
        }
    }
    assert_eq!(world.writes, writes, "nothing changed");
    // A controller that has just begun does not ask before the time, and knows what the last Job told.
    world.seen.endpoints.clear();
    round(&mut world, 1);
    assert_eq!((world.made.len(), world.writes), (4, writes));
    assert_eq!(near(&world).state, EndpointState::Reachable);
}

#[test]
fn a_job_is_given_the_endpoints_that_it_asks_a_folder_for_them_and_no_secret() {
    let mut world = world();
    world.turn();
    let job = serde_json::to_value(&world.made[0]).unwrap();
    let template = &job["spec"]["template"];
    let manifests = &template["metadata"]["annotations"][labels::RUN_MANIFESTS];
    let manifests = manifests.as_str().unwrap();
    assert!(
        manifests.contains("rsync://near.example.org/debian/"),
        "{manifests}"
    );
    assert!(
        !manifests.contains("fr.example.org"),
        "the controller asks that one: {manifests}"
    );
    let volumes = template["spec"]["volumes"].as_array().unwrap();
    let folder = volumes.iter().find_map(|volume| volume.get("emptyDir"));
    assert_eq!(folder.unwrap()["sizeLimit"], json!("64Mi"));
    let text = json!(volumes).to_string();
    assert!(
        !text.contains("secret") && !text.contains("persistentVolumeClaim"),
        "{text}"
    );
    let mounts = template["spec"]["containers"][0]["volumeMounts"]
        .as_array()
        .unwrap();
    let folder = mounts
        .iter()
        .find(|mount| mount["mountPath"] == json!("/tmp"))
        .unwrap();
    assert!(folder.get("readOnly").is_none(), "{folder}");
    // Where only web servers are asked there is nothing to set aside.
    let mut other = World::new();
    other.turn();
    let job = serde_json::to_value(&other.made[0]).unwrap();
    assert!(!job.to_string().contains("emptyDir"), "{job}");
}

#[test]
fn it_is_behind_as_others_are_and_what_a_job_told_before_says_nothing_of_what_came_after() {
    let mut world = world();
    round(&mut world, 1);
    world.tells(&told(1, Some(1)));
    let last_seen = at("2026-01-01T10:10:00Z");
    world.now = last_seen;
    round(&mut world, 1);
    world.now = at("2026-01-01T10:20:00Z");
    round(&mut world, 2);
    assert_eq!(near(&world).behind, []);
    world.now = at("2026-01-01T10:30:00Z");
    round(&mut world, 2);
    world.tells(&told(2, Some(1)));
    let behind = near(&world).behind;
    assert_eq!((behind.len(), behind[0].superseded_at.0), (1, last_seen));
    let gauges = world.plan().gauges().endpoints;
    let gauges = gauges.iter().find(|it| it.endpoint == "near").unwrap();
    assert_eq!(
        (gauges.reachable, gauges.superseded),
        (Some(true), Some(Some(last_seen.as_second())))
    );
    // What the Job heard of the authority is the controller's to say.
    assert_eq!(
        world.seen.prober.heard(&world.upstream).unwrap().authority,
        []
    );
    let mut never = self::world();
    round(&mut never, 1);
    never.tells(&told(1, None));
    assert_eq!(near(&never).state, EndpointState::Unreachable);
}

#[test]
fn that_no_job_can_ask_is_said_of_the_endpoint_alone() {
    let mut world = world();
    round(&mut world, 1);
    world.tells(&told(1, Some(1)));
    world.now += INTERVAL;
    round(&mut world, 1);
    let job = world.made[1].metadata.name.clone();
    world.seen.prober.pods = vec![SeenPod {
        job,
        trouble: Some(Trouble {
            reason: "ErrImagePull".to_owned(),
            message: "no such image".to_owned(),
        }),
        ..SeenPod::default()
    }];
    world.turn();
    assert_eq!(
        near(&world).state,
        EndpointState::Reachable,
        "it may begin yet"
    );
    world.now += SignedDuration::from_mins(3);
    round(&mut world, 1);
    let told_of = near(&world);
    assert_eq!(told_of.state, EndpointState::NotAsked);
    assert!(
        told_of.message.contains("ErrImagePull: no such image"),
        "{told_of:?}"
    );
    assert_eq!((told_of.revision_date, told_of.behind), (None, vec![]));
    assert_eq!(
        world.reachable().0,
        "True",
        "the authority answers the controller"
    );
    world.seen.prober.pods.clear();
    world.tells(&told(1, Some(1)));
    assert_eq!(near(&world).state, EndpointState::Reachable);
}

#[test]
fn jobs_go_with_the_last_endpoint_that_they_ask() {
    let mut world = world();
    round(&mut world, 1);
    world.tells(&told(1, Some(1)));
    world.upstream.spec.endpoints.pop();
    let plan = world.plan();
    assert_eq!((plan.prober.remove.len(), plan.prober.start), (1, None));
    assert!(plan.status.endpoints.iter().all(|told| told.name == "fr"));
}
