//! How large a status gets: etcd and every watcher pay for it with each change.

use fleet_api::{MirrorStatus, RegionStatus};
use fleet_types::UnitRevision;
use fleet_types::documents::Report;
use serde_json::{Value, json};

use crate::model::{SUITE, World, at, digest};

/// A converged fleet whose regions all serve the same state of so many suites, and which is behind.
fn status(regions: usize, suites: usize) -> MirrorStatus {
    let names: Vec<String> = (0..regions)
        .map(|index| format!("region-{index}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let more = (1..suites).map(|index| format!("suite-{index}-updates"));
    let suites: Vec<String> = std::iter::once(SUITE.to_owned()).chain(more).collect();
    let mut world = World::new(&names);
    world.edit("/spec/content/debian/suites", json!(suites));
    let seen = |byte: u8, at: &str| -> Vec<Value> {
        let seen = |suite| json!({"unit": suite, "digest": digest(byte).to_string(), "date": at, "observedAt": at});
        suites.iter().map(seen).collect()
    };
    world.edit_upstream("/status/revision", json!(seen(1, "2026-01-01T00:00:00Z")));
    world.settle();
    let revision: Vec<UnitRevision> = (suites.iter())
        .map(|suite| UnitRevision {
            unit: suite.clone(),
            digest: digest(1),
            date: 1_767_225_600,
            valid_until: Some(1_767_830_400),
        })
        .collect();
    // A round in which every region reports the marks of all suites.
    world.now = at("2026-01-01T11:00:00Z");
    for _ in &names {
        for _ in 0..3 {
            world.step();
        }
        if world.objects.jobs.iter().all(|job| job.end.is_some()) {
            break;
        }
        world.pass(10);
        let report = Report {
            revision: revision.clone(),
            ..world.report("Unchanged")
        };
        world.end_run(&report);
    }
    world.edit_upstream("/status/revision", json!(seen(2, "2026-01-01T10:30:00Z")));
    for _ in 0..4 {
        world.step();
        world.pass(1);
    }
    let status = world.status();
    assert_eq!(status.high_water.len(), suites.len());
    assert_eq!(status.snapshots.len(), 1, "{:?}", status.snapshots);
    assert!(status.units.iter().all(|unit| unit.superseded_at.is_some()));
    status
}

fn bytes(status: &MirrorStatus) -> usize {
    serde_json::to_string(status).unwrap().len()
}

/// The same fleet with so many regions.
fn widened(mut status: MirrorStatus, regions: usize) -> MirrorStatus {
    let one = status.regions[0].clone();
    status.regions = (10..10 + regions)
        .map(|number| RegionStatus {
            name: format!("region-{number}"),
            ..one.clone()
        })
        .collect();
    status
}

#[test]
fn what_suites_cost_is_paid_once_and_not_in_every_region() {
    let size = |regions, suites| bytes(&status(regions, suites));
    assert_eq!(
        size(3, 20) - size(3, 1),
        size(1, 20) - size(1, 1),
        "suites do not multiply with regions"
    );
    let large = widened(status(1, 20), 32);
    let one = serde_json::to_string(&large.regions[0]).unwrap();
    let all = bytes(&large);
    println!("{all} bytes; one region: {one}");
    assert!(all < 32 * 1024, "{all} bytes");
}
