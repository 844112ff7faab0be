//! What a version before left in a status is taken up: no run, no restart, nothing forgotten.

use fleet_api::MirrorStatus;
use serde_json::{Value, json};

use super::{creates_job, serving};
use crate::model::{World, digest};

/// What the version before noted of the model's Mirror: one digest, with `spec.snapshots` in it.
const TOGETHER: &str = "064add2820b4d312";

fn pin(world: &mut World, snapshot: &str) {
    world.mirror.spec.snapshots.pinned = snapshot.to_owned();
    *world.mirror.metadata.generation.get_or_insert(1) += 1;
}

fn carried_out(world: &World) -> (String, String) {
    let last = world.status().regions[0].replicas[0]
        .last_attempt
        .clone()
        .unwrap();
    (last.inputs, last.snapshots_inputs)
}

#[test]
fn what_is_served_is_no_matter_of_runs_and_how_many_are_kept_is() {
    let mut world = serving(&["eu"]);
    let (inputs, snapshots) = carried_out(&world);
    for pinned in ["aa".repeat(32), String::new()] {
        pin(&mut world, &pinned);
        assert_eq!(creates_job(&world), None);
    }
    world.edit("/spec/snapshots", json!({"keep": 5}));
    assert_eq!(creates_job(&world).as_deref(), Some("SpecChange"));
    world.settle();
    let kept = carried_out(&world);
    assert_eq!(kept.0, inputs);
    assert_ne!(kept.1, snapshots);
    assert_eq!(creates_job(&world), None, "it is carried out");
}

#[test]
fn an_upgrade_starts_no_run_and_an_edit_after_it_does() {
    let edits: [fn(&mut World); 2] = [
        |world| pin(world, &"aa".repeat(32)),
        |world| world.edit("/spec/content/debian/components", json!(["contrib"])),
    ];
    for edit in edits {
        let mut world = serving(&["eu"]);
        let mut mirror = serde_json::to_value(&world.mirror).unwrap();
        let last = &mut mirror["status"]["regions"][0]["replicas"][0]["lastAttempt"];
        last["inputs"] = json!(TOGETHER);
        last.as_object_mut().unwrap().remove("snapshotsInputs");
        world.mirror = serde_json::from_value(mirror).unwrap();
        let plan = world.plan();
        assert!(plan.writes.is_empty(), "{:?}", plan.writes);
        edit(&mut world);
        assert_eq!(creates_job(&world).as_deref(), Some("SpecChange"));
    }
}

/// As the version before wrote it: of each region everything, and the marks and what is behind in every one.
fn as_before(status: &Value) -> Value {
    let mut status = status.clone();
    let take = |object: &mut Value, field: &str| {
        let taken = object.as_object_mut().unwrap().remove(field);
        taken.unwrap_or(json!([]))
    };
    take(&mut status, "snapshots");
    let (marks, units) = (take(&mut status, "highWater"), take(&mut status, "units"));
    for region in status["regions"].as_array_mut().unwrap() {
        let Value::Array(replicas) = take(region, "replicas") else {
            panic!("no list");
        };
        let mut replica = replicas[0].clone();
        let ready = take(&mut replica, "ready");
        let snapshot = &replica["snapshot"];
        let behind = units
            .as_array()
            .unwrap()
            .iter()
            .filter(|unit| unit["snapshot"] == *snapshot && !unit["supersededAt"].is_null());
        let behind = behind.map(|unit| {
            json!({"unit": unit["unit"], "digest": unit["digest"], "supersededAt": unit["supersededAt"]})
        });
        let region = region.as_object_mut().unwrap();
        region.insert("behind".to_owned(), behind.collect());
        region.insert("highWater".to_owned(), marks.clone());
        region.insert(
            "readyReplicas".to_owned(),
            json!(i32::from(ready == json!(true))),
        );
        region.extend(replica.as_object().unwrap().clone());
    }
    status
}

#[test]
fn a_status_of_the_version_before_is_taken_up_whole() {
    let mut world = World::new(&["eu", "us"]);
    world.runs_publish = true;
    world.settle();
    world.upstream_publishes("2026-01-01T10:20:00Z");
    world.request("by a person");
    world.step();
    let running = world.status();
    assert!(
        running
            .replicas()
            .any(|(_, replica)| replica.current_run.is_some())
    );
    for converged in [false, true] {
        if converged {
            world.settle();
        }
        let mut after = world.plan();
        world.apply(&after);
        after = world.plan();
        let written = as_before(&serde_json::to_value(world.status()).unwrap());
        assert!(written["highWater"].is_null() && !written["regions"][1]["highWater"].is_null());
        let mut mirror = serde_json::to_value(&world.mirror).unwrap();
        mirror["status"] = written;
        world.mirror = serde_json::from_value(mirror).unwrap();
        let plan = world.plan();
        assert_eq!(
            (plan.writes, &plan.status, plan.events.len()),
            (after.writes, &after.status, 0),
            "no run, no restart, nothing forgotten"
        );
        // A controller that has asked nobody yet forgets nothing either.
        world.not_asked = true;
        let silent = world.plan();
        assert!(silent.writes.is_empty(), "{:?}", silent.writes);
        assert_eq!(silent.status.high_water, after.status.high_water);
        assert_eq!(silent.status.superseded_at, after.status.superseded_at);
        assert_eq!(silent.status.conditions, after.status.conditions);
        world.not_asked = false;
    }
}

#[test]
fn of_marks_that_regions_told_apart_the_newest_counts_or_the_one_that_a_person_lowered() {
    let mark = |date: &str, instead: Option<&str>| {
        let mut mark = json!({"unit": "trixie", "digest": digest(1).to_string(), "date": date});
        if let Some(instead) = instead {
            mark["insteadOf"] = json!(instead);
        }
        mark
    };
    let [old, new, newer] =
        ["2026-01-01", "2026-01-02", "2026-01-03"].map(|day| format!("{day}T00:00:00Z"));
    let told = |marks: [Value; 2]| {
        let regions = marks.map(|mark| json!({"name": "r", "highWater": [mark]}));
        let status: MirrorStatus = serde_json::from_value(json!({"regions": regions})).unwrap();
        let [mark] = status.high_water.as_slice() else {
            panic!("{:?}", status.high_water);
        };
        mark.date.0.to_string()
    };
    assert_eq!(told([mark(&old, None), mark(&new, None)]), new);
    assert_eq!(told([mark(&new, None), mark(&old, None)]), new);
    assert_eq!(told([mark(&old, Some(&new)), mark(&new, None)]), old);
    assert_eq!(told([mark(&new, None), mark(&old, Some(&new))]), old);
    assert_eq!(told([mark(&old, Some(&new)), mark(&newer, None)]), newer);
}
