//! New images and templates, and a pod that must move.

use fleet_plan::{Object, Owned, Plan, Write};

use super::{creates_job, running, serving};
use crate::model::{World, render};

fn only_takes_the_job_away(plan: &Plan) {
    let only =
        matches!(plan.writes.as_slice(), [Write::Delete { kind, .. }] if *kind == Owned::Job);
    assert!(only, "{}", render(plan));
}

#[test]
fn serving_wins_over_a_job_on_another_node() {
    let mut world = running();
    let pod = world.serving_pod();
    pod.node = Some("node-2".to_owned());
    let plan = world.plan();
    only_takes_the_job_away(&plan);
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
fn a_changed_pod_template_takes_the_pod_and_then_the_job_that_stands_in_its_way() {
    let mut world = running();
    world.image = "mirrorfleet:2".to_owned();
    let plan = world.plan();
    assert!(
        matches!(
            plan.writes.as_slice(),
            [Write::Apply(Object::StatefulSet(_))]
        ),
        "{}",
        render(&plan)
    );
    world.apply(&plan);
    let plan = world.plan();
    assert!(
        matches!(plan.writes.as_slice(), [Write::Evict { .. }]),
        "{}",
        render(&plan)
    );
    world.apply(&plan);
    let plan = world.plan();
    only_takes_the_job_away(&plan);
    world.apply(&plan);
    assert_eq!(
        creates_job(&world),
        None,
        "not beside a pod that is leaving"
    );
    world.kubernetes();
    assert_eq!(creates_job(&world).as_deref(), Some("Schedule"));
}

fn evicted(world: &World) -> Vec<String> {
    let writes = world.plan().writes.into_iter();
    writes
        .filter_map(|write| match write {
            Write::Evict { name, .. } => Some(name),
            _ => None,
        })
        .collect()
}

#[test]
fn images_roll_one_region_at_a_time_and_jobs_run_what_their_pod_runs() {
    let mut world = serving(&["asia", "eu", "us"]);
    world.image = "mirrorfleet:2".to_owned();
    assert_eq!(evicted(&world), [""; 0], "the templates come first");
    world.step();
    for set in &mut world.objects.stateful_sets {
        set.pending = true;
    }
    assert_eq!(
        evicted(&world),
        [""; 0],
        "and their controller knows them, or it would make the same pod again"
    );
    for set in &mut world.objects.stateful_sets {
        set.pending = false;
    }
    for left in [3, 2, 1] {
        assert_eq!(evicted(&world).len(), 1, "{left} left");
        world.step();
        assert_eq!(evicted(&world), [""; 0], "one is leaving");
        assert!(world.plan().rollouts >= 1);
        let gone = world.objects.pods.clone();
        world.objects.pods.retain(|pod| !pod.meta.deleting);
        assert_eq!(evicted(&world), [""; 0], "one is gone");
        world.objects.pods = gone;
        world.kubernetes();
    }
    assert_eq!(evicted(&world), [""; 0]);
    let mut images = world.objects.pods.iter().map(|pod| pod.image.as_deref());
    assert!(images.all(|image| image == Some("mirrorfleet:2")));
}

#[test]
fn a_budget_that_lets_no_pod_go_is_waited_for_and_told() {
    let mut world = running();
    world.image = "mirrorfleet:2".to_owned();
    world.budget = Some("it would violate the pod's disruption budget.".to_owned());
    world.step();
    world.step();
    let told = |world: &World| {
        let status = world.status();
        let mut all = status.conditions.into_iter();
        let found = all.find(|known| known.type_ == "Reconciling").unwrap();
        (found.reason, found.message)
    };
    for _ in 0..2 {
        let plan = world.plan();
        assert!(plan.writes.is_empty(), "{}", render(&plan));
        world.apply(&plan);
        let (reason, message) = told(&world);
        assert_eq!(reason, "Progressing");
        assert!(message.contains("it would violate the pod's disruption budget."));
        assert_eq!(
            plan.wake_at,
            Some(world.now + jiff::SignedDuration::from_secs(10))
        );
        assert_eq!(world.objects.jobs.len(), 1, "the run goes on beside it");
        world.pass(10);
        let again = world.plan();
        assert!(
            matches!(again.writes.as_slice(), [Write::Evict { .. }]) && !again.status_changed,
            "asked again, and nothing new is said: {}",
            render(&again)
        );
        world.apply(&again);
    }
    world.budget = None;
    world.pass(10);
    world.settle();
    assert_eq!(world.serving_pod().image.as_deref(), Some("mirrorfleet:2"));
}

/// Nothing is taken from a region that serves nothing.
#[test]
fn a_pod_that_is_not_ready_is_made_anew_beside_others_that_are_restarted() {
    let mut world = serving(&["asia", "eu"]);
    world.image = "mirrorfleet:2".to_owned();
    world.step();
    world.step();
    let mut pods = world.objects.pods.iter_mut();
    let eu = pods.find(|pod| !pod.meta.deleting).unwrap();
    eu.ready = false;
    let name = eu.meta.name.clone();
    assert_eq!(evicted(&world), [name]);
}
