//! When a sync runs, and what its end means.

use fleet_plan::Turn;
use fleet_types::documents::UnixSeconds;
use serde_json::json;

use super::{creates_job, last_reason, running, serving};
use crate::model::{World, at, render};

#[test]
fn slots_that_were_missed_are_one_run() {
    let mut world = serving(&["eu"]);
    world.now = at("2026-01-01T15:30:00Z");
    assert_eq!(creates_job(&world).as_deref(), Some("Schedule"));
    world.settle();
    let runs = world.status().regions[0].replicas[0]
        .last_attempt
        .clone()
        .unwrap();
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
    world.step();
    let mut waits = Vec::new();
    for retry in 0..=5 {
        world.pass(5);
        let report = world.report("UpstreamUnreachable");
        world.end_run(&report);
        world.step();
        let ended = world.now;
        let next = world.plan().status.next_sync_time.unwrap().0;
        waits.push(next.duration_since(ended).as_secs());
        assert_eq!(
            world.status().regions[0].replicas[0].consecutive_failures,
            retry + 1
        );
        world.now = next;
        world.step();
    }
    for (retry, wait) in waits.iter().take(5).enumerate() {
        let least = 120 << retry;
        assert!((least..=least + least / 4).contains(wait), "{waits:?}");
    }
    assert_eq!(world.now, at("2026-01-02T11:00:00Z"));
    let last = world.status().regions[0].replicas[0]
        .current_run
        .clone()
        .unwrap();
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
    world.step();
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
    world.step();
    let report = world.report("UpstreamUnreachable");
    world.end_run(&report);
    world.step();
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
    world.line.running = Some("other".to_owned());
    assert_eq!(creates_job(&world), None);
    assert_eq!(world.plan().turn, Turn::Waiting(at("2026-01-01T11:00:00Z")));
    world.line.running = None;
    world.line.first = Some((at("2026-01-01T10:59:00Z"), "other".to_owned()));
    assert_eq!(creates_job(&world), None, "the other has waited for longer");
    world.line.first = Some((at("2026-01-01T11:00:01Z"), "other".to_owned()));
    assert!(creates_job(&world).is_some());
}

#[test]
fn a_job_that_cannot_be_scheduled_says_why_and_gives_up_its_turn() {
    let mut world = running();
    let pod = world.sync_pod();
    pod.running = false;
    pod.node = None;
    pod.unschedulable = Some("0/2 nodes are available: 2 Insufficient memory.".to_owned());
    assert_eq!(world.plan().wake_at, Some(at("2026-01-01T11:05:00Z")));
    world.pass(301);
    insta::assert_snapshot!("unschedulable", render(&world.plan()));
    world.step();
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
    kept.started_at = UnixSeconds(at("2026-01-01T11:00:02Z").as_second());
    let (_, store) = world.stores.iter_mut().next().unwrap();
    let before = store.last_report.replace(kept);
    world.not_asked = true;
    let plan = world.plan();
    assert!(
        plan.finished.is_empty() && creates_job(&world).is_none(),
        "it may tell"
    );
    world.not_asked = false;
    let plan = world.plan();
    assert_eq!(
        plan.status.regions[0].replicas[0]
            .last_attempt
            .as_ref()
            .unwrap()
            .reason,
        fleet_types::Reason::Published
    );
    world.stores.values_mut().next().unwrap().last_report = before;
    world.step();
    assert_eq!(last_reason(&world), "SyncJobLost");
}

#[test]
fn a_run_without_a_report_is_interrupted_after_a_little_patience() {
    let mut world = running();
    world.pass(30);
    let report = world.report("Failed");
    world.end_run(&report);
    let pod = world.sync_pod();
    let end = pod.end.as_mut().unwrap();
    end.message = String::new();
    end.reason = "OOMKilled".to_owned();
    end.exit_code = 137;
    assert!(world.plan().finished.is_empty());
    world.pass(21);
    world.step();
    assert_eq!(last_reason(&world), "SyncInterrupted");
    let message = world.status().regions[0].replicas[0]
        .last_attempt
        .clone()
        .unwrap()
        .message;
    assert!(message.contains("OOMKilled, exit code 137"), "{message}");
}

#[test]
fn the_end_of_a_log_stands_for_a_report_that_was_not_written() {
    let mut world = running();
    let report = world.report("Failed");
    world.end_run(&report);
    let pod = world.sync_pod();
    let end = pod.end.as_mut().unwrap();
    end.message = "starting\nthread main panicked at x.rs\n\n".to_owned();
    end.reason = "Error".to_owned();
    end.exit_code = 101;
    world.pass(21);
    world.step();
    let message = world.status().regions[0].replicas[0]
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
fn the_job_of_the_last_failed_run_stays_until_a_run_succeeds_and_never_two_of_them() {
    let mut world = running();
    let mut kept: Vec<String> = Vec::new();
    for reason in ["UpstreamUnreachable", "SignatureBad", "UpstreamUnreachable"] {
        let report = world.report(reason);
        world.end_run(&report);
        for _ in 0..3 {
            world.step();
        }
        let jobs: Vec<_> = world
            .objects
            .jobs
            .iter()
            .map(|job| job.meta.name.clone())
            .collect();
        let last = world.status().regions[0].replicas[0]
            .last_attempt
            .clone()
            .unwrap();
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
    let last = world.status().regions[0].replicas[0]
        .last_attempt
        .clone()
        .unwrap();
    assert_eq!(
        (last.files_fetched, last.bytes_fetched, last.seconds),
        (Some(3), Some(1 << 40), Some(13))
    );
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
