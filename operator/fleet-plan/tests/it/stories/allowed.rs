//! `verification.allowed` and `verification.expired` in a cluster: a run at once, a mark that a person lowers, and what
//! Fresh says of a suite that is frozen.

use fleet_plan::{Object, Write};
use fleet_types::documents::Report;
use fleet_types::{Accepted, Reason, UnitRevision};
use jiff::SignedDuration;
use serde_json::json;

use super::{creates_job, last_reason, running, serving};
use crate::model::{SUITE, World, at, digest};

/// 2026-01-01T00:00:00Z, the date of the state that the model's runs publish.
const DATE: i64 = 1_767_225_600;

fn revision(byte: u8, date: i64) -> UnitRevision {
    UnitRevision {
        unit: SUITE.to_owned(),
        digest: digest(byte),
        date,
        valid_until: None,
    }
}

/// What the next Job is told to have been accepted.
fn told(world: &World) -> Vec<Accepted> {
    let plan = world.plan();
    let job = plan.writes.iter().find_map(|write| match write {
        Write::Create(Object::Job(job)) => Some(job),
        _ => None,
    });
    let container = &job
        .unwrap()
        .spec
        .as_ref()
        .unwrap()
        .template
        .spec
        .as_ref()
        .unwrap()
        .containers[0];
    let arguments = container.args.as_ref().unwrap();
    let place = arguments
        .iter()
        .position(|word| word == "--high-water")
        .unwrap();
    serde_json::from_str(&arguments[place + 1]).unwrap()
}

#[test]
fn a_state_that_is_allowed_gets_a_run_at_once_and_lowers_the_mark() {
    let mut world = running();
    world.pass(10);
    let mut refused = world.report("RollbackDetected");
    let yaml = fleet_plan_yaml(&revision(2, DATE - 100));
    refused.message = format!("the upstream went back; put into the Mirror's spec `{yaml}`");
    world.end_run(&refused);
    world.step();
    world.step();
    assert_eq!(last_reason(&world), "RollbackDetected");
    let message = world.status().regions[0].replicas[0]
        .last_attempt
        .clone()
        .unwrap()
        .message;
    assert!(message.contains(&yaml), "{message}");

    // Nothing but the edit makes the run due.
    assert_eq!(creates_job(&world), None);
    let entry =
        json!([{"unit": SUITE, "digest": digest(2).to_string(), "reasons": ["RollbackDetected"]}]);
    world.edit("/spec/verification", json!({"allowed": entry}));
    assert_eq!(creates_job(&world).as_deref(), Some("SpecChange"));
    assert_eq!(
        told(&world)[0].revision,
        revision(1, DATE),
        "the worker decides what counts"
    );

    world.step();
    world.pass(10);
    let mut published = world.report("Published");
    published.revision = vec![revision(2, DATE - 100)];
    published.accepted = vec![Accepted {
        revision: revision(2, DATE - 100),
        identity: [("Origin".to_owned(), "Debian".to_owned())].into(),
        allowed: vec![Reason::RollbackDetected],
        instead_of: Some(DATE),
    }];
    world.end_run(&published);
    for _ in 0..3 {
        world.step();
    }
    let mark = &world.status().high_water[0];
    assert_eq!(
        (
            mark.digest.as_str(),
            mark.allowed.as_slice(),
            mark.identity["Origin"].as_str()
        ),
        (
            digest(2).to_string().as_str(),
            [Reason::RollbackDetected].as_slice(),
            "Debian"
        )
    );
    assert_eq!(mark.instead_of.as_ref().unwrap().0.as_second(), DATE);

    // The next run, perhaps on a new volume, knows all of it.
    world.request("again");
    let told = &told(&world)[0];
    assert_eq!(
        (&told.revision, told.instead_of),
        (&revision(2, DATE - 100), Some(DATE))
    );
    assert_eq!(told.identity["Origin"], "Debian");

    // A later state that is let through for another reason says so, though the run tells of it twice.
    world.step();
    world.pass(10);
    let mut expired = world.report("Published");
    expired.revision = vec![revision(3, DATE + 100)];
    expired.accepted = vec![Accepted {
        allowed: vec![Reason::IndexExpired],
        ..revision(3, DATE + 100).into()
    }];
    world.end_run(&expired);
    world.step();
    let mark = &world.status().high_water[0];
    assert_eq!(mark.digest, digest(3).to_string());
    assert_eq!(mark.allowed, [Reason::IndexExpired]);
}

#[test]
fn a_mark_that_a_person_lowered_stays_so_whatever_another_region_remembers() {
    let mut world = serving(&["eu", "us"]);
    world.now = at("2026-01-01T11:00:00Z");
    let run = |world: &mut World, reason: &str, left: Accepted| {
        for _ in 0..4 {
            world.step();
        }
        world.pass(10);
        let report = Report {
            revision: vec![left.revision.clone()],
            accepted: vec![left],
            ..world.report(reason)
        };
        world.end_run(&report);
        world.step();
        world.status().high_water[0].digest.clone()
    };
    let lowered = Accepted {
        instead_of: Some(DATE),
        ..revision(2, DATE - 100).into()
    };
    let mark = run(&mut world, "Published", lowered);
    assert_eq!(mark, digest(2).to_string());
    let mark = run(&mut world, "UpstreamUnreachable", revision(1, DATE).into());
    assert_eq!(mark, digest(2).to_string(), "it did not get so far");
    world.now = at("2026-01-01T12:00:00Z");
    let mark = run(&mut world, "Published", revision(3, DATE + 1).into());
    assert_eq!(
        mark,
        digest(3).to_string(),
        "what is newer than both counts"
    );
}

fn fleet_plan_yaml(revision: &UnitRevision) -> String {
    let (unit, digest) = (&revision.unit, revision.digest);
    format!(
        "verification: {{allowed: [{{unit: \"{unit}\", digest: \"{digest}\", reasons: [RollbackDetected]}}]}}"
    )
}

#[test]
fn what_a_run_says_it_published_lowers_no_mark_by_itself() {
    let mut world = running();
    world.pass(10);
    let mut report = world.report("Published");
    report.revision = vec![revision(2, DATE - 100)];
    world.end_run(&report);
    for _ in 0..3 {
        world.step();
    }
    let mark = &world.status().high_water[0];
    assert_eq!(mark.digest, digest(1).to_string());
}

#[test]
fn a_frozen_suite_is_said_to_be_expired_and_how_clients_use_it() {
    let mut world = serving(&["eu"]);
    let end = world.now - SignedDuration::from_mins(10);
    for store in world.stores.values_mut() {
        store.revision[0].valid_until = Some(end.as_second());
    }
    let message = |world: &mut World| {
        world.step();
        let conditions = world.status().conditions;
        let fresh = conditions
            .into_iter()
            .find(|condition| condition.type_ == "Fresh")
            .unwrap();
        assert_eq!(
            (fresh.status.as_str(), fresh.reason.as_str()),
            ("False", "IndexExpired")
        );
        fresh.message
    };
    assert!(message(&mut world).contains("clients refuse it"));
    world.edit(
        "/spec/verification",
        json!({"expired": [{"unit": SUITE, "rule": "Allow"}]}),
    );
    assert!(message(&mut world).contains("`Check-Valid-Until: no`"));
    let state = |byte| json!({"allowed": [{"unit": SUITE, "digest": digest(byte).to_string(), "reasons": ["IndexExpired"]}]});
    world.edit("/spec/verification", state(2));
    assert!(
        message(&mut world).contains("clients refuse it"),
        "another state is allowed"
    );
    world.edit("/spec/verification", state(1));
    assert!(message(&mut world).contains("`Check-Valid-Until: no`"));
}
