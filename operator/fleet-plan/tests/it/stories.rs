//! The planner's behaviour as stories: a few verbs build a world, and the plan is compared as text.

mod allowed;

use crate::model::{World, at, render};
use fleet_plan::observed::{RunEnd, Trouble, VolumePhase};
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

/// A world whose objects were made and whose serving pod is what `pod` makes of it.
fn begun(pod: impl FnOnce(&mut fleet_plan::SeenPod)) -> World {
    let mut world = World::new(&["eu"]);
    let plan = world.plan();
    world.apply(&plan);
    world.kubernetes();
    let serving = &mut world.objects.pods[0];
    serving.ready = false;
    serving.running = false;
    pod(serving);
    world
}

/// What `Ready` says once the plan is carried out: reason and message. Planning again has nothing to add.
fn not_ready(world: &mut World) -> (String, String) {
    let plan = world.plan();
    world.apply(&plan);
    let again = world.plan();
    assert!(!again.status_changed, "{}", render(&again));
    let status = world.status();
    let ready = status
        .conditions
        .iter()
        .find(|found| found.type_ == "Ready")
        .unwrap();
    assert_eq!(ready.status, "False");
    assert!(status.state.unwrap().starts_with(&ready.reason));
    (ready.reason.clone(), ready.message.clone())
}

/// What Kubernetes' controllers say about an object.
fn warned(world: &mut World, uid: &str, message: &str) {
    world.objects.warnings.push(fleet_plan::SeenWarning {
        uid: uid.to_owned(),
        message: message.to_owned(),
        at: Some(world.now),
    });
}

#[test]
fn what_keeps_a_serving_pod_from_running_is_the_reason_of_not_being_ready() {
    let trouble = |reason: &str, message: &str| {
        Some(Trouble {
            reason: reason.to_owned(),
            message: message.to_owned(),
        })
    };
    let crash = |message: &str| {
        Some(RunEnd {
            exit_code: 1,
            at: None,
            message: message.to_owned(),
            reason: "Error".to_owned(),
        })
    };
    for image in [
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
    ] {
        let told = not_ready(&mut begun(|pod| {
            pod.trouble = trouble(image, "no such host")
        }));
        assert_eq!(told.0, "ImageNotPulled");
        assert!(
            told.1.contains("mirrorfleet:1") && told.1.contains("no such host"),
            "{}",
            told.1
        );
    }
    let told = not_ready(&mut begun(|pod| {
        pod.node = None;
        pod.unschedulable = Some("0/2 nodes are available: 2 Insufficient memory.".to_owned());
    }));
    assert_eq!(told.0, "PodUnschedulable");
    assert!(told.1.contains("2 Insufficient memory"), "{}", told.1);
    let told = not_ready(&mut begun(|pod| {
        pod.crash = crash("the store is of a newer version")
    }));
    assert_eq!(told.0, "PodCrashing");
    assert!(
        told.1
            .ends_with("(exit code 1); the last that it said: the store is of a newer version"),
        "{}",
        told.1
    );
    let told = not_ready(&mut begun(|pod| {
        pod.trouble = trouble("CreateContainerConfigError", "secret \"x\" not found")
    }));
    assert_eq!(told.0, "PodNotReady");
    assert!(told.1.contains("secret \"x\" not found"), "{}", told.1);
}

#[test]
fn a_claim_without_a_volume_and_a_pod_that_is_refused_are_told_in_the_words_of_who_refuses() {
    let mut world = begun(|pod| pod.unschedulable = Some("pod has unbound claims".to_owned()));
    world.objects.claims[0].phase = VolumePhase::Pending;
    let uid = world.objects.claims[0].meta.uid.clone();
    warned(&mut world, "another", "of a claim before this one");
    assert_eq!(not_ready(&mut world).0, "PodUnschedulable");
    warned(
        &mut world,
        &uid,
        "storageclass.storage.k8s.io \"fast\" not found",
    );
    let told = not_ready(&mut world);
    assert_eq!(
        told.0, "VolumePending",
        "the root, not what follows from it"
    );
    assert!(told.1.contains("\"fast\" not found"), "{}", told.1);

    let mut world = begun(|_| {});
    world.objects.pods.clear();
    assert_eq!(not_ready(&mut world).0, "FirstSyncPending");
    let uid = world.objects.stateful_sets[0].meta.uid.clone();
    warned(
        &mut world,
        &uid,
        "pods \"debian-0\" is forbidden: exceeded quota: small",
    );
    let told = not_ready(&mut world);
    assert_eq!(told.0, "CreationRefused");
    assert!(told.1.contains("exceeded quota: small"), "{}", told.1);
    assert_eq!(world.condition("Serving").unwrap().1, "CreationRefused");
}

#[test]
fn what_holds_up_the_first_run_is_told_and_later_ones_are_a_remark() {
    let mut world = World::new(&["eu"]);
    for _ in 0..2 {
        let plan = world.plan();
        world.apply(&plan);
        world.kubernetes();
    }
    let uid = world.objects.jobs[0].meta.uid.clone();
    world.objects.pods.retain(|pod| pod.job.is_none());
    assert_eq!(not_ready(&mut world).0, "FirstSyncRunning");
    warned(&mut world, &uid, "exceeded quota: small");
    let told = not_ready(&mut world);
    assert_eq!(told.0, "CreationRefused");
    world.pass(301);
    let plan = world.plan();
    world.apply(&plan);
    assert_eq!(last_reason(&world), "CreationRefused");

    let mut world = running();
    let pod = world
        .objects
        .pods
        .iter_mut()
        .find(|pod| pod.job.is_some())
        .unwrap();
    pod.running = false;
    pod.trouble = Some(Trouble {
        reason: "ErrImagePull".to_owned(),
        message: "gone".to_owned(),
    });
    let plan = world.plan();
    world.apply(&plan);
    let status = world.status();
    let ready = status
        .conditions
        .iter()
        .find(|found| found.type_ == "Ready")
        .unwrap();
    assert_eq!(ready.status, "True", "what is served stays served");
    assert!(
        ready.message.contains("cannot get the image") && ready.message.contains("gone"),
        "{}",
        ready.message
    );
}

#[test]
fn the_end_of_a_log_stands_for_a_report_that_was_not_written() {
    let mut world = running();
    let report = world.report("Failed");
    world.end_run(&report);
    let pod = world
        .objects
        .pods
        .iter_mut()
        .find(|pod| pod.job.is_some())
        .unwrap();
    let end = pod.end.as_mut().unwrap();
    end.message = "starting\nthread main panicked at x.rs\n\n".to_owned();
    end.reason = "Error".to_owned();
    end.exit_code = 101;
    world.pass(21);
    let plan = world.plan();
    world.apply(&plan);
    let message = world.status().regions[0]
        .last_attempt
        .clone()
        .unwrap()
        .message;
    assert!(
        message.ends_with("the last that it said: thread main panicked at x.rs"),
        "{message}"
    );
}

#[test]
fn who_waits_says_for_whom() {
    let other = |turn| {
        vec![Claimant {
            mirror: "security".to_owned(),
            turn,
        }]
    };
    let mut world = begun(|pod| pod.ready = true);
    world.others = other(Turn::Running);
    let told = not_ready(&mut world);
    assert_eq!(told.0, "WaitingForTurn");
    assert!(
        told.1
            .contains("Mirror security is being synced from Upstream debian"),
        "{}",
        told.1
    );

    let mut world = serving(&["eu"]);
    world.now = at("2026-01-01T11:00:00Z");
    world.others = other(Turn::Waiting(at("2026-01-01T10:59:00Z")));
    let plan = world.plan();
    world.apply(&plan);
    assert_eq!(
        world.status().state.as_deref(),
        Some("Serving,WaitingForTurn")
    );
    assert_eq!(world.condition("Ready").unwrap().0, "True");
    assert!(!world.plan().status_changed, "said once");
}

#[test]
fn the_columns_show_what_a_person_should_see() {
    let state = |world: &mut World| {
        world.settle();
        world.status().state.unwrap()
    };
    let mut world = serving(&["eu"]);
    assert_eq!(state(&mut world), "Serving");
    world.edit("/spec/suspend", json!(true));
    world.edit("/spec/snapshots", json!({"pinned": "aaaaaaaa"}));
    assert_eq!(state(&mut world), "Serving,Suspended,Pinned");
    world.edit("/spec/snapshots", json!({}));
    world.edit_upstream(
        "/status/revision/0/digest",
        json!(crate::model::digest(2).to_string()),
    );
    world.edit_upstream(
        "/status/revision/0/observedAt",
        json!("2026-01-01T10:20:00Z"),
    );
    assert_eq!(
        state(&mut world),
        "Serving,Suspended",
        "within the objective"
    );
    world.pass(12 * 3600);
    assert_eq!(state(&mut world), "Serving,Stale,Suspended");
}

#[test]
fn a_region_says_where_its_clients_go() {
    let url = |world: &mut World| {
        world.settle();
        world.status().regions[0].url.clone().unwrap()
    };
    let mut world = World::new(&["eu"]);
    let child = fleet_plan::wanted_names(&world.mirror)[0].clone();
    assert_eq!(url(&mut world), format!("http://{child}.ns.svc/debian/"));
    world.edit(
        "/spec/serving",
        json!({"path": "linux/debian", "tls": {"secretName": "tls"}}),
    );
    assert_eq!(
        url(&mut world),
        format!("https://{child}.ns.svc/linux/debian/")
    );
    for public in ["https://eu.example.org", "https://eu.example.org/"] {
        world.edit(
            "/spec/regions/0",
            json!({"name": "eu", "publicUrl": public}),
        );
        assert_eq!(url(&mut world), "https://eu.example.org/linux/debian/");
    }
}

#[test]
fn the_job_of_the_last_failed_run_stays_until_a_run_succeeds_and_never_two_of_them() {
    let mut world = running();
    let mut kept: Vec<String> = Vec::new();
    for reason in ["UpstreamUnreachable", "SignatureBad", "UpstreamUnreachable"] {
        let report = world.report(reason);
        world.end_run(&report);
        for _ in 0..3 {
            let plan = world.plan();
            world.apply(&plan);
        }
        let jobs: Vec<_> = world
            .objects
            .jobs
            .iter()
            .map(|job| job.meta.name.clone())
            .collect();
        let last = world.status().regions[0].last_attempt.clone().unwrap();
        assert_eq!(
            jobs,
            [last.job.as_str()],
            "the status names the one that is there"
        );
        assert_eq!(
            (last.files_fetched, last.bytes_fetched, last.seconds),
            (Some(0), Some(0), Some(0))
        );
        assert!(!kept.contains(&last.job));
        assert_eq!(world.plan().turn, Turn::Idle, "it is in nobody's way");
        kept.push(last.job);
        world.now = world.plan().status.next_sync_time.unwrap().0;
        let plan = world.plan();
        world.apply(&plan);
        assert_eq!(world.objects.jobs.len(), 2, "{}", render(&plan));
    }
    let mut report = world.report("Published");
    (report.files_fetched, report.bytes_fetched, report.seconds) = (3, 1 << 40, 12.6);
    world.end_run(&report);
    world.settle();
    assert!(world.objects.jobs.is_empty());
    let last = world.status().regions[0].last_attempt.clone().unwrap();
    assert_eq!(
        (last.files_fetched, last.bytes_fetched, last.seconds),
        (Some(3), Some(1 << 40), Some(13))
    );
}

#[test]
fn a_kept_job_does_not_keep_a_volume_that_a_person_deletes() {
    let mut world = running();
    let report = world.report("UpstreamUnreachable");
    world.end_run(&report);
    let plan = world.plan();
    world.apply(&plan);
    assert_eq!(world.objects.jobs.len(), 1);
    world.objects.claims[0].meta.deleting = true;
    let plan = world.plan();
    world.apply(&plan);
    assert!(world.objects.jobs.is_empty(), "{}", render(&plan));
}

#[test]
fn without_a_schedule_two_mirrors_do_not_come_at_the_same_time() {
    let next = |uid: &str| {
        let mut world = World::new(&["eu"]);
        world.edit("/spec/sync", json!({}));
        world.mirror.metadata.uid = Some(uid.to_owned());
        world.settle();
        world.status().next_sync_time.unwrap().0
    };
    assert_eq!(next("one"), next("one"));
    assert_ne!(next("one"), next("another"));
}

/// The pod templates that are planned: of the StatefulSet and of the first Job.
fn templates(world: &mut World) -> Vec<k8s_openapi::api::core::v1::PodTemplateSpec> {
    let plan = world.plan();
    world.apply(&plan);
    world.kubernetes();
    let next = world.plan();
    let writes = plan.writes.into_iter().chain(next.writes);
    writes
        .filter_map(|write| match write {
            Write::ApplyStatefulSet(set) => Some(set.spec?.template),
            Write::CreateJob(job) => Some(job.spec?.template),
            _ => None,
        })
        .collect()
}

#[test]
fn pods_are_as_the_mirror_and_the_installation_ask_and_still_restricted() {
    let mut world = World::new(&["eu"]);
    world.pods = serde_json::from_value(json!({
        "labels": {"example.org/team": "mirrors", "example.org/cost": "1"}, "priorityClassName": "low",
        "imagePullPolicy": "Always", "imagePullSecrets": [{"name": "registry"}],
    }))
    .unwrap();
    world.pods_allowed = serde_json::from_value(json!({
        "priorityClasses": ["high"], "runtimeClasses": ["sandbox"],
        "labelPrefixes": ["example.org/"], "annotationPrefixes": ["example.org/"],
    }))
    .unwrap();
    world.edit_pods(json!({
        "labels": {"example.org/cost": "2"}, "annotations": {"example.org/scan": "no"},
        "priorityClassName": "high", "runtimeClassName": "sandbox", "imagePullPolicy": "IfNotPresent",
        "imagePullSecrets": [{"name": "own"}],
        "securityContext": {"identity": "Platform", "seLinuxOptions": {"level": "s0:c1,c2"}},
    }));
    let templates = templates(&mut world);
    assert_eq!(templates.len(), 2);
    for template in templates {
        let meta = template.metadata.unwrap();
        let labels = meta.labels.unwrap();
        assert_eq!(
            (
                labels["example.org/team"].as_str(),
                labels["example.org/cost"].as_str()
            ),
            ("mirrors", "2")
        );
        assert_eq!(labels["mirrorfleet.dev/mirror"], "debian");
        assert_eq!(meta.annotations.unwrap()["example.org/scan"], "no");
        let spec = serde_json::to_value(template.spec.unwrap()).unwrap();
        assert_eq!(spec["priorityClassName"], "high");
        assert_eq!(spec["runtimeClassName"], "sandbox");
        assert_eq!(
            spec["imagePullSecrets"],
            json!([{"name": "registry"}, {"name": "own"}])
        );
        assert_eq!(spec["containers"][0]["imagePullPolicy"], "IfNotPresent");
        assert_eq!(
            spec["securityContext"],
            json!({
                "runAsNonRoot": true, "fsGroupChangePolicy": "OnRootMismatch",
                "seLinuxOptions": {"level": "s0:c1,c2"}, "seccompProfile": {"type": "RuntimeDefault"},
            })
        );
        assert_eq!(
            spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"],
            false
        );
        assert_eq!(spec["automountServiceAccountToken"], false);
    }
    world.settle();
    let quiet = world.plan();
    assert!(
        quiet.writes.is_empty() && !quiet.status_changed,
        "{}",
        render(&quiet)
    );
    world.edit_pods(json!({"annotations": {"example.org/scan": "yes"}}));
    assert!(
        matches!(world.plan().writes.as_slice(), [Write::ApplyStatefulSet(_)]),
        "an annotation alone is a change too"
    );
}

#[test]
fn what_the_installation_does_not_allow_stalls_with_the_list_that_would() {
    for (pods, list) in [
        (
            json!({"priorityClassName": "high"}),
            "podsAllowed.priorityClasses",
        ),
        (
            json!({"runtimeClassName": "kata"}),
            "podsAllowed.runtimeClasses",
        ),
        (
            json!({"labels": {"example.org/a": "b"}}),
            "podsAllowed.labelPrefixes",
        ),
        (
            json!({"annotations": {"example.org/a": "b"}}),
            "podsAllowed.annotationPrefixes",
        ),
        (
            json!({"labels": {"app.kubernetes.io/component": "serving"}}),
            "not yours to set",
        ),
        (json!({"securityContext": {"runAsUser": 0}}), "begin at 1"),
    ] {
        let mut world = World::new(&["eu"]);
        world.edit_pods(pods);
        let plan = world.plan();
        assert!(plan.writes.is_empty());
        world.apply(&plan);
        assert_eq!(world.condition("Stalled").unwrap().1, "InvalidSpec");
        let status = world.status();
        assert!(
            status
                .conditions
                .iter()
                .any(|found| found.message.contains(list)),
            "{}",
            render(&plan)
        );
    }
}

#[test]
fn resources_are_ours_where_the_manifest_gives_none() {
    let mut world = World::new(&["eu"]);
    world.edit(
        "/spec/sync",
        json!({"resources": {"requests": {"cpu": "2"}}}),
    );
    let resources: Vec<_> = templates(&mut world)
        .into_iter()
        .map(|template| {
            serde_json::to_value(&template.spec.unwrap().containers[0].resources).unwrap()
        })
        .collect();
    assert_eq!(
        resources[0],
        json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}})
    );
    assert_eq!(resources[1], json!({"requests": {"cpu": "2"}}));
}

#[test]
fn nobody_vouches_where_signatures_are_not_looked_at() {
    let mut world = World::new(&["eu"]);
    world.edit_upstream("/spec/trust", json!({"signatures": "None"}));
    world.settle();
    let told = |status: &str, reason: &str| Some((status.to_owned(), reason.to_owned()));
    assert_eq!(world.condition("Verified"), told("Unknown", "NotVerified"));
    assert_eq!(world.condition("Ready"), told("True", "Ready"));
    let status = world.status();
    assert!(
        !status
            .conditions
            .iter()
            .any(|found| found.message.contains("verified content"))
    );
}

#[test]
fn freshness_that_is_assumed_says_so_until_it_can_no_longer_be() {
    let mut world = World::new(&["eu"]);
    world.edit("/spec/sync/schedule", json!("0 0 1 1 *"));
    world.edit_upstream("/spec/access", json!({"credentialsRef": {"name": "login"}}));
    world.settle();
    let told = |status: &str, reason: &str| Some((status.to_owned(), reason.to_owned()));
    assert_eq!(world.condition("Fresh"), told("True", "AssumedFresh"));
    world.pass(6 * 3600 + 60);
    world.settle();
    assert_eq!(world.condition("Fresh"), told("Unknown", "NotProbed"));
}

/// Of an archive that nobody signs and that has no Release a probe learns nothing.
#[test]
fn freshness_is_assumed_where_only_runs_can_tell_what_there_is() {
    let mut world = World::new(&["eu"]);
    world.edit("/spec/sync/schedule", json!("0 0 1 1 *"));
    world.settle();
    let untold = json!([{"type": "Reachable", "status": "Unknown", "reason": "NotProbed", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let status = json!({"observedGeneration": 1, "revision": [], "conditions": untold});
    world.edit_upstream("/status", status);
    world.settle();
    let told = |status: &str, reason: &str| Some((status.to_owned(), reason.to_owned()));
    assert_eq!(world.condition("Fresh"), told("True", "AssumedFresh"));
    world.pass(6 * 3600 + 60);
    world.settle();
    assert_eq!(world.condition("Fresh"), told("Unknown", "NotProbed"));
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
