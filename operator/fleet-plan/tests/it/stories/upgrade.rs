//! What a version before left in a status is taken up: no run, no restart, nothing forgotten.

use serde_json::json;

use super::{creates_job, serving};
use crate::model::World;

/// What the version before noted of the model's Mirror: one digest, with `spec.snapshots` in it.
const TOGETHER: &str = "064add2820b4d312";

fn pin(world: &mut World, snapshot: &str) {
    world.mirror.spec.snapshots.pinned = snapshot.to_owned();
    *world.mirror.metadata.generation.get_or_insert(1) += 1;
}

fn carried_out(world: &World) -> (String, String) {
    let last = world.status().regions[0].last_attempt.clone().unwrap();
    (last.inputs, last.snapshots_inputs)
}

#[test]
fn a_pin_and_its_end_are_each_a_run_and_a_snapshot_is_made_of_the_same_all_along() {
    let mut world = serving(&["eu"]);
    let (inputs, snapshots) = carried_out(&world);
    pin(&mut world, &"aa".repeat(32));
    assert_eq!(creates_job(&world).as_deref(), Some("SpecChange"));
    world.settle();
    let pinned = carried_out(&world);
    assert_eq!(pinned.0, inputs);
    assert_ne!(pinned.1, snapshots);
    assert_eq!(creates_job(&world), None, "it is carried out");
    pin(&mut world, "");
    assert_eq!(creates_job(&world).as_deref(), Some("SpecChange"));
    world.settle();
    assert_eq!(carried_out(&world), (inputs, snapshots));
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
        let last = &mut mirror["status"]["regions"][0]["lastAttempt"];
        last["inputs"] = json!(TOGETHER);
        last.as_object_mut().unwrap().remove("snapshotsInputs");
        world.mirror = serde_json::from_value(mirror).unwrap();
        let plan = world.plan();
        assert!(plan.writes.is_empty(), "{:?}", plan.writes);
        edit(&mut world);
        assert_eq!(creates_job(&world).as_deref(), Some("SpecChange"));
    }
}
