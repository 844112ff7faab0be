//! What `mirrorfleet why` says in each situation that a person may meet. The situations are made by the planner itself, so
//! that what is told is what the conditions say.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fleet_plan::observed::{Trouble, VolumePhase};
use fleet_plan::summary::{Known, Program, Progress, summary};
use fleet_plan::why::{Explanation, why};
use fleet_types::Reason;
use serde_json::json;

use crate::model::{World, at};

mod regions;

struct Situation {
    /// What happened, for the page.
    title: &'static str,
    /// The root that is told; none where all is well.
    reason: Option<Reason>,
    make: fn() -> World,
}

const fn situation(title: &'static str, reason: Option<Reason>, make: fn() -> World) -> Situation {
    Situation {
        title,
        reason,
        make,
    }
}

fn serving(regions: &[&str]) -> World {
    let mut world = World::new(regions);
    world.settle();
    world
}

/// Objects are there, and nothing was synced.
fn begun(rounds: usize) -> World {
    let mut world = World::new(&["eu"]);
    for _ in 0..rounds {
        world.step();
        world.kubernetes();
    }
    world
}

/// A scheduled run that ended so, `times` times in a row with its retries.
fn failing(reason: &str, times: usize) -> World {
    let mut world = serving(&["eu"]);
    world.upstream_publishes("2026-01-01T10:50:00Z");
    world.now = at("2026-01-01T11:00:00Z");
    for _ in 0..times {
        world.step();
        world.pass(20);
        let report = world.report(reason);
        world.end_run(&report);
        world.step();
        if let Some(next) = world.plan().status.next_sync_time {
            world.now = next.0;
        }
    }
    // A minute before the next.
    world.pass(-60);
    world
}

fn without_a_node(world: &mut World) {
    let pod = world.serving_pod();
    pod.ready = false;
    pod.running = false;
    pod.unschedulable = Some("0/2 nodes are available: 2 node(s) didn't match".to_owned());
}

const SITUATIONS: &[Situation] = &[
    situation(
        "just applied, and no controller runs",
        Some(Reason::Progressing),
        || World::new(&["eu"]),
    ),
    situation(
        "objects are being made",
        Some(Reason::FirstSyncPending),
        || begun(1),
    ),
    situation(
        "the first sync runs",
        Some(Reason::FirstSyncRunning),
        || {
            let mut world = begun(2);
            world.pass(300);
            world.step();
            world
        },
    ),
    situation(
        "the keyring is missing",
        Some(Reason::KeyringNotFound),
        || {
            let mut world = begun(2);
            let report = world.report("KeyringNotFound");
            world.end_run(&report);
            world.step();
            world
        },
    ),
    situation(
        "there is no such Upstream",
        Some(Reason::UpstreamNotFound),
        || {
            let mut world = World::new(&["eu"]);
            world.upstream = None;
            world.step();
            world
        },
    ),
    situation("no node fits", Some(Reason::PodUnschedulable), || {
        let mut world = begun(1);
        without_a_node(&mut world);
        world.step();
        world
    }),
    situation("the image is gone", Some(Reason::ImageNotPulled), || {
        let mut world = begun(1);
        let pod = world.serving_pod();
        pod.ready = false;
        pod.running = false;
        pod.trouble = Some(Trouble {
            reason: "ImagePullBackOff".to_owned(),
            message: "no such image".to_owned(),
        });
        world.step();
        world
    }),
    situation(
        "a quota is in the way",
        Some(Reason::CreationRefused),
        || {
            let mut world = begun(1);
            world.objects.pods.clear();
            world.objects.warnings.push(fleet_plan::SeenWarning {
                uid: world.objects.stateful_sets[0].meta.uid.clone(),
                message: "pods \"debian-0\" is forbidden: exceeded quota: small".to_owned(),
                at: Some(world.now),
            });
            world.step();
            world
        },
    ),
    situation(
        "another Mirror is synced first",
        Some(Reason::WaitingForTurn),
        || {
            let mut world = begun(1);
            world.line.running = Some("security".to_owned());
            world.step();
            world
        },
    ),
    situation("all is well", None, || serving(&["eu", "us"])),
    situation(
        "behind, within the objective, and a sync runs",
        None,
        || {
            let mut world = serving(&["eu"]);
            world.upstream_publishes("2026-01-01T10:50:00Z");
            world.now = at("2026-01-01T11:00:00Z");
            world.step();
            world.pass(120);
            world.step();
            world
        },
    ),
    situation(
        "stale, since the upstream does not answer",
        Some(Reason::UpstreamUnreachable),
        || {
            let mut world = failing("UpstreamUnreachable", 2);
            world.edit("/spec/freshness", json!({"objective": "5m"}));
            world.step();
            world
        },
    ),
    situation(
        "all retries are used up",
        Some(Reason::UpstreamIncomplete),
        || {
            let mut world = serving(&["eu"]);
            world.edit(
                "/spec/sync",
                json!({"schedule": "0 * * * *", "retries": {"limit": 0}}),
            );
            world.settle();
            world.now = at("2026-01-01T11:00:00Z");
            world.step();
            let report = world.report("UpstreamIncomplete");
            world.end_run(&report);
            world.step();
            world
        },
    ),
    situation(
        "the upstream asks for time",
        Some(Reason::UpstreamBusy),
        || {
            let mut world = serving(&["eu"]);
            world.now = at("2026-01-01T11:00:00Z");
            world.step();
            let mut report = world.report("UpstreamBusy");
            report.retry_after_seconds = Some(7200);
            world.end_run(&report);
            world.step();
            world
        },
    ),
    situation(
        "a signature by a stranger",
        Some(Reason::KeyUnknown),
        || failing("KeyUnknown", 1),
    ),
    situation(
        "the upstream went back",
        Some(Reason::RollbackDetected),
        || failing("RollbackDetected", 1),
    ),
    situation(
        "what is served is past its time",
        Some(Reason::IndexExpired),
        || {
            let mut world = serving(&["eu"]);
            let end = at("2026-01-01T10:40:00Z").as_second();
            for store in world.stores.values_mut() {
                store.revision[0].valid_until = Some(end);
            }
            world.now = at("2026-01-01T10:50:00Z");
            world.step();
            world
        },
    ),
    situation("the volume is full", Some(Reason::StorageFull), || {
        failing("StorageFull", 1)
    }),
    situation(
        "a stored file is damaged",
        Some(Reason::StoreCorrupt),
        || {
            let mut world = serving(&["eu"]);
            let store = world.stores.values_mut().next().unwrap();
            store.damaged = vec![fleet_types::Sha256([7; 32])];
            world.step();
            world
        },
    ),
    situation(
        "the volume of one of two regions is lost",
        Some(Reason::VolumeUnreachable),
        || {
            let mut world = serving(&["eu", "us"]);
            world.objects.claims[1].phase = VolumePhase::Lost;
            let name = format!("{}-0", world.objects.claims[1].meta.name);
            let mut pods = world.objects.pods.iter_mut();
            let pod = pods.find(|pod| pod.meta.name == name).unwrap();
            pod.ready = false;
            world.step();
            world
        },
    ),
    situation(
        "the manifest was edited into something wrong",
        Some(Reason::InvalidSpec),
        || {
            let mut world = serving(&["eu"]);
            world.edit("/spec/sync/schedule", json!("at noon"));
            world.step();
            world
        },
    ),
    situation("suspended", Some(Reason::Suspended), || {
        let mut world = serving(&["eu"]);
        world.edit("/spec/suspend", json!(true));
        world.settle();
        world
    }),
    situation("pinned", Some(Reason::Pinned), || {
        let mut world = serving(&["eu"]);
        world.edit("/spec/snapshots", json!({"pinned": "aa".repeat(32)}));
        world.settle();
        world
    }),
    situation(
        "only syncs may ask the authority, and none did for long",
        Some(Reason::NotProbed),
        || {
            let mut world = World::new(&["eu"]);
            world.edit("/spec/sync/schedule", json!("0 0 1 1 *"));
            world.edit_upstream("/spec/access", json!({"credentialsRef": {"name": "login"}}));
            world.edit_upstream("/status/revision", json!([]));
            world.settle();
            world.pass(6 * 3600 + 60);
            world.settle();
            world
        },
    ),
    situation("the controller has been away", Some(Reason::Stale), || {
        let mut world = serving(&["eu"]);
        world.upstream_publishes("2026-01-01T10:20:00Z");
        world.step();
        world.now = at("2026-01-01T19:00:00Z");
        world
    }),
];

fn explain(world: &World, program: &Program) -> (Explanation, bool) {
    let progress: BTreeMap<String, Progress> = (world.objects.jobs.iter())
        .map(|job| {
            let progress = Progress {
                phase: "fetch".to_owned(),
                planned_bytes: 1_288_490_189,
                received_bytes: 559_000_000,
                ..Progress::default()
            };
            (job.meta.name.clone(), progress)
        })
        .collect();
    let known = Known {
        mirror: &world.mirror,
        upstream: world.upstream.as_ref(),
        progress: &progress,
        now: world.now,
    };
    (why(&known, program), summary(&known).well)
}

#[test]
fn why_has_a_paragraph_for_each_situation() {
    let program = Program {
        name: "mirrorfleet".to_owned(),
        cluster: Vec::new(),
    };
    let mut page = String::new();
    for Situation {
        title,
        reason,
        make,
    } in SITUATIONS.iter().chain(regions::REGIONS)
    {
        let world = make();
        let (told, well) = explain(&world, &program);
        assert_eq!(told.reason, *reason, "{title}: {told:#?}");
        let held = matches!(
            reason,
            Some(Reason::Suspended | Reason::Pinned | Reason::Copying | Reason::Joining)
        );
        assert_eq!(well, reason.is_none() || held, "{title}");
        let paragraph = told.paragraph();
        for sentence in [&told.wrong, &told.clients, &told.next] {
            assert!(sentence.ends_with('.'), "{title}: {sentence:?}");
        }
        assert_eq!(told.help.is_empty(), told.command.is_none(), "{title}");
        assert!(
            !paragraph.contains('\n') && !paragraph.contains(".."),
            "{title}: {paragraph}"
        );
        let _ = writeln!(page, "# {title}\n{paragraph}");
        let _ = match &told.command {
            Some(command) => writeln!(page, "    {command}\n"),
            None => writeln!(page),
        };
    }
    assert!(SITUATIONS.len() >= 20);
    insta::assert_snapshot!("why", page);
}

#[test]
fn commands_are_those_of_who_asks() {
    let program = Program {
        name: "kubectl mirrorfleet".to_owned(),
        cluster: vec!["--context prod".to_owned()],
    };
    let mut world = serving(&["eu"]);
    world.edit("/spec/suspend", json!(true));
    world.settle();
    let told = explain(&world, &program).0;
    let wanted = "kubectl mirrorfleet resume debian -n ns --context prod";
    assert_eq!(told.command.as_deref(), Some(wanted));
}

#[test]
fn an_authority_that_was_never_heard_has_a_minute_for_its_first_answer() {
    let mut world = serving(&["eu"]);
    world.edit_upstream("/status", json!({"observedGeneration": 1}));
    world.step();
    assert_eq!(world.condition("Fresh").unwrap().0, "Unknown");
    let program = Program {
        name: "mirrorfleet".to_owned(),
        cluster: Vec::new(),
    };
    let is_well = |world: &World| explain(world, &program).1;
    world.pass(59);
    assert!(is_well(&world));
    world.pass(1);
    assert!(!is_well(&world));
}
