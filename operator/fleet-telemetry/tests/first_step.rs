//! `increase` and `rate` see no step from no series to 1. So what alerts and dashboards take them of must be there, with
//! 0, before it counts the first time; else the first failure is never shown.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fleet_telemetry::{
    AnswerSource, ApiMetrics, BuildInfo, ControllerMetrics, Countable, Definition, FetchResult,
    FillMetrics, Kind, ObjectKey, OnDemand, PackageRegistryMetrics, QuestionResult, Registry, Run,
    RunPlace, ServerMetrics, ServerPlace, WorkerMetrics,
};
use fleet_types::Reason;
use fleet_types::documents::RunResult;
use fleet_types::gauges::{MirrorGauges, RegionGauges, UpstreamGauges};

/// All that has to do with traffic of one region of one Mirror.
struct World {
    registry: Registry,
    key: ObjectKey,
    controller: std::sync::Arc<ControllerMetrics>,
    api: std::sync::Arc<ApiMetrics>,
    run: std::sync::Arc<fleet_telemetry::RunProgress>,
    traffic: std::sync::Arc<fleet_telemetry::MirrorTraffic>,
    fill: std::sync::Arc<fleet_telemetry::FillCounts>,
    packages: std::sync::Arc<fleet_telemetry::RegistryTraffic>,
}

const COUNTABLE: Countable = Countable {
    kinds: &["Mirror", "Upstream"],
    errors: &[Reason::ApiError, Reason::CreationRefused],
    answers: &["serves", "unreachable"],
    prepares: true,
};

impl World {
    /// A fleet that is known, and of which nothing has been counted.
    fn quiet() -> World {
        let registry = Registry::new(&BuildInfo {
            version: "0.1.0".into(),
            revision: "abc".into(),
            role: "controller".into(),
        })
        .unwrap();
        let controller = ControllerMetrics::register(&registry).unwrap();
        controller.expect(COUNTABLE);
        controller.set_leading(true);
        let key = ObjectKey::new("mirrors", "debian");
        let region = RegionGauges {
            region: "eu".into(),
            ..RegionGauges::default()
        };
        let mirror = MirrorGauges {
            regions: vec![region],
            ..MirrorGauges::default()
        };
        controller.replace_mirror(&key, mirror);
        controller.replace_upstream(&key, UpstreamGauges::default());
        controller.watch_queue("Mirror", || 0);
        let worker = WorkerMetrics::register(&registry).unwrap();
        let place = RunPlace {
            namespace: "mirrors".into(),
            mirror: "debian".into(),
            region: "eu".into(),
        };
        let server = ServerPlace {
            namespace: "mirrors".into(),
            region: "eu".into(),
        };
        World {
            api: ApiMetrics::register(&registry).unwrap(),
            run: worker.begin(place, 1_700_000_000),
            fill: FillMetrics::register(&registry, server.clone())
                .unwrap()
                .mirror("debian"),
            packages: PackageRegistryMetrics::register(&registry, server.clone())
                .unwrap()
                .mirror("npm"),
            traffic: ServerMetrics::register(&registry, server)
                .unwrap()
                .mirror("debian"),
            controller,
            key,
            registry,
        }
    }

    /// Everything happens once.
    fn happen(&self) {
        for reason in Reason::ALL {
            for result in RunResult::of(*reason, COUNTABLE.prepares) {
                let run = Run {
                    result: *result,
                    reason: *reason,
                    seconds: 1.0,
                    bytes: 1,
                    files: 1,
                };
                self.controller.record_run(&self.key, "eu", run);
            }
        }
        self.controller.record_missed_runs(&self.key, 1);
        for answered in [true, false] {
            self.controller.record_probe(&self.key, answered);
        }
        for kind in COUNTABLE.kinds {
            for error in COUNTABLE.errors {
                self.controller.record_reconcile(kind, 1.0, Some(*error));
            }
        }
        for answer in COUNTABLE.answers {
            self.controller.record_pod_poll(answer);
        }
        self.controller.record_wait("Mirror", 1.0);
        for verb in ["get", "list", "watch", "create", "patch", "delete"] {
            for code in [Some(200), Some(201), Some(404), Some(409), Some(429), None] {
                self.api.record(verb, code, 1.0);
            }
        }
        self.run.add_received_bytes(1);
        self.run.add_received_file();
        for code in [200, 304, 404, 503] {
            self.traffic.begin();
            self.traffic.end(code, 1, 1.0);
        }
        for source in [OnDemand::Stored, OnDemand::Fetched, OnDemand::Nowhere] {
            self.traffic.on_demand(source);
        }
        for result in [
            FetchResult::Ok,
            FetchResult::Absent,
            FetchResult::Failed,
            FetchResult::Abandoned,
        ] {
            self.fill.fetched(result, 1);
        }
        self.fill.shared();
        self.fill.evicted(1, 1);
        for source in [
            AnswerSource::Ready,
            AnswerSource::Kept,
            AnswerSource::Fetched,
            AnswerSource::Stale,
            AnswerSource::Refused,
        ] {
            self.packages.answered(source);
        }
        for result in [
            QuestionResult::Changed,
            QuestionResult::Unchanged,
            QuestionResult::Absent,
            QuestionResult::Failed,
        ] {
            self.packages.asked(result);
        }
        self.packages.decided("held", "age");
        self.packages.evicted(1, 1);
    }

    /// The series of a metric, with their values.
    fn series(&self, metric: &Definition) -> BTreeSet<(String, String)> {
        let text = self.registry.render().unwrap();
        let of = |line: &&str| {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            name == metric.name
                || metric.kind == Kind::Histogram
                    && name
                        .strip_prefix(metric.name)
                        .is_some_and(|end| ["_bucket", "_sum", "_count"].contains(&end))
        };
        let parts = |line: &str| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.to_owned())
        };
        text.lines().filter(of).map(parts).collect()
    }
}

fn names(series: &BTreeSet<(String, String)>) -> BTreeSet<&str> {
    series.iter().map(|(name, _)| name.as_str()).collect()
}

/// What `increase` and `rate` are taken of, in alerts, in what they tell, and in panels.
fn watched() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files: Vec<PathBuf> = vec![root.join("monitoring/rules.yaml")];
    let boards = root.join("charts/mirrorfleet/files/monitoring/dashboards");
    files.extend(
        std::fs::read_dir(boards)
            .unwrap()
            .map(|entry| entry.unwrap().path()),
    );
    let mut found = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for function in ["increase(", "rate("] {
            for (at, _) in text.match_indices(function) {
                let rest = &text[at + function.len()..];
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                found.insert(rest[..end.unwrap_or(0)].to_owned());
            }
        }
    }
    found
}

#[test]
fn what_is_watched_by_its_growth_begins_with_0() {
    let known = [
        fleet_telemetry::api::ALL,
        fleet_telemetry::controller::ALL,
        fleet_telemetry::worker::ALL,
        fleet_telemetry::server::ALL,
        fleet_telemetry::fill::ALL,
        fleet_telemetry::package_registry::ALL,
    ]
    .concat();
    let watched = watched();
    assert!(watched.len() > 10, "{watched:?}");
    let world = World::quiet();
    let metrics: Vec<&Definition> = (watched.iter())
        .filter(|name| !name.starts_with("process_"))
        .map(|name| {
            let base = name.strip_suffix("_bucket").unwrap_or(name);
            let of = |metric: &&Definition| metric.name == name || metric.name == base;
            known
                .iter()
                .find(of)
                .unwrap_or_else(|| panic!("nobody exports {name}"))
        })
        .collect();
    let before: Vec<_> = metrics.iter().map(|metric| world.series(metric)).collect();
    world.happen();
    for (metric, before) in metrics.iter().zip(before) {
        let after = world.series(metric);
        let (is, was) = (names(&after), names(&before));
        let appeared: Vec<_> = is.difference(&was).collect();
        assert!(!is.is_empty() && appeared.is_empty(), "{appeared:?}");
        assert!(before.iter().all(|(_, value)| value == "0"), "{before:?}");
        assert!(after.iter().any(|(_, value)| value != "0"), "{after:?}");
    }
}

/// Series that nothing bounds would fill the memory of whoever scrapes them.
#[test]
fn a_region_has_some_hundred_series_of_runs_and_no_more() {
    let runs = World::quiet()
        .series(&fleet_telemetry::controller::SYNC_RUNS)
        .len();
    assert!((60..=120).contains(&runs), "{runs}");
}
