//! What holds for every plan: a converged world needs no writes, and after any prefix of a plan planning goes on.

use crate::model::World;
use fleet_plan::Turn;
use serde_json::json;

type Edit = (&'static str, fn(&mut World));

fn edits() -> Vec<Edit> {
    vec![
        ("nothing", |_| {}),
        ("a new image", |world| {
            world.image = "mirrorfleet:2".to_owned()
        }),
        ("another architecture", |world| {
            world.edit(
                "/spec/content/debian/architectures",
                json!(["amd64", "arm64"]),
            )
        }),
        ("more room", |world| {
            world.edit("/spec/storage/size", json!("200Gi"))
        }),
        ("volumes go with the Mirror", |world| {
            world.edit("/spec/storage/reclaimPolicy", json!("Delete"))
        }),
        ("a region more", |world| {
            world.edit(
                "/spec/regions",
                json!([{"name": "eu"}, {"name": "us"}, {"name": "asia"}]),
            )
        }),
        ("a region less", |world| {
            world.edit("/spec/regions", json!([{"name": "eu"}]))
        }),
        ("a request", |world| world.request("2026-01-01T10:30:00Z")),
        ("a StatefulSet edited by hand", |world| {
            world.objects.stateful_sets[0].spec = world.objects.stateful_sets[0]
                .spec
                .replace("\"replicas\":1", "\"replicas\":3")
                .into();
        }),
        (
            "objects of the version before",
            World::is_of_the_version_before,
        ),
        ("a Service deleted by hand", |world| {
            world.objects.services.clear()
        }),
        ("a run that fails, and no retry", |world| {
            world.edit(
                "/spec/sync",
                json!({"schedule": "0 0 1 1 *", "retries": {"limit": 0}}),
            );
            world.request("to fail");
            world.step();
            let report = world.report("SignatureBad");
            world.end_run(&report);
        }),
        ("a snapshot that is pinned", |world| {
            world.edit("/spec/snapshots", json!({"pinned": "aa".repeat(32)}))
        }),
        ("an order that somebody wrote", |world| {
            let order = format!("99 {}", "aa".repeat(32));
            let annotations = &mut world.serving_pod().meta.annotations;
            annotations.insert("mirrorfleet.dev/serve".to_owned(), order);
            world.kubernetes();
        }),
        ("a status that was lost", |world| world.mirror.status = None),
        ("a claim deleted by hand", |world| {
            world.objects.claims.clear();
            world.stores.clear();
        }),
    ]
}

#[test]
fn a_converged_world_plans_no_writes() {
    for (name, edit) in edits() {
        let mut world = World::new(&["eu", "us"]);
        world.settle();
        world.pass(60);
        edit(&mut world);
        world.settle();
        for _ in 0..5 {
            world.pass(60);
            let plan = world.plan();
            assert!(
                plan.writes.is_empty() && plan.after_status.is_empty(),
                "{name}: {}",
                crate::model::render(&plan)
            );
            assert!(
                !plan.status_changed,
                "{name}: {}",
                crate::model::render(&plan)
            );
            assert_eq!(plan.turn, Turn::Idle, "{name}");
        }
    }
}

#[test]
fn regions_that_follow_come_to_rest_too_and_a_new_controller_writes_nothing() {
    for (name, edit) in edits() {
        let mut world = World::new(&["eu", "us<eu", "asia<us"]);
        world.settle();
        world.pass(60);
        if name.starts_with("a region ") {
            continue;
        }
        edit(&mut world);
        world.settle();
        rests(&mut world, name);
    }
}

/// Nothing is written as time goes by, nor by a controller that knows no answers yet.
fn rests(world: &mut World, name: &str) {
    for _ in 0..5 {
        world.pass(60);
        let plan = world.plan();
        let quiet = plan.writes.is_empty() && plan.after_status.is_empty();
        assert!(
            quiet && !plan.status_changed,
            "{name}: {}",
            crate::model::render(&plan)
        );
    }
    world.not_asked = true;
    let plan = world.plan();
    let quiet = plan.writes.is_empty() && !plan.status_changed;
    assert!(quiet, "{name}: {}", crate::model::render(&plan));
}

/// Three regions of two replicas each.
#[test]
fn replicas_come_to_rest_too_and_a_new_controller_writes_nothing() {
    for (name, edit) in edits() {
        let mut world = World::new(&["eu*2", "us<eu*2", "asia<us*2"]);
        world.settle();
        world.pass(60);
        if name.starts_with("a region ") || name.contains("the version before") {
            continue;
        }
        edit(&mut world);
        world.settle();
        rests(&mut world, name);
    }
}

/// From one replica to two, from two to one, with the controller dead after each single step: nobody is cut off.
#[test]
fn a_region_gets_and_loses_a_replica_whatever_step_is_the_last_before_a_new_controller() {
    for (from, to) in [("eu", "eu*2"), ("eu*2", "eu")] {
        let mut steps = 0;
        loop {
            let mut world = World::new(&[from]);
            world.settle();
            world.pass(60);
            world.edit("/spec/regions", crate::model::regions(&[to]));
            let interrupted = interrupt(&mut world, steps);
            let leads = |world: &World| {
                let name = fleet_plan::names::child_name("debian", "eu");
                let mut slices = world.objects.slices.iter();
                let slice = slices.find(|slice| slice.service() == Some(&name));
                slice.is_some_and(|slice| !slice.pods.is_empty())
            };
            assert!(leads(&world), "{from} to {to}, stopped after {steps} steps");
            world.settle();
            assert!(leads(&world), "{from} to {to}, stopped after {steps} steps");
            assert_eq!(world.condition("Ready").unwrap().0, "True");
            if !interrupted {
                break;
            }
            steps += 1;
        }
    }
}

#[test]
fn after_any_prefix_of_any_plan_the_world_still_converges_to_the_same() {
    for ((name, edit), lanes_backwards) in
        (edits().into_iter()).flat_map(|edit| [(edit, false), (edit, true)])
    {
        let mut straight = World::new(&["eu", "us"]);
        straight.settle();
        straight.pass(60);
        edit(&mut straight);
        straight.settle();
        let mut steps = 0;
        loop {
            let mut world = World::new(&["eu", "us"]);
            world.lanes_backwards = lanes_backwards;
            world.settle();
            world.pass(60);
            edit(&mut world);
            let interrupted = interrupt(&mut world, steps);
            world.settle();
            let kept = |world: &World| {
                let mut claims: Vec<_> = world
                    .objects
                    .claims
                    .iter()
                    .map(|c| (c.meta.name.clone(), c.requested))
                    .collect();
                claims.sort();
                (
                    claims,
                    world.objects.stateful_sets.len(),
                    world.objects.services.len(),
                    world.objects.jobs.len(),
                )
            };
            assert_eq!(
                kept(&world),
                kept(&straight),
                "{name}, stopped after {steps} steps"
            );
            assert_eq!(
                world.condition("Ready").unwrap().0,
                "True",
                "{name}, stopped after {steps} steps"
            );
            assert_eq!(
                world.status().last_handled_sync_request,
                straight.status().last_handled_sync_request,
                "{name}"
            );
            if !interrupted {
                break;
            }
            steps += 1;
        }
    }
}

#[test]
fn a_controller_that_dies_after_each_single_step_gets_there_too() {
    for (name, edit) in edits() {
        let mut world = World::new(&["eu", "us"]);
        world.settle();
        world.pass(60);
        edit(&mut world);
        world.request("by a person");
        let mut lives = 0;
        loop {
            let plan = world.plan();
            let nothing_left = plan.writes.is_empty() && plan.after_status.is_empty();
            let running = world.objects.jobs.iter().any(|job| job.end.is_none());
            if nothing_left && !plan.status_changed && !running {
                break;
            }
            world.apply_prefix(&plan, 1);
            world.kubernetes();
            world.pass(5);
            if world.objects.jobs.iter().any(|job| job.end.is_none()) {
                let report = world.report("Published");
                world.end_run(&report);
            }
            lives += 1;
            assert!(lives < 200, "{name}: {}", crate::model::render(&plan));
        }
        assert_eq!(
            world.status().last_handled_sync_request.as_deref(),
            Some("by a person"),
            "{name}"
        );
    }
}

/// Lets each of several plans die after `steps` steps; whether one of them had more.
fn interrupt(world: &mut World, steps: usize) -> bool {
    let mut interrupted = false;
    for _ in 0..4 {
        let plan = world.plan();
        interrupted |= world.apply_prefix(&plan, steps);
        world.kubernetes();
        if world.objects.jobs.iter().any(|job| job.end.is_none()) {
            world.pass(5);
            let report = world.report("Published");
            world.end_run(&report);
        }
    }
    interrupted
}

#[test]
fn a_status_holds_instants_and_never_ages() {
    let mut world = World::new(&["eu"]);
    world.settle();
    world.upstream_publishes("2026-01-01T10:20:00Z");
    world.edit("/spec/suspend", json!(true));
    world.settle();
    let status = world.status();
    assert_eq!(
        status.superseded_at.as_ref().unwrap().0,
        crate::model::at("2026-01-01T10:20:00Z")
    );
    for _ in 0..10 {
        world.pass(1000);
        assert!(
            !world.plan().status_changed,
            "{}",
            crate::model::render(&world.plan())
        );
    }
    world.pass(6 * 3600);
    let plan = world.plan();
    assert!(
        plan.status_changed,
        "beyond the objective the region is stale"
    );
    world.apply(&plan);
    assert_eq!(
        world.condition("Fresh").unwrap(),
        ("False".into(), "Stale".into())
    );
    world.pass(6 * 3600);
    assert!(!world.plan().status_changed);
}

/// Upgrading is no reason to restart: the pods that run are labelled, and the new StatefulSets adopt them.
#[test]
fn pods_of_the_version_before_are_adopted_and_never_made_anew() {
    let uids = |world: &World| -> Vec<String> {
        let claims = world.objects.claims.iter().map(|claim| &claim.meta);
        let pods = world.objects.pods.iter().map(|pod| &pod.meta);
        claims.chain(pods).map(|meta| meta.uid.clone()).collect()
    };
    let mut steps = 0;
    loop {
        let mut world = World::new(&["eu", "us"]);
        world.settle();
        world.pass(60);
        world.is_of_the_version_before();
        let before = uids(&world);
        let interrupted = interrupt(&mut world, steps);
        world.settle();
        assert_eq!(uids(&world), before, "stopped after {steps} steps");
        for pod in &world.objects.pods {
            assert_eq!(pod.meta.label("mirrorfleet.dev/replica"), Some("0"));
            let adopted = |set: &&fleet_plan::SeenApplied| pod.meta.owners.contains(&set.meta.uid);
            let set = world.objects.stateful_sets.iter().find(adopted).unwrap();
            assert!(set.spec.contains("OnDelete") && set.spec.contains("mirrorfleet.dev/replica"));
        }
        let mut claims = world.objects.claims.iter();
        assert!(claims.all(|claim| claim.meta.label("mirrorfleet.dev/replica") == Some("0")));
        if !interrupted {
            return;
        }
        steps += 1;
    }
}
