//! Runs that begin because the authority has something new.

use serde_json::json;

use super::{creates_job, serving};
use crate::model::{World, at, digest};

const NEW: &str = "2026-01-01T10:20:00Z";

/// A world at rest that follows changes of its Upstream, when that has just changed.
fn changed(regions: &[&str]) -> World {
    let mut world = serving(regions);
    world.edit(
        "/spec/sync",
        json!({"schedule": "0 * * * *", "onUpstreamChange": true}),
    );
    world.settle();
    assert_eq!(creates_job(&world), None);
    world.upstream_publishes(NEW);
    world.now = at(NEW);
    world
}

/// The run that goes on ends and has taken what is new.
fn takes_it(world: &mut World) {
    let mut report = world.report("Prepared");
    report.revision[0].digest = digest(2);
    world.end_run(&report);
}

fn trigger(world: &World) -> Option<String> {
    let status = world.status();
    let mut replicas = status.replicas();
    let run = replicas.find_map(|(_, replica)| replica.current_run.clone())?;
    Some(run.trigger.as_str().to_owned())
}

#[test]
fn what_is_new_is_fetched_at_once_and_once() {
    let mut world = changed(&["eu"]);
    assert_eq!(creates_job(&world).as_deref(), Some("UpstreamChange"));
    assert_eq!(world.plan().status.next_sync_time.unwrap().0, at(NEW));
    world.step();
    assert_eq!(trigger(&world).as_deref(), Some("UpstreamChange"));
    world.pass(10);
    takes_it(&mut world);
    for _ in 0..5 {
        world.step();
        assert_eq!(creates_job(&world), None, "it was taken");
        world.pass(10);
    }
    let mut silent = serving(&["eu"]);
    silent.upstream_publishes(NEW);
    silent.now = at(NEW);
    assert_eq!(creates_job(&silent), None, "nobody asked for that");
}

#[test]
fn a_change_waits_for_what_all_runs_wait_for() {
    let mut world = changed(&["eu"]);
    world.line.running = Some("other".to_owned());
    assert_eq!(creates_job(&world), None, "not its turn");
    world.line.running = None;
    world.edit("/spec/suspend", json!(true));
    assert_eq!(creates_job(&world), None, "suspended");
    world.edit("/spec/suspend", json!(false));
    let trust = json!({"keyringRef": {"name": "keys", "key": "keyring.gpg"}});
    world.edit_upstream(
        "/spec",
        json!({"type": "Debian", "authority": {"url": "https://mirrors.kernel.org/debian/"},
            "trust": trust, "politeness": {"minInterval": "30m"}}),
    );
    assert_eq!(creates_job(&world), None);
    let next = world.plan().status.next_sync_time.unwrap().0;
    assert_eq!(next, at("2026-01-01T10:30:05Z"), "minInterval");
}

#[test]
fn a_run_that_fails_is_retried_and_the_same_state_begins_no_other() {
    let mut world = changed(&["eu"]);
    world.step();
    let report = world.report("SignatureBad");
    world.end_run(&report);
    world.step();
    let next = world.plan().status.next_sync_time.unwrap().0;
    assert!(next >= at("2026-01-01T10:22:00Z"), "{next}: backs off");
    world.now = next;
    assert_eq!(creates_job(&world).as_deref(), Some("Retry"));
}

#[test]
fn a_state_that_is_seen_during_a_run_begins_another_only_if_that_run_has_not_taken_it() {
    for (takes, then) in [(true, None), (false, Some("UpstreamChange"))] {
        let mut world = changed(&["eu"]);
        world.upstream_publishes("2026-01-01T10:20:30Z");
        world.request("by a person, just before");
        world.step();
        assert_eq!(trigger(&world).as_deref(), Some("Request"));
        world.pass(60);
        match takes {
            true => takes_it(&mut world),
            false => {
                let report = world.report("Unchanged");
                world.end_run(&report);
            }
        }
        world.step();
        world.step();
        let begun = trigger(&world).or_else(|| creates_job(&world));
        assert_eq!(begun.as_deref(), then);
    }
}

#[test]
fn older_than_what_was_taken_is_no_news() {
    let mut world = changed(&["eu"]);
    world.edit_upstream("/status/revision/0/date", json!("2025-12-31T23:59:59Z"));
    assert_eq!(creates_job(&world), None);
}

#[test]
fn a_suite_that_the_mirror_does_not_declare_is_none_of_its_business() {
    let mut world = changed(&["eu"]);
    world.edit_upstream("/status/revision/0/unit", json!("sid"));
    assert_eq!(creates_job(&world), None);
}

#[test]
fn each_region_that_fetches_for_itself_fetches_what_is_new_and_one_that_follows_does_not() {
    let mut world = changed(&["eu", "us"]);
    let mut runs = Vec::new();
    for _ in 0..20 {
        world.step();
        if let Some(trigger) = trigger(&world) {
            runs.push(trigger);
            world.pass(10);
            takes_it(&mut world);
        }
        world.kubernetes();
        world.pass(10);
    }
    assert_eq!(runs, ["UpstreamChange", "UpstreamChange"]);

    // While another region copies it, nobody serves it yet.
    let mut world = changed(&["eu", "us<eu"]);
    world.step();
    assert_eq!(trigger(&world).as_deref(), Some("UpstreamChange"));
    world.pass(10);
    takes_it(&mut world);
    for _ in 0..3 {
        world.step();
        world.pass(5);
        let begun = trigger(&world);
        assert!(begun.is_none_or(|trigger| trigger == "Follow"));
    }
}

/// A controller that starts has asked no pod yet: what is due stays so.
#[test]
fn what_is_due_is_known_to_a_new_controller() {
    let mut world = changed(&["eu", "us"]);
    world.line.running = Some("other".to_owned());
    world.step();
    world.step();
    let before = world.status();
    world.not_asked = true;
    let after = world.plan().status;
    assert_eq!(after.next_sync_time, before.next_sync_time);
    assert_eq!(after.next_sync_time.unwrap().0, at(NEW));
}
