//! A Mirror is planned again for a change of its Upstream only if it reads what changed.

use fleet_api::Upstream;
use serde_json::{Value, json};

use crate::model::{SUITE, World, at, digest};

/// The Upstream after an edit by JSON pointers.
fn edited(upstream: &Upstream, edits: &[(&str, Value)]) -> Upstream {
    let mut document = json!(upstream);
    for (pointer, value) in edits {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        document.pointer_mut(parent).unwrap()[key] = value.clone();
    }
    serde_json::from_value(document).unwrap()
}

fn unit(name: &str, byte: u8) -> Value {
    json!({"unit": name, "digest": digest(byte).to_string(), "observedAt": "2026-01-01T00:00:00Z"})
}

fn reachable(status: &str, message: &str) -> Value {
    json!([{"type": "Reachable", "status": status, "reason": "UpstreamUnreachable", "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z"}])
}

#[test]
fn an_upstreams_change_concerns_the_mirrors_that_read_what_changed() {
    let mut world = World::new(&["eu"]);
    world.settle();
    let told = world.upstream.clone().unwrap();
    let silent = edited(&told, &[("/status/revision", json!([]))]);
    let known = json!(told)["status"]["revision"][0].clone();
    let cases = [
        (
            "another digest",
            &told,
            ("/status/revision", json!([unit(SUITE, 2)])),
            true,
        ),
        (
            "a unit of other Mirrors",
            &told,
            ("/status/revision", json!([unit("bookworm", 3), known])),
            false,
        ),
        ("it is gone", &told, ("/status/revision", json!([])), true),
        (
            "it does not answer, and is doubted in time",
            &told,
            ("/status/conditions", reachable("False", "a")),
            true,
        ),
        (
            "it does not answer, in other words",
            &edited(&told, &[("/status/conditions", reachable("False", "a"))]),
            ("/status/conditions", reachable("False", "b")),
            false,
        ),
        (
            "it does not answer",
            &silent,
            ("/status/conditions", reachable("False", "a")),
            true,
        ),
        (
            "the newest date",
            &told,
            ("/status/revisionDate", json!("2026-01-01T00:00:00Z")),
            false,
        ),
        (
            "another manifest",
            &told,
            ("/metadata/generation", json!(2)),
            true,
        ),
        (
            "another version",
            &told,
            ("/metadata/resourceVersion", json!("9")),
            false,
        ),
    ];
    for (name, before, edit, expected) in cases {
        let now = edited(before, &[edit]);
        let concerned = fleet_plan::concerns(&world.mirror, before, &now);
        assert_eq!(concerned, expected, "{name}");
        let plan = |upstream: &Upstream| {
            let mut seen = world.observe();
            seen.upstream = Some(upstream.clone());
            seen.now = at("2026-01-02T10:30:00Z");
            fleet_plan::plan(&world.mirror, &seen)
        };
        assert!(concerned || plan(before) == plan(&now), "{name}");
    }
}
