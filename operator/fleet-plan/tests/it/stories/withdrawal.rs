//! Regions that fetch each for itself: one that is too far behind is in no list until it has caught up.

use fleet_api::{RegionState, labels};
use fleet_types::Reason;
use fleet_types::documents::ClientList;
use serde_json::json;

use super::serving;
use crate::model::{World, at, digest};

/// Two regions, of which the first has the authority's newest state and the second does not, since half past ten.
fn one_is_behind() -> World {
    let mut world = serving(&["eu", "us"]);
    world.edit(
        "/spec/sync",
        json!({"schedule": "0 0 1 1 *", "retries": {"limit": 0}}),
    );
    world.upstream_publishes("2026-01-01T10:30:00Z");
    catches_up(&mut world, "eu");
    world.settle();
    world
}

fn catches_up(world: &mut World, region: &str) {
    let child = fleet_plan::names::child_name("debian", region);
    let store = world.stores.get_mut(&format!("{child}-0")).unwrap();
    store.revision[0].digest = digest(2);
}

fn listed(world: &World) -> Vec<String> {
    let pods = world.objects.pods.iter();
    let text = pods
        .filter_map(|pod| pod.meta.annotation(labels::LIST))
        .next();
    let list: ClientList = serde_json::from_str(text.unwrap()).unwrap();
    list.regions.into_iter().map(|region| region.name).collect()
}

/// What is told of regions when the next plan is carried out, and its effect.
fn told(world: &mut World) -> Vec<Reason> {
    let plan = world.plan();
    world.apply(&plan);
    let events = plan.events.iter().map(|event| event.reason);
    let ours = events
        .filter(|reason| matches!(reason, Reason::Withdrawn | Reason::Readmitted))
        .collect();
    world.settle();
    ours
}

#[test]
fn a_region_that_is_too_far_behind_is_in_no_list_and_comes_back_by_itself() {
    let mut world = one_is_behind();
    assert_eq!(listed(&world), ["eu", "us"]);
    world.now = at("2026-01-02T10:30:00Z");
    assert_eq!(told(&mut world), []);
    let plan = world.plan();
    assert_eq!(plan.wake_at, Some(at("2026-01-02T10:30:01Z")));
    world.now = at("2026-01-02T10:30:01Z");
    assert_eq!(told(&mut world), [Reason::Withdrawn]);
    assert_eq!(listed(&world), ["eu"]);
    let region = world.status().regions[1].clone();
    assert_eq!(region.state, RegionState::Withdrawn);
    assert_eq!(region.withdrawn_at.unwrap().0, world.now);
    assert!(world.status().state.unwrap().ends_with("Withdrawn"));
    // Readiness is another thing: its clients are served.
    assert!(region.replicas[0].ready);
    assert!(world.condition("Reconciling").is_none());
    catches_up(&mut world, "us");
    assert_eq!(told(&mut world), [Reason::Readmitted]);
    assert_eq!(listed(&world), ["eu", "us"]);
    assert_eq!(world.status().regions[1].state, RegionState::Serving);
}

#[test]
fn so_many_regions_stay_as_the_manifest_wants_and_who_cannot_be_asked_stays_what_it_was() {
    let mut world = one_is_behind();
    world.edit(
        "/spec/freshness",
        json!({"objective": "6h", "withdrawAfter": "8h", "minHealthyRegions": 2}),
    );
    world.now = at("2026-01-03T00:00:00Z");
    assert_eq!(told(&mut world), []);
    assert_eq!(listed(&world), ["eu", "us"]);
    world.edit(
        "/spec/freshness",
        json!({"objective": "6h", "withdrawAfter": "8h"}),
    );
    world.away = vec!["us".to_owned()];
    assert_eq!(told(&mut world), []);
    world.away.clear();
    assert_eq!(told(&mut world), [Reason::Withdrawn]);
    world.not_asked = true;
    let plan = world.plan();
    assert!(plan.writes.is_empty() && !plan.status_changed);
}
