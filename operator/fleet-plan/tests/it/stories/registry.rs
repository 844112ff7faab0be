//! An npm registry, which has no runs: its pod is all there is of it.

use fleet_api::RegionState;
use fleet_plan::{Object, Write, summary, why};
use fleet_types::Reason;
use fleet_types::documents::{NotKept, RegistryState, ServedStatus, UnixSeconds};
use serde_json::json;

use crate::model::{World, at, render};

/// Declared, and nothing of it is there yet.
fn declared(regions: &[&str]) -> World {
    let mut world = World::new(regions);
    world.edit_upstream("/spec/type", json!("Npm"));
    world.edit_upstream(
        "/spec/authority/url",
        json!("https://registry.example.org/"),
    );
    world.edit_upstream("/spec/trust", json!({}));
    world.edit_upstream("/status", json!({}));
    world.edit("/spec/content", json!({"npm": {}}));
    world.edit("/spec/mode", json!("PullThrough"));
    world
}

/// How its pod says that it is.
fn tells(world: &mut World, state: RegistryState) {
    let pods = world.objects.pods.iter().map(|pod| pod.meta.name.clone());
    for pod in pods.collect::<Vec<_>>() {
        let served = ServedStatus {
            registry: Some(state.clone()),
            ..ServedStatus::default()
        };
        world.stores.insert(pod, served);
    }
}

fn serving() -> World {
    let mut world = declared(&["eu"]);
    world.step();
    world.kubernetes();
    tells(&mut world, RegistryState::default());
    world.step();
    world.step();
    world
}

fn at_rest(world: &World) {
    let again = world.plan();
    assert!(
        again.writes.is_empty() && !again.status_changed,
        "{}",
        render(&again)
    );
}

fn condition(world: &World, kind: &str) -> (String, String, String) {
    let status = world.status();
    let mut conditions = status.conditions.iter();
    let found = conditions.find(|found| found.type_ == kind).unwrap();
    let (status, reason) = (found.status.clone(), found.reason.clone());
    (status, reason, found.message.clone())
}

fn is(world: &World, kind: &str, status: &str, reason: &str) {
    let (found, because, message) = condition(world, kind);
    assert_eq!((&*found, &*because), (status, reason), "{kind}: {message}");
}

fn why_of(world: &World) -> why::Explanation {
    let progress = Default::default();
    let known = summary::Known {
        mirror: &world.mirror,
        upstream: world.upstream.as_ref(),
        progress: &progress,
        now: world.now,
    };
    let program = summary::Program {
        name: "mirrorfleet".to_owned(),
        cluster: Vec::new(),
    };
    why::why(&known, &program)
}

#[test]
fn a_registry_is_a_pod_of_two_containers_and_no_job_and_is_ready_once_it_answers() {
    let mut world = declared(&["eu"]);
    let plan = world.plan();
    let set = plan.writes.iter().find_map(|write| match write {
        Write::Create(Object::StatefulSet(set)) | Write::Apply(Object::StatefulSet(set)) => {
            Some(set)
        }
        _ => None,
    });
    let pod = set.unwrap().spec.clone().unwrap().template.spec.unwrap();
    let arguments = |name: &str| {
        let mut containers = pod.containers.iter();
        let found = containers.find(|it| it.name == name).unwrap();
        found.args.clone().unwrap().join(" ")
    };
    assert!(arguments("serve").contains("--registry /run/mirrorfleet/fill.sock"));
    assert!(!arguments("serve").contains("--origin"));
    assert!(arguments("fill").contains("--mirror debian"));
    world.step();
    is(&world, "Ready", "False", "Progressing");
    world.kubernetes();
    world.step();
    is(&world, "Ready", "False", "Progressing");
    assert_eq!(world.status().regions[0].state, RegionState::Pending);
    assert!(why_of(&world).clients.contains("nothing yet"));

    tells(&mut world, RegistryState::default());
    world.step();
    is(&world, "Ready", "True", "Ready");
    is(&world, "Fresh", "True", "Fresh");
    is(&world, "Verified", "Unknown", "NotVerified");
    is(&world, "StorageReady", "True", "VolumeBound");
    let status = world.status();
    assert_eq!(status.state.as_deref(), Some("Serving"));
    assert_eq!(status.regions_ready.as_deref(), Some("1/1"));
    assert_eq!(status.regions[0].state, RegionState::Serving);
    assert_eq!((status.snapshot, status.next_sync_time), (None, None));
    at_rest(&world);
    let told = why_of(&world);
    assert_eq!(told.reason, None, "{}", told.paragraph());
    assert!(
        told.wrong.contains("well") && told.clients.contains("everything else from the upstream")
    );
    assert!(told.next.contains("no sync is planned"));

    // Neither time nor a request makes a Job.
    world.now = at("2026-01-03T11:00:00Z");
    world.request("now");
    world.step();
    world.step();
    assert!(world.objects.jobs.is_empty());
    at_rest(&world);
}

#[test]
fn what_a_registrys_answers_depend_on_restarts_its_pod_and_nothing_else_does() {
    let mut world = serving();
    let template = |world: &World| {
        let set = &world.objects.stateful_sets[0];
        let spec: serde_json::Value = serde_json::from_str(&set.spec).unwrap();
        let annotations = &spec["template"]["metadata"]["annotations"];
        (
            annotations["mirrorfleet.dev/applied"].clone(),
            annotations.to_string(),
        )
    };
    let before = template(&world).0;
    world.edit("/spec/freshness", json!({"objective": "1h"}));
    world.step();
    assert_eq!(template(&world).0, before);
    world.edit("/spec/serving", json!({"trustedProxies": ["10.0.0.0/8"]}));
    world.step();
    let (applied, told) = template(&world);
    assert_eq!(applied, before);
    assert!(told.contains("10.0.0.0/8"), "pods are told: {told}");
    let guard = json!({"minimumReleaseAge": "72h", "reserved": ["@corp/*"]});
    let mut spec = serde_json::to_value(&world.mirror).unwrap();
    spec["spec"]["guard"] = guard;
    spec["spec"]["serving"]["aliases"] = json!(["repository/npm"]);
    world.mirror = serde_json::from_value(spec).unwrap();
    world.step();
    let (applied, annotations) = template(&world);
    assert_ne!(applied, before);
    assert!(annotations.contains("@corp/*") && annotations.contains("repository/npm"));
}

#[test]
fn an_upstream_that_is_left_alone_is_told_and_is_a_fault_once_the_objective_is_over() {
    let mut world = serving();
    world.edit("/spec/freshness", json!({"objective": "1h"}));
    let since = world.now;
    let blocked = RegistryState {
        upstream_blocked_since: Some(UnixSeconds(since.as_second())),
        ..RegistryState::default()
    };
    tells(&mut world, blocked);
    world.step();
    is(&world, "Ready", "True", "Ready");
    is(&world, "Fresh", "Unknown", "UpstreamBlocked");
    assert!(condition(&world, "Fresh").2.contains(&since.to_string()));
    let told = why_of(&world);
    assert_eq!(told.reason, Some(Reason::UpstreamBlocked));
    assert!(told.clients.contains("however old"), "{}", told.clients);
    assert!(told.command.unwrap().ends_with("-c fill -n ns"));
    let plan = world.plan();
    assert_eq!(
        plan.wake_at,
        Some(since + jiff::SignedDuration::from_secs(3601))
    );
    world.pass(3601);
    world.step();
    is(&world, "Fresh", "False", "UpstreamBlocked");
    at_rest(&world);
    tells(&mut world, RegistryState::default());
    world.step();
    is(&world, "Fresh", "True", "Fresh");

    let offline = RegistryState {
        is_offline: true,
        ..RegistryState::default()
    };
    tells(&mut world, offline);
    world.step();
    is(&world, "Fresh", "Unknown", "Offline");
}

#[test]
fn a_full_volume_and_a_pod_that_is_away_are_told_as_of_others() {
    let mut world = serving();
    let full = NotKept::full(UnixSeconds(world.now.as_second()));
    for store in world.stores.values_mut() {
        store.not_kept = Some(full.clone());
    }
    world.step();
    is(&world, "Ready", "True", "Ready");
    is(&world, "StorageReady", "False", "StorageFull");
    let told = why_of(&world);
    assert_eq!(told.reason, Some(Reason::StorageFull));
    assert!(told.wrong.contains("not kept"), "{}", told.paragraph());
    tells(&mut world, RegistryState::default());
    world.step();
    is(&world, "StorageReady", "True", "VolumeBound");

    world.serving_pod().ready = false;
    world.step();
    is(&world, "Ready", "False", "PodNotReady");
    assert_eq!(world.status().regions[0].state, RegionState::Unknown);
    at_rest(&world);
    world.serving_pod().ready = true;
    world.not_asked = true;
    let before = world.status().conditions;
    world.step();
    assert_eq!(world.status().regions[0].state, RegionState::Unknown);
    world.not_asked = false;
    world.step();
    is(&world, "Ready", "True", "Ready");
    assert!(before.len() >= 5);
    assert_eq!(world.status().regions[0].state, RegionState::Serving);
}

#[test]
fn each_region_needs_a_connection_and_no_half_is_kept_for_runs() {
    let mut world = declared(&["eu", "us"]);
    world.edit_upstream("/spec/politeness", json!({"maxConnections": 2}));
    world.step();
    assert!(
        world
            .status()
            .conditions
            .iter()
            .all(|it| it.type_ != "Stalled")
    );
    world.edit_upstream("/spec/politeness", json!({"maxConnections": 1}));
    world.step();
    is(&world, "Stalled", "True", "InvalidSpec");
    assert!(
        condition(&world, "Stalled")
            .2
            .contains("one for each region")
    );
}

#[test]
fn what_is_about_runs_and_snapshots_is_refused_in_words() {
    use fleet_plan::act::Act;
    let world = serving();
    for act in [Act::SyncNow, Act::Suspend, Act::Pin("ab".repeat(32))] {
        let why = act.fits(&world.mirror).unwrap_err();
        assert!(why.contains("has no syncs and no snapshots"), "{why}");
    }
    assert_eq!(Act::Resume.fits(&world.mirror), Ok(()));
    assert_eq!(Act::SyncNow.fits(&World::new(&["eu"]).mirror), Ok(()));
}
