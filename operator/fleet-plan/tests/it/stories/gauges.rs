//! What metrics tell of a Mirror.

use fleet_types::{ConditionStatus, Reason};
use serde_json::json;

use crate::model::World;

#[test]
fn gauges_tell_the_last_run_the_objective_the_interval_and_since_when_conditions_hold() {
    let mut world = World::new(&["eu"]);
    let gauges = |world: &World| world.plan().gauges(&world.mirror, &world.observe());
    let before = gauges(&world);
    assert_eq!(before.regions[0].last_run, None);
    assert_eq!(before.upstream.as_deref(), Some("debian"));
    assert_eq!(before.sync_interval, Some(3600));
    let objective = world.mirror.spec.freshness.objective.as_secs();
    assert_eq!(before.freshness_objective, Some(objective));

    world.settle();
    begin_run(&mut world);
    let mut report = world.report("Published");
    (report.files_fetched, report.bytes_fetched, report.seconds) = (3, 1 << 40, 12.6);
    world.end_run(&report);
    world.settle();
    let published = gauges(&world);
    let run = published.regions[0].last_run.as_ref().unwrap();
    assert_eq!(run.reason, Reason::Published);
    assert_eq!(
        (run.seconds, run.bytes, run.files),
        (Some(13.0), Some(1 << 40), Some(3))
    );
    assert_eq!(Some(run.finished_at), published.regions[0].last_success);

    begin_run(&mut world);
    let report = world.report("SignatureBad");
    world.end_run(&report);
    let failed_at = world.now.as_second();
    world.step();
    world.step();
    let failed = gauges(&world);
    let region = &failed.regions[0];
    assert_eq!(
        region.last_run.as_ref().map(|run| run.reason),
        Some(Reason::SignatureBad)
    );
    assert_eq!(region.consecutive_failures, 1);
    let verified = (failed.conditions.iter())
        .find(|condition| condition.kind == "Verified")
        .unwrap();
    assert_eq!(
        (verified.status, verified.reason),
        (ConditionStatus::False, Some(Reason::SignatureBad))
    );
    assert!(verified.since.is_some_and(|since| since >= failed_at));

    world.edit("/spec/suspend", json!(true));
    assert_eq!(gauges(&world).sync_interval, None, "nobody waits for a run");
}

fn begin_run(world: &mut World) {
    world.now = world.plan().status.next_sync_time.unwrap().0;
    world.step();
    world.kubernetes();
}
