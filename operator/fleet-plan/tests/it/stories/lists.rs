//! Where clients are sent: what serving pods are told of the regions.

use fleet_api::labels;
use fleet_plan::Write;
use fleet_plan::client_files::{files_of_all, list_url};
use fleet_types::documents::{ClientList, ListedRegion};
use serde_json::json;

use super::serving;
use crate::model::{World, condition, digest, render};

/// What all serving pods and their templates are told; they are told the same.
fn told(world: &World) -> ClientList {
    let pods = world.objects.pods.iter().filter(|pod| pod.job.is_none());
    let mut texts: Vec<&str> = pods
        .map(|pod| pod.meta.annotation(labels::LIST).unwrap())
        .collect();
    let text = texts[0];
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    for set in &world.objects.stateful_sets {
        let spec: serde_json::Value = serde_json::from_str(&set.spec).unwrap();
        let annotations = &spec["template"]["metadata"]["annotations"];
        assert_eq!(annotations[labels::LIST], text);
    }
    serde_json::from_str(text).unwrap()
}

fn names(list: &ClientList) -> Vec<&str> {
    let regions = list.regions.iter();
    regions.map(|region| region.name.as_str()).collect()
}

fn doubtful(list: &ClientList) -> Vec<&str> {
    let regions = list.regions.iter().filter(|region| region.doubtful);
    regions.map(|region| region.name.as_str()).collect()
}

#[test]
fn every_pod_knows_where_all_regions_are() {
    let world = serving(&["eu", "us<eu", "asia<us"]);
    let list = told(&world);
    assert_eq!(names(&list), ["eu", "us", "asia"]);
    let child = fleet_plan::names::child_name("debian", "us");
    let us = ListedRegion {
        name: "us".to_owned(),
        url: format!("http://{child}.ns.svc/debian/"),
        clients: Vec::new(),
        doubtful: false,
    };
    assert_eq!(list.regions[1], us);
    let service = fleet_plan::names::mirror_name("debian");
    let url = format!("http://{service}.ns.svc/.mirrorfleet/mirrorlist/debian");
    assert_eq!(list_url(&world.mirror).as_deref(), Some(url.as_str()));
    let [file] = files_of_all(&world.mirror, None).try_into().unwrap();
    assert!(
        file.text.contains(&format!("URIs: mirror+{url}\n")),
        "{}",
        file.text
    );
}

#[test]
fn where_regions_are_reached_from_outside_only_these_are_told() {
    let mut world = serving(&["eu", "us<eu", "asia<us"]);
    world.edit(
        "/spec/regions",
        json!([
            {"name": "eu", "publicUrl": "https://eu.example.org/m/", "clientCidrs": ["192.0.2.0/24", "2001:db8::/32"]},
            {"name": "us", "follows": "eu"},
            {"name": "asia", "follows": "us", "publicUrl": "https://asia.example.org"},
        ]),
    );
    world.edit("/spec/serving", json!({"trustedProxies": ["10.0.0.0/8"]}));
    world.settle();
    let list = told(&world);
    let urls: Vec<&str> = list
        .regions
        .iter()
        .map(|region| region.url.as_str())
        .collect();
    assert_eq!(
        urls,
        [
            "https://eu.example.org/m/debian/",
            "https://asia.example.org/debian/"
        ]
    );
    assert_eq!(list.regions[0].clients.len(), 2);
    assert!(list.trusts("10.1.2.3".parse().unwrap()));
    assert_eq!(
        list_url(&world.mirror).as_deref(),
        Some("https://eu.example.org/m/.mirrorfleet/mirrorlist/debian")
    );
}

#[test]
fn what_is_no_network_touches_nothing_and_is_told() {
    for (pointer, value, words) in [
        (
            "/spec/regions",
            json!([{"name": "eu", "clientCidrs": ["192.0.2.0/33"]}]),
            "clientCidrs of region eu: 192.0.2.0/33 is no network",
        ),
        (
            "/spec/serving",
            json!({"trustedProxies": ["10.0.0.0/8", "1:2/8"]}),
            "spec.serving.trustedProxies: 1:2/8 is no network",
        ),
    ] {
        let mut world = serving(&["eu"]);
        world.edit(pointer, value);
        let plan = world.plan();
        assert!(plan.writes.is_empty(), "{}", render(&plan));
        let stalled = condition(&plan.status, "Stalled").unwrap();
        assert_eq!(stalled, ("True".to_owned(), "InvalidSpec".to_owned()));
        assert!(render(&plan).contains(words), "{}", render(&plan));
    }
}

#[test]
fn a_region_that_is_left_out_is_in_no_list_before_the_others_serve_something_newer() {
    let mut world = serving(&["eu", "us<eu", "asia<us"]);
    world.hub_prepares(0xbb);
    world.away = vec!["asia".to_owned()];
    let report = world.report("Prepared");
    world.end_run(&report);
    let mut steps = 0;
    loop {
        let plan = world.plan();
        let ordered = plan
            .writes
            .iter()
            .any(|write| matches!(write, Write::Order { .. }));
        if ordered {
            break;
        }
        world.apply(&plan);
        world.kubernetes();
        steps += 1;
        assert!(steps < 20, "{}", render(&plan));
    }
    assert_eq!(names(&told(&world)), ["eu", "us"]);
    world.away.clear();
    world.settle();
    assert_eq!(names(&told(&world)), ["eu", "us", "asia"]);
}

#[test]
fn a_pod_that_still_sends_clients_there_is_waited_for() {
    let mut world = serving(&["eu", "us<eu"]);
    let before = world.objects.pods[0].meta.annotations[labels::LIST].clone();
    world.hub_prepares(0xbb);
    world.away = vec!["us".to_owned()];
    for _ in 0..5 {
        // It cannot be written, or somebody else writes it back.
        let pod = &mut world.objects.pods[0];
        pod.meta
            .annotations
            .insert(labels::LIST.to_owned(), before.clone());
        let plan = world.plan();
        world.apply(&plan);
        world.kubernetes();
        let pod = &mut world.objects.pods[0];
        pod.meta
            .annotations
            .insert(labels::LIST.to_owned(), before.clone());
        let served = world.status().regions[0].replicas[0].snapshot.clone();
        assert_eq!(served, Some(digest(0xaa).to_string()));
    }
    // For so long and no longer.
    world.pass(181);
    for _ in 0..5 {
        world.round();
    }
    let served = world.status().regions[0].replicas[0].snapshot.clone();
    assert_eq!(served, Some(digest(0xbb).to_string()));
}

#[test]
fn a_region_that_does_not_answer_comes_last_and_a_new_controller_goes_on_saying_so() {
    let mut world = serving(&["eu", "us<eu", "asia<us"]);
    world.away = vec!["eu".to_owned()];
    world.settle();
    let list = told(&world);
    assert_eq!(
        (names(&list), doubtful(&list)),
        (vec!["eu", "us", "asia"], vec!["eu"])
    );
    world.not_asked = true;
    let plan = world.plan();
    assert!(plan.writes.is_empty(), "{}", render(&plan));
    world.not_asked = false;
    world.away.clear();
    world.settle();
    assert_eq!(doubtful(&told(&world)), [""; 0]);
}

#[test]
fn a_pod_that_is_made_anew_changes_no_list_unless_it_takes_long() {
    let mut world = serving(&["eu", "us<eu"]);
    let at = world.objects.pods.iter().position(|pod| {
        let region = pod.meta.region();
        region == Some("us")
    });
    let pod = &mut world.objects.pods[at.unwrap()];
    pod.ready = false;
    pod.ready_changed_at = Some(world.now);
    world.step();
    let plan = world.plan();
    let lists = |plan: &fleet_plan::Plan| {
        let told = plan
            .writes
            .iter()
            .filter(|write| matches!(write, Write::List { .. }));
        told.count()
    };
    assert_eq!(lists(&plan), 0, "{}", render(&plan));
    let wake = plan.wake_at.unwrap();
    assert!(wake <= world.now + jiff::SignedDuration::from_secs(90));
    world.pass(91);
    let plan = world.plan();
    assert_eq!(lists(&plan), 2, "{}", render(&plan));
    world.apply(&plan);
    assert_eq!(doubtful(&told(&world)), ["us"]);
}

#[test]
fn a_list_is_never_empty() {
    let mut world = serving(&["eu", "us<eu", "asia<us"]);
    let status = world.mirror.status.as_mut().unwrap();
    let time = |text: &str| {
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            crate::model::at(text),
        ))
    };
    for region in &mut status.regions {
        region.withdrawn_at = time("2026-01-01T10:00:00Z");
    }
    status.regions[0].superseded_at = time("2026-01-01T08:00:00Z");
    status.regions[1].superseded_at = time("2026-01-01T09:00:00Z");
    let plan = world.plan();
    world.apply(&plan);
    assert_eq!(
        names(&told(&world)),
        ["asia", "us", "eu"],
        "the freshest first"
    );
    let status = world.mirror.status.as_mut().unwrap();
    for region in &mut status.regions {
        region.withdrawn_at = time("2026-01-01T10:00:00Z");
        region.replicas[0].snapshot = None;
    }
    let plan = world.plan();
    world.apply(&plan);
    assert_eq!(
        names(&told(&world)),
        ["eu", "us", "asia"],
        "all that are declared"
    );
}

#[test]
fn a_controller_that_is_cut_off_leaves_nobody_out_and_doubts_nobody() {
    let mut world = serving(&["eu", "us<eu", "asia<us"]);
    world.hub_prepares(0xbb);
    (world.away, world.cut_off) = (vec!["us".to_owned(), "asia".to_owned()], true);
    for _ in 0..5 {
        world.round();
    }
    let out = |world: &World| {
        let regions = world.status().regions.into_iter();
        regions.filter(|it| it.withdrawn_at.is_some()).count()
    };
    assert_eq!(out(&world), 0);
    assert_eq!(doubtful(&told(&world)), [""; 0]);
    world.cut_off = false;
    let report = world.report("Prepared");
    world.end_run(&report);
    for _ in 0..5 {
        world.round();
    }
    assert_eq!(out(&world), 2, "it is known that they are away");
}
