//! The planner's behaviour as stories: a few verbs build a world, and the plan is compared as text.

use crate::model::{World, at, render};
use fleet_plan::observed::{Trouble, VolumePhase};
use fleet_plan::{Claimant, SeenMeta, Turn, Write};
use serde_json::json;

/// A world whose regions serve, an hour before the next slot.
fn serving(regions: &[&str]) -> World {
    let mut world = World::new(regions);
    world.settle();
    world
}

/// A world in which a scheduled run has just begun.
fn running() -> World {
    let mut world = serving(&["eu"]);
    world.now = at("2026-01-01T11:00:00Z");
    let plan = world.plan();
    world.apply(&plan);
    assert_eq!(plan.turn, Turn::Running);
    world
}

fn creates_job(world: &World) -> Option<String> {
    let plan = world.plan();
    plan.writes.iter().find_map(|write| match write {
        Write::CreateJob(job) => {
            Some(job.metadata.annotations.as_ref().unwrap()["mirrorfleet.dev/trigger"].clone())
        }
        _ => None,
    })
}

fn last_reason(world: &World) -> String {
    world.status().regions[0]
        .last_attempt
        .as_ref()
        .unwrap()
        .reason
        .clone()
}

#[test]
fn a_new_mirror_gets_its_objects_then_its_first_run() {
    let mut world = World::new(&["eu"]);
    insta::assert_snapshot!("new_mirror", render(&world.plan()));
    let plan = world.plan();
    world.apply(&plan);
    world.kubernetes();
    insta::assert_snapshot!("first_run", render(&world.plan()));
    world.settle();
    insta::assert_snapshot!("at_rest", render(&world.plan()));
}

#[test]
fn the_objects_are_these() {
    let mut world = World::new(&["eu"]);
    world.edit("/spec/serving", json!({"tls": {"secretName": "tls"}}));
    let plan = world.plan();
    world.apply(&plan);
    world.kubernetes();
    for write in plan.writes.iter().chain(&world.plan().writes) {
        let (name, value) = match write {
            Write::CreateClaim(object) => ("claim", serde_json::to_string_pretty(object)),
            Write::ApplyService(object) => ("service", serde_json::to_string_pretty(object)),
            Write::ApplyStatefulSet(object) => {
                ("stateful_set", serde_json::to_string_pretty(object))
            }
            Write::ApplyDisruptionBudget(object) => {
                ("disruption_budget", serde_json::to_string_pretty(object))
            }
            Write::CreateJob(object) => ("job", serde_json::to_string_pretty(object)),
            other => panic!("{other:?}"),
        };
        insta::assert_snapshot!(name, value.unwrap());
    }
}

#[test]
fn slots_that_were_missed_are_one_run() {
    let mut world = serving(&["eu"]);
    world.now = at("2026-01-01T15:30:00Z");
    assert_eq!(creates_job(&world).as_deref(), Some("Schedule"));
    world.settle();
    let runs = world.status().regions[0].last_attempt.clone().unwrap();
    assert_eq!(runs.started_at.0, at("2026-01-01T15:30:00Z"));
    assert_eq!(world.plan().wake_at, Some(at("2026-01-01T16:00:00Z")));
}

#[test]
fn suspend_stops_new_runs_and_a_request_waits_for_its_end() {
    let mut world = serving(&["eu"]);
    world.edit("/spec/suspend", json!(true));
    world.request("now");
    world.now = at("2026-01-01T15:30:00Z");
    world.settle();
    assert_eq!(creates_job(&world), None);
    assert_eq!(
        world.status().last_handled_sync_request,
        None,
        "it was not carried out"
    );
    assert_eq!(
        world.condition("Ready").unwrap(),
        ("True".into(), "Suspended".into())
    );
    world.edit("/spec/suspend", json!(false));
    assert!(creates_job(&world).is_some());
    world.settle();
    assert_eq!(
        world.status().last_handled_sync_request.as_deref(),
        Some("now")
    );
}

#[test]
fn failed_runs_are_tried_again_ever_later_and_then_the_schedule_is_waited_for() {
    let mut world = serving(&["eu"]);
    world.edit("/spec/sync/schedule", json!("0 11 * * *"));
    world.now = at("2026-01-01T11:00:00Z");
    let plan = world.plan();
    world.apply(&plan);
    let mut waits = Vec::new();
    for retry in 0..=5 {
        world.pass(5);
        let report = world.report("UpstreamUnreachable");
        world.end_run(&report);
        let plan = world.plan();
        world.apply(&plan);
        let ended = world.now;
        let next = world.plan().status.next_sync_time.unwrap().0;
        waits.push(next.duration_since(ended).as_secs());
        assert_eq!(world.status().regions[0].consecutive_failures, retry + 1);
        world.now = next;
        let plan = world.plan();
        world.apply(&plan);
    }
    for (retry, wait) in waits.iter().take(5).enumerate() {
        let least = 120 << retry;
        assert!((least..=least + least / 4).contains(wait), "{waits:?}");
    }
    assert_eq!(world.now, at("2026-01-02T11:00:00Z"));
    let last = world.status().regions[0].current_run.clone().unwrap();
    assert_eq!(
        (last.trigger.as_str(), last.retry),
        ("Schedule", 0),
        "the sixth failure waits for the schedule"
    );
}

#[test]
fn an_upstream_that_asks_for_time_gets_it() {
    let mut world = running();
    let mut report = world.report("UpstreamBusy");
    report.retry_after_seconds = Some(7200);
    world.end_run(&report);
    let plan = world.plan();
    world.apply(&plan);
    assert_eq!(
        world.plan().status.next_sync_time.unwrap().0,
        at("2026-01-01T13:00:00Z")
    );
}

#[test]
fn min_interval_counts_rounds_and_not_their_retries() {
    let mut world = World::new(&["eu"]);
    world.edit_upstream(
        "/spec",
        json!({"type": "Debian", "authority": {"url": "https://mirrors.kernel.org/debian/"},
        "trust": {"signatures": "None"}, "politeness": {"minInterval": "3h"}}),
    );
    world.settle();
    assert_eq!(
        world.plan().status.next_sync_time.unwrap().0,
        at("2026-01-01T13:00:05Z")
    );
    world.now = at("2026-01-01T13:00:05Z");
    let plan = world.plan();
    world.apply(&plan);
    let report = world.report("UpstreamUnreachable");
    world.end_run(&report);
    let plan = world.plan();
    world.apply(&plan);
    let next = world.plan().status.next_sync_time.unwrap().0;
    assert!(
        next < at("2026-01-01T13:04:00Z"),
        "a retry belongs to its round: {next}"
    );
}

#[test]
fn a_run_starts_only_in_its_turn() {
    let mut world = serving(&["eu"]);
    world.now = at("2026-01-01T11:00:00Z");
    world.others = vec![Claimant {
        mirror: "other".to_owned(),
        turn: Turn::Running,
    }];
    assert_eq!(creates_job(&world), None);
    assert_eq!(world.plan().turn, Turn::Waiting(at("2026-01-01T11:00:00Z")));
    world.others[0].turn = Turn::Waiting(at("2026-01-01T10:59:00Z"));
    assert_eq!(creates_job(&world), None, "the other has waited for longer");
    world.others[0].turn = Turn::Waiting(at("2026-01-01T11:00:01Z"));
    assert!(creates_job(&world).is_some());
}

#[test]
fn a_job_that_cannot_be_scheduled_says_why_and_gives_up_its_turn() {
    let mut world = running();
    let pod = world
        .objects
        .pods
        .iter_mut()
        .find(|pod| pod.job.is_some())
        .unwrap();
    pod.running = false;
    pod.node = None;
    pod.unschedulable = Some("0/2 nodes are available: 2 Insufficient memory.".to_owned());
    assert_eq!(world.plan().wake_at, Some(at("2026-01-01T11:05:00Z")));
    world.pass(301);
    insta::assert_snapshot!("unschedulable", render(&world.plan()));
    let plan = world.plan();
    world.apply(&plan);
    assert_eq!(last_reason(&world), "SyncUnschedulable");
    assert!(world.objects.jobs.is_empty());
}

#[test]
fn a_job_that_vanished_is_lost_unless_the_store_kept_its_report() {
    let mut world = running();
    world.objects.jobs.clear();
    world.objects.pods.retain(|pod| pod.job.is_none());
    assert_eq!(creates_job(&world), None, "the watch may only be late");
    world.pass(61);
    let mut kept = world.report("Published");
    kept.started_at = Some(at("2026-01-01T11:00:02Z"));
    let (_, store) = world.stores.iter_mut().next().unwrap();
    let before = store.last_report.replace(kept);
    let plan = world.plan();
    assert_eq!(
        plan.status.regions[0].last_attempt.as_ref().unwrap().reason,
        "Published"
    );
    world.stores.values_mut().next().unwrap().last_report = before;
    let plan = world.plan();
    world.apply(&plan);
    assert_eq!(last_reason(&world), "SyncJobLost");
}

#[test]
fn a_run_without_a_report_is_interrupted_after_a_little_patience() {
    let mut world = running();
    world.pass(30);
    let report = world.report("Failed");
    world.end_run(&report);
    let pod = world
        .objects
        .pods
        .iter_mut()
        .find(|pod| pod.job.is_some())
        .unwrap();
    let end = pod.end.as_mut().unwrap();
    end.message = String::new();
    end.reason = "OOMKilled".to_owned();
    end.exit_code = 137;
    assert!(world.plan().finished.is_empty());
    world.pass(21);
    let plan = world.plan();
    world.apply(&plan);
    assert_eq!(last_reason(&world), "SyncInterrupted");
    let message = world.status().regions[0]
        .last_attempt
        .clone()
        .unwrap()
        .message;
    assert!(message.contains("OOMKilled, exit code 137"), "{message}");
}

#[test]
fn serving_wins_over_a_job_on_another_node() {
    let mut world = running();
    let pod = world
        .objects
        .pods
        .iter_mut()
        .find(|pod| pod.job.is_none())
        .unwrap();
    pod.node = Some("node-2".to_owned());
    let plan = world.plan();
    assert!(
        matches!(plan.writes.as_slice(), [Write::DeleteJob { .. }]),
        "{}",
        render(&plan)
    );
    world.apply(&plan);
    assert_eq!(
        world.status().regions[0].consecutive_failures,
        0,
        "that is no failure"
    );
    assert_eq!(
        creates_job(&world).as_deref(),
        Some("Schedule"),
        "and it starts again beside the pod"
    );
}

#[test]
fn a_changed_pod_template_takes_the_job_away_first() {
    let mut world = running();
    world.image = "mirrorfleet:2".to_owned();
    let plan = world.plan();
    let order: Vec<_> = plan.writes.iter().map(std::mem::discriminant).collect();
    assert_eq!(order.len(), 2, "{}", render(&plan));
    assert!(matches!(plan.writes[0], Write::DeleteJob { .. }));
    assert!(matches!(plan.writes[1], Write::ApplyStatefulSet(_)));
}

#[test]
fn images_roll_one_region_at_a_time_and_jobs_run_what_their_pod_runs() {
    let mut world = serving(&["asia", "eu", "us"]);
    world.image = "mirrorfleet:2".to_owned();
    world.now = at("2026-01-01T11:00:00Z");
    for left in [3, 2, 1] {
        let plan = world.plan();
        let sets = plan
            .writes
            .iter()
            .filter(|write| matches!(write, Write::ApplyStatefulSet(_)))
            .count();
        assert_eq!(sets, 1, "{left} left: {}", render(&plan));
        world.apply(&plan);
        let waiting = world.plan();
        assert!(
            !waiting
                .writes
                .iter()
                .any(|write| matches!(write, Write::ApplyStatefulSet(_)))
        );
        assert!(waiting.rollouts >= 1);
        world.kubernetes();
        world.objects.jobs.clear();
        world.objects.pods.retain(|pod| pod.job.is_none());
    }
    assert!(
        !world
            .plan()
            .writes
            .iter()
            .any(|write| matches!(write, Write::ApplyStatefulSet(_)))
    );
}

#[test]
fn a_stranger_under_our_name_is_never_written() {
    let mut world = World::new(&["eu"]);
    let name = fleet_plan::wanted_names(&world.mirror)[0].clone();
    let stranger = SeenMeta {
        name,
        uid: "x".to_owned(),
        ..SeenMeta::default()
    };
    world.objects.services.push(fleet_plan::SeenApplied {
        meta: stranger,
        spec: "{}".into(),
    });
    insta::assert_snapshot!("name_conflict", render(&world.plan()));
}

#[test]
fn a_claim_of_another_repository_is_never_adopted() {
    let mut world = serving(&["eu"]);
    world.edit_upstream(
        "/spec/authority/url",
        json!("https://elsewhere.example.org/debian/"),
    );
    let plan = world.plan();
    assert!(plan.writes.is_empty());
    world.apply(&plan);
    assert_eq!(world.condition("Stalled").unwrap().1, "StoreMismatch");
    assert_eq!(
        world.condition("Ready").unwrap().0,
        "True",
        "what is served stays served"
    );
}

#[test]
fn what_crosses_objects_is_said_with_what_to_change() {
    let mut world = World::new(&["eu"]);
    world.upstream = None;
    insta::assert_snapshot!("no_upstream", render(&world.plan()));
    let mut world = World::new(&[]);
    let plan = world.plan();
    world.apply(&plan);
    assert_eq!(
        world.condition("Stalled").unwrap().1,
        "InvalidSpec",
        "no region"
    );
}

#[test]
fn a_region_that_is_no_longer_declared_leaves_only_its_claim() {
    let mut world = serving(&["eu", "us"]);
    world.edit("/spec/regions", json!([{"name": "eu"}]));
    world.settle();
    let names: Vec<_> = world
        .objects
        .claims
        .iter()
        .map(|claim| claim.meta.name.clone())
        .collect();
    assert_eq!(world.status().retained_claims, names[1..]);
    assert_eq!(
        (
            world.objects.stateful_sets.len(),
            world.objects.services.len()
        ),
        (1, 1)
    );
}

#[test]
fn deleting_a_mirror_deletes_its_data_only_if_its_last_manifest_says_so() {
    for (policy, claims_left) in [("Retain", 1), ("Delete", 0)] {
        let mut world = serving(&["eu"]);
        world.edit("/spec/storage/reclaimPolicy", json!("Delete"));
        world.settle();
        assert!(
            world
                .mirror
                .metadata
                .finalizers
                .as_ref()
                .is_some_and(|all| all.len() == 1)
        );
        world.edit("/spec/storage/reclaimPolicy", json!(policy));
        world.mirror.metadata.deletion_timestamp = Some(
            k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.now),
        );
        let plan = world.plan();
        world.apply(&plan);
        assert_eq!(world.objects.claims.len(), claims_left, "{policy}");
        assert_eq!(world.mirror.metadata.finalizers, None);
        assert!(world.plan().writes.is_empty());
    }
}

#[test]
fn a_mirror_made_anew_takes_its_volume_up_again() {
    let mut world = serving(&["eu"]);
    let claims = world.objects.claims.clone();
    let stores = world.stores.clone();
    let mut again = World::new(&["eu"]);
    again.mirror.metadata.uid = Some("another-uid".to_owned());
    again.objects.claims = claims.clone();
    again.stores = stores;
    again.settle();
    assert_eq!(again.objects.claims, claims, "nothing was written to it");
    assert_eq!(again.condition("Ready").unwrap().0, "True");
    world.mirror.metadata.deletion_timestamp = Some(
        k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.now),
    );
    assert!(world.plan().writes.is_empty());
}

#[test]
fn trouble_is_told_in_kubernetes_words() {
    let mut world = serving(&["eu"]);
    world.objects.claims[0].phase = VolumePhase::Lost;
    let pod = world
        .objects
        .pods
        .iter_mut()
        .find(|pod| pod.job.is_none())
        .unwrap();
    pod.ready = false;
    pod.trouble = Some(Trouble {
        reason: "ImagePullBackOff".to_owned(),
        message: "no such image".to_owned(),
    });
    insta::assert_snapshot!("trouble", render(&world.plan()));
}

#[test]
fn a_pod_that_cannot_be_asked_is_unknown_and_keeps_what_was_known() {
    let mut world = serving(&["eu"]);
    let snapshot = world.status().snapshot;
    assert!(snapshot.is_some());
    world.unreachable = true;
    let plan = world.plan();
    world.apply(&plan);
    assert_eq!(world.condition("Fresh").unwrap().0, "Unknown");
    assert_eq!(world.condition("Ready").unwrap().0, "True");
    assert_eq!(world.status().snapshot, snapshot);
}

/// Nothing has to happen for it but time: the planner asks to be woken for it.
#[test]
fn an_index_that_expires_while_it_is_served_is_not_fresh() {
    let mut world = serving(&["eu"]);
    assert_eq!(world.condition("Fresh").unwrap().0, "True");
    let end = world.now + jiff::SignedDuration::from_mins(10);
    for store in world.stores.values_mut() {
        store.revision[0].valid_until = Some(end.as_second());
    }
    let plan = world.plan();
    assert!(!plan.status_changed, "nothing is written before");
    assert!(plan.wake_at.unwrap() <= end + jiff::SignedDuration::from_secs(1));
    world.now = end + jiff::SignedDuration::from_secs(1);
    let plan = world.plan();
    let warned = plan.events.iter().any(|event| event.warning);
    assert!(plan.status_changed && warned, "{:?}", plan.events);
    world.apply(&plan);
    let told = |status: &str, reason: &str| Some((status.to_owned(), reason.to_owned()));
    assert_eq!(world.condition("Fresh"), told("False", "IndexExpired"));
    assert_eq!(world.condition("Ready").unwrap().0, "True");
    assert!(!world.plan().status_changed, "said once");
}

/// What a Kubernetes 1.34.4 API server made of our objects, its defaults filled in, is still what we want.
#[test]
fn objects_as_a_real_api_server_returns_them_need_no_write() {
    let mut world = World::new(&["eu"]);
    world.edit("/spec/serving", json!({"tls": {"secretName": "tls"}}));
    let plan = world.plan();
    world.apply(&plan);
    let live = |text: &str| -> fleet_plan::SeenApplied {
        let object: serde_json::Value = serde_json::from_str(text).unwrap();
        let meta = serde_json::from_value(object["metadata"].clone()).unwrap();
        fleet_plan::SeenApplied::of(&meta, &object["spec"])
    };
    world.objects.services = vec![live(include_str!("../live/service.json"))];
    world.objects.stateful_sets = vec![live(include_str!("../live/stateful_set.json"))];
    world.objects.disruption_budgets = vec![live(include_str!("../live/disruption_budget.json"))];
    assert!(world.plan().writes.is_empty(), "{}", render(&world.plan()));
    let edited = world.objects.services[0].spec.replace("443", "444");
    world.objects.services[0].spec = edited.into();
    assert!(matches!(
        world.plan().writes.as_slice(),
        [Write::ApplyService(_)]
    ));
}

#[test]
fn what_a_pod_found_damaged_is_told_and_handed_to_the_next_run() {
    let mut world = serving(&["eu"]);
    let digest = fleet_types::Sha256([7; 32]);
    let store = world.stores.values_mut().next().unwrap();
    store.damaged = vec![digest];
    store.problem = Some("state/report.json is damaged: it is empty".to_owned());
    let plan = world.plan();
    let condition = plan
        .status
        .conditions
        .iter()
        .find(|known| known.type_ == "StorageReady");
    let message = &condition.unwrap().message;
    assert_eq!(condition.unwrap().status, "False");
    assert!(
        message.contains("1 stored files are damaged") && message.contains("it is empty"),
        "{message}"
    );
    world.now = at("2026-01-01T11:00:00Z");
    let arguments = world
        .plan()
        .writes
        .into_iter()
        .find_map(|write| match write {
            Write::CreateJob(job) => job.spec?.template.spec?.containers.pop()?.args,
            _ => None,
        });
    let arguments = arguments.unwrap();
    let at = arguments
        .iter()
        .position(|argument| argument == "--damaged")
        .unwrap();
    assert_eq!(arguments[at + 1], format!("[\"{digest}\"]"));
}
