use fleet_api::Trigger;
use fleet_api::upstream::EndpointState;
use fleet_plan::summary::{EndpointSummary, Progress};

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn program() -> Program {
    Program {
        name: "mirrorfleet".to_owned(),
        cluster: Vec::new(),
    }
}

fn region(name: &str, state: RegionState) -> RegionSummary {
    RegionSummary {
        region: name.to_owned(),
        state,
        ready: true,
        replicas: None,
        lag: Lag::Current,
        behind_since: None,
        behind_seconds: None,
        snapshot: Some("ab".repeat(32)),
        has_content: true,
        url: Some("http://debian.ns.svc/debian/".to_owned()),
        last_success: Some(at("2026-01-01T11:48:00Z")),
        failures: 0,
        run: None,
    }
}

fn mirror(name: &str, regions: Vec<RegionSummary>) -> MirrorSummary {
    MirrorSummary {
        namespace: "mirrors".to_owned(),
        mirror: name.to_owned(),
        upstream: "debian".to_owned(),
        state: "Serving".to_owned(),
        well: true,
        outcome: fleet_types::Outcome::Good,
        exit_code: 0,
        objective_seconds: 21_600,
        snapshot: None,
        next_sync: Some(at("2026-01-01T15:17:00Z")),
        regions,
        list: None,
        endpoints: Vec::new(),
        problems: Vec::new(),
        held: Vec::new(),
    }
}

/// A fleet with all that there is to show.
fn fleet() -> Vec<MirrorSummary> {
    let mut late = region("us-1", RegionState::Stale);
    late.lag = Lag::Behind;
    late.behind_since = Some(at("2026-01-01T02:50:00Z"));
    late.behind_seconds = Some(33_000);
    late.last_success = Some(at("2026-01-01T02:48:00Z"));
    late.run = Some(RunSummary {
        job: "debian-us-1-0".to_owned(),
        trigger: Trigger::Retry,
        retry: 2,
        started_at: at("2026-01-01T11:55:00Z"),
        progress: Some(Progress {
            phase: "fetch".to_owned(),
            planned_bytes: 1_288_490_189,
            received_bytes: 559_000_000,
            planned_files: 900,
            received_files: 300,
        }),
    });
    let mut debian = mirror("debian", vec![region("eu-1", RegionState::Serving), late]);
    debian.well = false;
    debian.problems.push(Note {
        reason: Reason::Stale,
        since: Some(at("2026-01-01T02:50:00Z")),
        message: "region us-1 has been behind the authority since 2026-01-01T02:50:00Z, longer than spec.freshness.objective (6h); the last sync of region us-1 failed: UpstreamUnreachable: mirrors.kernel.org does not answer: connection refused by 192.0.2.1 port 443, and again by 192.0.2.2 port 443 after three tries".to_owned(),
    });
    let endpoint = |name: &str, state| EndpointSummary {
        endpoint: name.to_owned(),
        state,
        since: at("2026-01-01T00:00:00Z"),
        message: String::new(),
        revision_date: None,
        behind_since: None,
        behind: Vec::new(),
    };
    debian.endpoints = vec![
        endpoint("fr", EndpointState::Reachable),
        EndpointSummary {
            message: "nothing could be read there".to_owned(),
            ..endpoint("nl", EndpointState::Unreachable)
        },
        EndpointSummary {
            behind_since: Some(at("2026-01-01T06:00:00Z")),
            behind: vec!["trixie".to_owned()],
            ..endpoint("us", EndpointState::Reachable)
        },
    ];
    let mut ubuntu = mirror("ubuntu", vec![region("eu-1", RegionState::Serving)]);
    ubuntu.next_sync = None;
    ubuntu.held.push(Note {
        reason: Reason::Suspended,
        since: None,
        message: "spec.suspend stops new syncs; what is served stays served".to_owned(),
    });
    let mut first = region("eu-1", RegionState::Syncing);
    first.lag = Lag::Unknown;
    first.last_success = None;
    first.snapshot = None;
    first.run = Some(RunSummary {
        job: "new-eu-1-0".to_owned(),
        trigger: Trigger::First,
        retry: 0,
        started_at: at("2026-01-01T11:55:00Z"),
        progress: None,
    });
    let mut new = mirror("new", vec![first]);
    new.well = false;
    new.problems.push(Note {
        reason: Reason::FirstSyncRunning,
        since: Some(at("2026-01-01T11:54:50Z")),
        message: "region eu-1: the first sync runs as Job new-eu-1-0".to_owned(),
    });
    vec![debian, mirror("empty", Vec::new()), ubuntu, new]
}

fn page(program: &Program) -> Page<'_> {
    Page {
        everywhere: false,
        wide: false,
        colours: Colours::NONE,
        program,
        now: at("2026-01-01T12:00:00Z"),
    }
}

#[test]
fn the_fleet_is_read_at_a_glance() {
    let program = program();
    let text = page(&program).render(&fleet());
    let wanted = "\
MIRROR  REGION  STATE    LAG/OBJECTIVE  SYNCED     NEXT      RUNS NOW
debian  eu-1    Serving  0/6h           12m ago    in 3h17m
        us-1    Stale    9h10m/6h       9h12m ago  in 3h17m  fetch 43% of 1.2 GiB
  ! Stale, for 9h10m: region us-1 has been behind the authority since 2026-01-01T02:50:00Z, longer
    than spec.freshness.objective (6h); the last sync of region us-1 failed: UpstreamUnreachable:
    mirrors.kernel.org does not answer: connection refused by 192.0.2.1 port 443, and again by …
  · endpoint nl: does not answer for 12h: nothing could be read there
  · endpoint us: behind the authority for 6h (trixie)
empty   -       -
ubuntu  eu-1    Serving  0/6h           12m ago    -
  - Suspended: spec.suspend stops new syncs; what is served stays served
new     eu-1    Syncing  unknown        never      in 3h17m  sync, for 5m
  ~ FirstSyncRunning, for 5m: region eu-1: the first sync runs as Job new-eu-1-0
2 of 4 Mirrors are not well: `mirrorfleet why debian -n mirrors` tells what to do
";
    assert_eq!(text, wanted);
}

#[test]
fn a_page_has_a_hundred_columns_whatever_the_names() {
    let program = program();
    let long = "a-name-that-is-as-long-as-names-may-be-in-kubernetes-sixty-three";
    let mut fleet = fleet();
    for mirror in &mut fleet {
        mirror.mirror = format!("{long}-{}", mirror.mirror);
        mirror.namespace = long.to_owned();
        for region in &mut mirror.regions {
            region.region = long.to_owned();
        }
    }
    let narrow = Page {
        everywhere: true,
        ..page(&program)
    };
    let rows = narrow.head_and_rows(&fleet, true);
    for line in rows.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    let wide = Page {
        wide: true,
        ..narrow
    }
    .render(&fleet);
    for words in [
        long,
        "port 443 after three tries",
        "abababababab",
        "http://debian.ns.svc/",
    ] {
        assert!(wide.contains(words), "{words}: {wide}");
    }
}

#[test]
fn a_single_mirror_that_is_well_says_so() {
    let program = program();
    let text = page(&program).render(&[mirror("debian", vec![region("a", RegionState::Serving)])]);
    assert!(text.ends_with("\n1 Mirror is well\n"), "{text}");
}
