//! One region serves the next snapshot before the others do.

use fleet_api::{Halted, PublicationPhase, labels};
use fleet_plan::PlannedEvent;
use k8s_openapi::api::batch::v1::Job;
use serde_json::json;

use super::serving;
use super::together::{FIRST, SECOND, id, jobs, phase, served};
use crate::model::World;

const THIRD: u8 = 0xcc;
const SOAK: i64 = 600;
const PATIENCE: i64 = 15 * 60;
const CANARY: usize = 1;

fn all(byte: u8) -> Vec<Option<String>> {
    vec![Some(id(byte)); 3]
}

/// Only the second of three regions serves what is next.
fn tries_alone(world: &World) -> bool {
    served(world) == [Some(id(FIRST)), Some(id(SECOND)), Some(id(FIRST))]
}

fn three() -> World {
    let mut world = serving(&["eu", "us<eu", "asia<us"]);
    let canary = json!({"canary": {"region": "us", "soak": "10m"}});
    world.mirror.spec.rollout = serde_json::from_value(canary).unwrap();
    world.mirror.metadata.generation = Some(2);
    world.settle();
    world
}

/// Until it is audited, or all rest.
fn copies(world: &mut World) {
    for _ in 0..12 {
        if world.is_running() {
            world.pass(10);
            let report = world.report("Prepared");
            world.end_run(&report);
        }
        world.round();
        if world.is_auditing() {
            return;
        }
    }
}

/// The region that goes first serves what is next, and is audited.
fn trying() -> World {
    let mut world = three();
    world.hub_prepares(SECOND);
    assert_eq!(served(&world), all(FIRST), "not before all have it");
    copies(&mut world);
    assert!(tries_alone(&world), "{:?}", served(&world));
    world
}

/// A plan is carried out; what it tells people.
fn told(world: &mut World) -> Vec<PlannedEvent> {
    let plan = world.plan();
    world.apply(&plan);
    world.kubernetes();
    plan.events
}

fn reasons(events: &[PlannedEvent]) -> Vec<(bool, &str)> {
    let canary = events.iter().filter(|event| event.action == "Publish");
    let named = canary.map(|event| (event.warning, event.reason.as_str()));
    named
        .filter(|(_, reason)| reason.starts_with("Canary"))
        .collect()
}

fn halted(world: &World) -> Option<Halted> {
    world.status().publication.unwrap().halted
}

fn is_at_rest(world: &World) {
    let plan = world.plan();
    let is_quiet = plan.writes.is_empty() && plan.after_status.is_empty();
    assert!(is_quiet && !plan.status_changed, "{plan:#?}");
}

#[test]
fn one_region_goes_first_and_the_others_follow_once_it_has_soaked_and_was_audited() {
    let mut world = trying();
    assert_eq!(phase(&world), PublicationPhase::Canary);
    let status = world.status();
    assert_eq!(status.state.as_deref(), Some("Serving,CanarySoaking"));
    let reconciling = ("True".to_owned(), "CanarySoaking".to_owned());
    assert_eq!(world.condition("Reconciling"), Some(reconciling));
    world.end_audit("Audited");
    world.round();
    assert!(tries_alone(&world), "it has its time");
    assert!(!world.objects.jobs.iter().any(|job| job.audits()));
    is_at_rest(&world);
    let wake_at = world.plan().wake_at.unwrap();
    world.now = wake_at;
    world.settle();
    assert_eq!(served(&world), all(SECOND));
    let publication = world.status().publication.unwrap();
    assert_eq!((publication.canary, publication.halted), (None, None));
    assert_eq!(phase(&world), PublicationPhase::Published);
    is_at_rest(&world);
}

#[test]
fn the_job_that_audits_has_no_volume_of_a_region_and_no_login() {
    let mut world = three();
    world.edit_upstream("/spec/access", json!({"credentialsRef": {"name": "login"}}));
    world.settle();
    world.hub_prepares(SECOND);
    let mut audits: Vec<Job> = Vec::new();
    for _ in 0..12 {
        let plan = world.plan();
        let is_audit = |job: &Job| {
            let labels = job.metadata.labels.as_ref().unwrap();
            labels[labels::COMPONENT] == labels::COMPONENT_AUDIT
        };
        audits.extend(jobs(&plan.writes).into_iter().filter(is_audit));
        world.apply(&plan);
        world.kubernetes();
        if world.is_running() {
            world.pass(10);
            let report = world.report("Prepared");
            world.end_run(&report);
        }
    }
    let [job] = audits.try_into().unwrap();
    let labels = job.metadata.labels.as_ref().unwrap();
    for kind in [labels::UPSTREAM, labels::FOLLOWS] {
        assert!(!labels.contains_key(kind));
    }
    let pod = job.spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.automount_service_account_token, Some(false));
    let volumes = pod.volumes.unwrap();
    let names: Vec<&str> = volumes.iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(names, ["run", "scratch", "refs"]);
    let text = serde_json::to_string(&volumes).unwrap();
    assert!(text.contains("keys") && !text.contains("login"), "{text}");
    assert!(!text.contains("persistentVolumeClaim"), "{text}");
    let security = pod.containers[0].security_context.as_ref().unwrap();
    assert_eq!(security.read_only_root_filesystem, Some(true));
    let arguments = pod.containers[0].args.as_ref().unwrap();
    let url = arguments.iter().position(|argument| argument == "--url");
    let service = fleet_plan::names::child_name("debian", "us");
    let served_at = format!("http://{service}.ns.svc/debian/");
    assert_eq!(arguments[url.unwrap() + 1], served_at);
}

#[test]
fn what_is_found_bad_is_halted_and_the_upstreams_next_state_ends_that() {
    let mut world = trying();
    world.end_audit("DigestMismatch");
    let events = told(&mut world);
    assert_eq!(reasons(&events), [(true, "CanaryFailed")]);
    world.settle();
    assert_eq!(served(&world), all(FIRST));
    let known = halted(&world).unwrap();
    assert_eq!(
        (known.snapshot, known.region),
        (id(SECOND), "us".to_owned())
    );
    assert_eq!(known.reason.as_str(), "DigestMismatch");
    let status = world.status();
    assert_eq!(status.state.as_deref(), Some("Serving,CanaryFailed"));
    let reconciling = status.conditions.iter();
    let reconciling = reconciling.into_iter().find(|it| it.type_ == "Reconciling");
    let message = &reconciling.unwrap().message;
    for words in [
        "region us",
        "as the test says",
        "next state",
        "any edit",
        "pin",
    ] {
        assert!(message.contains(words), "{message}");
    }
    world.pass(3 * PATIENCE);
    world.settle();
    assert_eq!(served(&world), all(FIRST), "time does not end it");
    is_at_rest(&world);
    world.hub_prepares(THIRD);
    copies(&mut world);
    assert_eq!(served(&world)[CANARY], Some(id(THIRD)));
    world.end_audit("Audited");
    world.pass(SOAK);
    world.settle();
    assert_eq!((served(&world), halted(&world)), (all(THIRD), None));
}

/// Whoever has read it at the canary may go on at any other region.
#[test]
fn what_was_halted_is_given_up_by_nobody_before_something_newer_is_served() {
    let mut world = three();
    world.edit("/spec/snapshots", json!({"keep": 1, "minAge": "0s"}));
    world.settle();
    world.hub_prepares(SECOND);
    copies(&mut world);
    world.end_audit("DigestMismatch");
    told(&mut world);
    assert_eq!(halted(&world).map(|it| it.snapshot), Some(id(SECOND)));
    // The hub goes on.
    world.hub_prepares(THIRD);
    world.request("and once more");
    let plan = world.plan();
    let fetches = |job: &Job| {
        !job.metadata
            .labels
            .as_ref()
            .unwrap()
            .contains_key(labels::FOLLOWS)
    };
    let kept = jobs(&plan.writes).into_iter().filter(fetches).map(|job| {
        let annotations = job.metadata.annotations.unwrap_or_default();
        annotations.get(labels::KEEP).cloned().unwrap_or_default()
    });
    let [kept] = kept.collect::<Vec<_>>().try_into().unwrap();
    for snapshot in [FIRST, SECOND, THIRD] {
        assert!(kept.contains(&id(snapshot)), "{snapshot:x}: {kept}");
    }
}

#[test]
fn an_edit_has_what_was_halted_tried_again() {
    let mut world = trying();
    world.end_audit("UpstreamIncomplete");
    world.settle();
    assert!(halted(&world).is_some());
    world.mirror.metadata.generation = Some(3);
    copies(&mut world);
    assert!(tries_alone(&world) && halted(&world).is_none());
    world.end_audit("Audited");
    world.pass(SOAK);
    world.settle();
    assert_eq!(served(&world), all(SECOND));
}

#[test]
fn where_nobody_can_tell_it_is_audited_again_and_not_waited_for_for_ever() {
    let mut world = trying();
    let job = |world: &World| {
        let publication = world.status().publication.unwrap();
        publication.canary.unwrap().audit.unwrap()
    };
    let first = job(&world);
    world.end_audit("UpstreamUnreachable");
    world.round();
    assert!(!world.is_auditing());
    is_at_rest(&world);
    world.pass(60);
    world.round();
    let second = job(&world);
    assert_eq!((first.number, second.number), (1, 2));
    assert!(world.is_auditing() && first.job != second.job);
    world.end_audit("UpstreamUnreachable");
    world.round();
    world.pass(SOAK + PATIENCE);
    let events = told(&mut world);
    assert_eq!(reasons(&events), [(true, "CanaryNotAudited")]);
    world.settle();
    assert_eq!(served(&world), all(SECOND));
}

#[test]
fn what_is_too_old_in_every_region_holds_up_nothing_newer() {
    let mut world = trying();
    world.end_audit("IndexExpired");
    world.round();
    world.pass(SOAK);
    world.settle();
    assert_eq!((served(&world), halted(&world)), (all(SECOND), None));
}

#[test]
fn a_job_that_is_lost_is_begun_again() {
    let mut world = trying();
    let is_audit = |job: &fleet_plan::SeenJob| job.audits();
    world.objects.jobs.retain(|job| !is_audit(job));
    world.round();
    assert!(!world.is_auditing(), "a watch may be late");
    for _ in 0..2 {
        world.pass(60);
        world.round();
    }
    assert!(world.is_auditing());
    world.end_audit("Audited");
    world.pass(SOAK);
    world.settle();
    assert_eq!(served(&world), all(SECOND));
}

#[test]
fn nobody_waits_for_a_canary_that_is_away() {
    let mut world = three();
    world.away = vec!["us".to_owned()];
    world.hub_prepares(SECOND);
    world.settle_around();
    let others = [served(&world)[0].clone(), served(&world)[2].clone()];
    assert_eq!(others, [Some(id(SECOND)), Some(id(SECOND))]);
}

#[test]
fn what_a_person_paused_is_prepared_and_waits() {
    let mut world = three();
    world.mirror.spec.rollout.paused = true;
    world.mirror.metadata.generation = Some(3);
    world.hub_prepares(SECOND);
    copies(&mut world);
    assert_eq!(served(&world), all(FIRST));
    let status = world.status();
    assert_eq!(status.state.as_deref(), Some("Serving,RolloutPaused"));
    is_at_rest(&world);
    world.mirror.spec.rollout.paused = false;
    world.mirror.spec.rollout.canary = None;
    world.mirror.metadata.generation = Some(4);
    world.settle();
    assert_eq!(served(&world), all(SECOND));
}

#[test]
fn one_region_alone_can_be_paused_and_has_nobody_to_go_first() {
    let mut world = serving(&["eu"]);
    world.mirror.spec.rollout.paused = true;
    world.hub_prepares(SECOND);
    world.settle();
    let publication = world.status().publication.unwrap();
    assert_eq!(publication.snapshot, id(FIRST));
    world.mirror.spec.rollout.paused = false;
    world.settle();
    assert_eq!(world.status().publication.unwrap().snapshot, id(SECOND));
    let canary = json!({"canary": {"region": "eu"}});
    world.mirror.spec.rollout = serde_json::from_value(canary).unwrap();
    world.step();
    let stalled = ("True".to_owned(), "InvalidSpec".to_owned());
    assert_eq!(world.condition("Stalled"), Some(stalled));
}
