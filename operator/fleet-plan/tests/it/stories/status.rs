//! What conditions, columns and regions say.

use serde_json::json;

use super::{begun, not_ready, serving};
use crate::model::{World, at, render};

#[test]
fn who_waits_says_for_whom() {
    let mut world = begun(|pod| pod.ready = true);
    world.line.running = Some("security".to_owned());
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
    world.line.first = Some((at("2026-01-01T10:59:00Z"), "security".to_owned()));
    world.step();
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
    world.upstream_publishes("2026-01-01T10:20:00Z");
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

fn assumed_for_six_hours(world: &mut World) {
    world.settle();
    let told = |status: &str, reason: &str| Some((status.to_owned(), reason.to_owned()));
    assert_eq!(world.condition("Fresh"), told("True", "AssumedFresh"));
    world.pass(6 * 3600 + 60);
    world.settle();
    assert_eq!(world.condition("Fresh"), told("Unknown", "NotProbed"));
}

#[test]
fn freshness_that_is_assumed_says_so_until_it_can_no_longer_be() {
    let mut world = World::new(&["eu"]);
    world.edit("/spec/sync/schedule", json!("0 0 1 1 *"));
    world.edit_upstream("/spec/access", json!({"credentialsRef": {"name": "login"}}));
    // No Job has told anything yet.
    world.edit_upstream("/status/revision", json!([]));
    assumed_for_six_hours(&mut world);
}

/// Beside what it is known to have.
fn say_of_the_authority(world: &mut World, conditions: serde_json::Value) {
    let mut status = serde_json::to_value(&world.upstream).unwrap()["status"].take();
    status["conditions"] = conditions;
    world.edit_upstream("/status", status);
}

/// For three intervals, half an hour at least; then nobody knows of a copy that was current, and one that was behind is.
#[test]
fn an_authority_that_does_not_answer_is_believed_for_a_while() {
    let told = |status: &str, reason: &str| Some((status.to_owned(), reason.to_owned()));
    for (interval, minutes) in [("2m", 30), ("20m", 60)] {
        let mut world = World::new(&["eu"]);
        world.edit("/spec/sync/schedule", json!("0 0 1 1 *"));
        world.edit_upstream("/spec/probe", json!({"interval": interval}));
        world.settle();
        let silent = json!([{"type": "Reachable", "status": "False", "reason": "UpstreamUnreachable", "message": "",
            "lastTransitionTime": world.now.to_string()}]);
        say_of_the_authority(&mut world, silent);
        world.pass(minutes * 60 - 60);
        world.settle();
        assert_eq!(world.condition("Fresh"), told("True", "Fresh"));
        world.pass(120);
        world.settle();
        assert_eq!(world.condition("Fresh"), told("Unknown", "Unknown"));
        world.upstream_publishes(&world.now.to_string());
        world.settle();
        world.pass(7 * 3600);
        world.settle();
        assert_eq!(
            world.condition("Fresh"),
            told("False", "Stale"),
            "known to be behind, whoever answers"
        );
    }
}

/// What a Job was told by an authority with a login is believed as a probe is; where Jobs fail for long, runs are what is left.
#[test]
fn freshness_is_measured_where_a_job_asks_and_assumed_where_none_can() {
    let mut world = World::new(&["eu"]);
    world.edit("/spec/sync/schedule", json!("0 0 1 1 *"));
    world.edit_upstream("/spec/access", json!({"credentialsRef": {"name": "login"}}));
    world.settle();
    let told = |status: &str, reason: &str| Some((status.to_owned(), reason.to_owned()));
    assert_eq!(world.condition("Fresh"), told("True", "Fresh"));
    let failed = json!([{"type": "Reachable", "status": "False", "reason": "ProbeFailed", "message": "",
        "lastTransitionTime": world.now.to_string()}]);
    say_of_the_authority(&mut world, failed);
    world.pass(80 * 60);
    world.settle();
    assert_eq!(
        world.condition("Fresh"),
        told("True", "Fresh"),
        "three intervals of half an hour"
    );
    world.pass(20 * 60);
    world.settle();
    assert_eq!(world.condition("Fresh"), told("True", "AssumedFresh"));
    world.pass(6 * 3600);
    world.settle();
    assert_eq!(world.condition("Fresh"), told("Unknown", "NotProbed"));
    // What is known to be behind stays so.
    world.upstream_publishes(&world.now.to_string());
    world.settle();
    world.pass(7 * 3600);
    world.settle();
    assert_eq!(world.condition("Fresh"), told("False", "Stale"));
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
    assumed_for_six_hours(&mut world);
}

#[test]
fn a_pod_that_cannot_be_asked_is_unknown_and_keeps_what_was_known() {
    let mut world = serving(&["eu"]);
    let snapshot = world.status().snapshot;
    assert!(snapshot.is_some());
    world.unreachable = true;
    world.step();
    assert_eq!(world.condition("Fresh").unwrap().0, "Unknown");
    assert_eq!(world.condition("Ready").unwrap().0, "True");
    assert_eq!(world.status().snapshot, snapshot);
}

/// What a new leader, which has asked nobody yet, says of a world at rest.
#[test]
fn a_restart_says_nothing_new_of_whatever_was_said() {
    type Edit = (&'static str, fn(&mut World));
    let edits: [Edit; 6] = [
        ("it is fresh", |_| {}),
        ("it is behind", |world| {
            world.upstream_publishes("2026-01-01T09:50:00Z")
        }),
        ("it is stale", |world| {
            world.upstream_publishes("2026-01-01T01:00:00Z")
        }),
        ("it cannot be reached", |world| world.unreachable = true),
        ("its store is damaged", |world| {
            let store = world.stores.values_mut().next().unwrap();
            store.problem = Some("an index cannot be read".to_owned());
        }),
        ("its index is past its time", |world| {
            let end = world.now.as_second() - 60;
            let store = world.stores.values_mut().next().unwrap();
            store.revision[0].valid_until = Some(end);
        }),
    ];
    for (name, edit) in edits {
        let mut world = serving(&["eu", "us"]);
        world.edit("/spec/suspend", json!(true));
        edit(&mut world);
        world.settle();
        world.not_asked = true;
        let plan = world.plan();
        assert!(
            !plan.status_changed && plan.writes.is_empty(),
            "{name}: {}",
            render(&plan)
        );
        assert!(plan.events.is_empty(), "{name}");
    }
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
    // The status says until when, as it would from when such an index is served.
    world.step();
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

#[test]
fn a_clock_that_is_wrong_is_told_of_once_and_until_it_is_right() {
    let mut world = super::serving(&["eu"]);
    let skewed = |world: &mut World, by: i64| {
        let store = world.stores.values_mut().next().unwrap();
        store.clock_skew = by;
        let plan = world.plan();
        world.apply(&plan);
        let told = plan.events.iter();
        told.filter(|event| event.reason == fleet_types::Reason::ClockSkew)
            .count()
    };
    assert_eq!(skewed(&mut world, 60), 1);
    let since = world.status().regions[0].replicas[0]
        .clock_wrong_since
        .clone();
    assert_eq!(since.as_ref().unwrap().0, world.now);
    world.pass(60);
    assert_eq!(skewed(&mut world, 62), 0);
    let again = world.status().regions[0].replicas[0]
        .clock_wrong_since
        .clone();
    assert_eq!(again, since);
    let gauges = world.plan().gauges(&world.mirror, &world.observe());
    assert_eq!(gauges.regions[0].clock_skew, Some(62));
    assert_eq!(skewed(&mut world, 0), 0);
    assert_eq!(
        world.status().regions[0].replicas[0].clock_wrong_since,
        None
    );
}
