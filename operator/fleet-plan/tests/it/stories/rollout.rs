//! New images and templates, and a pod that must move.

use fleet_plan::{ChildKind, Write};

use super::{creates_job, running, serving};
use crate::model::{at, render};

#[test]
fn serving_wins_over_a_job_on_another_node() {
    let mut world = running();
    let pod = world.serving_pod();
    pod.node = Some("node-2".to_owned());
    let plan = world.plan();
    assert!(
        matches!(
            plan.writes.as_slice(),
            [Write::Delete {
                kind: ChildKind::Job,
                ..
            }]
        ),
        "{}",
        render(&plan)
    );
    world.apply(&plan);
    assert_eq!(
        world.status().regions[0].replicas[0].consecutive_failures,
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
    assert!(matches!(
        plan.writes[0],
        Write::Delete {
            kind: ChildKind::Job,
            ..
        }
    ));
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
