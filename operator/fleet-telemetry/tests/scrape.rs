//! What a scraper sees: real output through a real listener, judged by Prometheus' own `promtool`.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

use fleet_telemetry::{
    AnswerSource, ApiMetrics, BuildInfo, ControllerMetrics, FetchResult, FillMetrics, Health,
    LAG_QUERY, ObjectKey, OnDemand, PackageRegistryMetrics, QuestionResult, Registry, Run,
    RunPlace, ServedSnapshot, ServerMetrics, ServerPlace, StoreHealth, WorkerMetrics, respond,
    serve_metrics,
};
use fleet_types::documents::RunResult;
use fleet_types::gauges::{
    CheckGauges, ConditionGauges, EndpointGauges, MirrorGauges, PublicationGauges, RegionGauges,
    RunGauges, UpstreamGauges,
};
use fleet_types::{ConditionStatus, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

fn registry() -> Registry {
    Registry::new(&BuildInfo {
        version: "0.1.0".into(),
        revision: "abc".into(),
        role: "local".into(),
    })
    .unwrap()
}

fn mirror(region: &str) -> MirrorGauges {
    MirrorGauges {
        upstream: Some("debian-org".into()),
        regions: vec![RegionGauges {
            region: region.into(),
            withdrawn: Some(Some(1_700_000_400)),
            superseded: Some(Some(1_700_000_000)),
            snapshot: Some("ab".repeat(32)),
            created: Some(1_600_000_000),
            last_success: Some(1_700_000_100),
            last_run: Some(RunGauges {
                reason: Reason::SignatureBad,
                finished_at: 1_700_000_200,
                seconds: Some(12.0),
                bytes: Some(3000),
                files: Some(4),
            }),
            consecutive_failures: 2,
            index_valid_until: vec![("trixie-updates".into(), 1_700_600_000)],
            clock_skew: Some(-7),
            storage_used_bytes: Some(10),
            storage_capacity_bytes: Some(100),
        }],
        freshness_objective: Some(7200),
        next_run: Some(1_700_003_600),
        sync_interval: Some(14_400),
        publication: Some(PublicationGauges {
            epoch: 7,
            preparing: Some(1_700_000_500),
            trial: Some(1_700_000_550),
            halted: None,
            waiting_regions: 2,
        }),
        conditions: vec![
            condition("Ready", ConditionStatus::True, Reason::Ready),
            condition("Fresh", ConditionStatus::False, Reason::Stale),
        ],
    }
}

fn checks() -> CheckGauges {
    CheckGauges {
        checks: 2880,
        completion: 0.5,
        delay: Some(1800.0),
        duration_avg: Some(0.25),
        duration_stddev: Some(0.125),
        score: Some(1.75),
    }
}

fn condition(kind: &str, status: ConditionStatus, reason: Reason) -> ConditionGauges {
    ConditionGauges {
        kind: kind.into(),
        status,
        reason: Some(reason),
        since: Some(1_700_000_300),
    }
}

fn upstream() -> UpstreamGauges {
    UpstreamGauges {
        revision: vec![("trixie".into(), 1_700_000_000)],
        key_expiry: Some(1_800_000_000),
        endpoints: vec![EndpointGauges {
            endpoint: "fr".into(),
            reachable: Some(true),
            revision: Some(1_690_000_000),
            superseded: Some(Some(1_700_000_100)),
        }],
        conditions: vec![condition(
            "Reachable",
            ConditionStatus::Unknown,
            Reason::NotProbed,
        )],
    }
}

/// The lines of `text` that hold all of `parts`.
fn lines<'t>(text: &'t str, parts: &[&str]) -> Vec<&'t str> {
    let holds = |line: &&str| parts.iter().all(|part| line.contains(part));
    text.lines().filter(holds).collect()
}

fn run() -> Run {
    Run {
        result: RunResult::Published,
        reason: Reason::Published,
        seconds: 12.5,
        bytes: 30_000_000,
        files: 40,
    }
}

/// A registry in which every metric of every role has a value.
fn full() -> Registry {
    let registry = registry();
    let key = ObjectKey::new("mirrors", "debian");
    let controller = ControllerMetrics::register(&registry).unwrap();
    controller.set_leading(true);
    controller.replace_mirror(&key, mirror("eu-1"));
    controller.replace_checks(&key, "eu-1", Some(checks()));
    controller.record_run(&key, "eu-1", run());
    controller.record_missed_runs(&key, 2);
    controller.record_reconcile("Mirror", 0.002, Some(Reason::ApiError));
    controller.watch_queue("Mirror", || 3);
    controller.record_wait("Mirror", 0.2);
    controller.record_pod_poll("serves");
    controller.replace_upstream(&key, upstream());
    controller.record_probe(&key, true);
    let api = ApiMetrics::register(&registry).unwrap();
    api.record("list", Some(200), 0.01);
    let worker = WorkerMetrics::register(&registry).unwrap();
    let place = RunPlace {
        namespace: "mirrors".into(),
        mirror: "debian".into(),
        region: "eu-1".into(),
    };
    worker.begin(place, 1_700_000_000).set_planned(3, 4);
    let server = ServerMetrics::register(
        &registry,
        ServerPlace {
            namespace: "mirrors".into(),
            region: "eu-1".into(),
        },
    )
    .unwrap();
    let traffic = server.mirror("debian");
    traffic.begin();
    traffic.end(206, 1000, 0.001);
    traffic.on_demand(OnDemand::Fetched);
    let place = ServerPlace {
        namespace: "mirrors".into(),
        region: "eu-1".into(),
    };
    let fill = FillMetrics::register(&registry, place)
        .unwrap()
        .mirror("debian");
    fill.fetched(FetchResult::Ok, 1000);
    fill.shared();
    fill.evicted(1, 1000);
    fill.set_cached(1000);
    fill.keeping().not_kept(1_700_000_000);
    traffic.set_served(Some(ServedSnapshot {
        id: "ab".repeat(32),
        published: Some(1_700_000_000),
    }));
    traffic.set_health(StoreHealth {
        damaged_blobs: 1,
        scrubbed_at: Some(1_700_000_000),
    });
    let place = ServerPlace {
        namespace: "mirrors".into(),
        region: "eu-1".into(),
    };
    let packages = PackageRegistryMetrics::register(&registry, place).unwrap();
    let traffic = packages.mirror("npm");
    traffic.answered(AnswerSource::Stale);
    traffic.asked(QuestionResult::Failed);
    traffic.decided("held", "age");
    traffic.set_blocked(Some(1_700_000_000));
    traffic.opens_at(1_700_000_000, 0);
    traffic.evicted(1, 1000);
    traffic.set_cached(1000);
    traffic.keeping().not_kept(1_700_000_000);
    registry
}

fn promtool(arguments: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is needed (Debian package prometheus)");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

#[test]
fn promtool_finds_nothing_to_object_to_and_every_metric_is_there() {
    let text = full().render().unwrap();
    let (clean, objections) = promtool(&["check", "metrics"], &text);
    assert!(clean && objections.is_empty(), "{objections}");
    for definition in [
        fleet_telemetry::process::ALL,
        fleet_telemetry::api::ALL,
        fleet_telemetry::controller::ALL,
        fleet_telemetry::worker::ALL,
        fleet_telemetry::server::ALL,
        fleet_telemetry::package_registry::ALL,
        fleet_telemetry::fill::ALL,
    ]
    .concat()
    {
        let line = format!("# TYPE {} {}", definition.name, definition.kind.as_str());
        assert!(text.contains(&line), "no {line}");
    }
    assert!(
        text.contains(
            "mirrorfleet_build_info{revision=\"abc\",role=\"local\",version=\"0.1.0\"} 1"
        ),
        "{text}"
    );
}

#[test]
fn a_registry_tells_where_its_answers_came_from_and_when_the_next_version_opens() {
    let registry = registry();
    let packages = PackageRegistryMetrics::register(&registry, ServerPlace::default()).unwrap();
    let traffic = packages.mirror("npm");
    traffic.answered(AnswerSource::Ready);
    traffic.opens_at(50, 10);
    traffic.opens_at(40, 10);
    traffic.opens_at(60, 45);
    let text = registry.render().unwrap();
    for line in [
        "mirrorfleet_registry_answers_total{mirror=\"npm\",source=\"ready\"} 1",
        "mirrorfleet_registry_answers_total{mirror=\"npm\",source=\"refused\"} 0",
        "mirrorfleet_registry_upstream_requests_total{mirror=\"npm\",result=\"changed\"} 0",
        "mirrorfleet_registry_next_opening_timestamp_seconds{mirror=\"npm\"} 60",
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
    assert!(
        !text.contains("mirrorfleet_registry_upstream_blocked"),
        "{text}"
    );
    packages.keep_only(&[""; 0]);
    assert!(!registry.render().unwrap().contains("npm"));
}

#[test]
fn what_is_true_of_a_mirror_and_an_upstream_is_told_as_it_is() {
    let text = full().render().unwrap();
    let region = "mirror=\"debian\",namespace=\"mirrors\",region=\"eu-1\"";
    let upstream = "namespace=\"mirrors\"";
    for line in [
        format!("mirrorfleet_region_freshness_objective_seconds{{{region}}} 7200"),
        "mirrorfleet_sync_last_run_info{mirror=\"debian\",namespace=\"mirrors\",reason=\"SignatureBad\",region=\"eu-1\"} 1".into(),
        format!("mirrorfleet_region_created_timestamp_seconds{{{region}}} 1600000000"),
        format!("mirrorfleet_sync_last_run_finished_timestamp_seconds{{{region}}} 1700000200"),
        format!("mirrorfleet_sync_last_run_duration_seconds{{{region}}} 12"),
        format!("mirrorfleet_sync_last_run_fetched_bytes{{{region}}} 3000"),
        format!("mirrorfleet_sync_last_run_fetched_files{{{region}}} 4"),
        format!("mirrorfleet_sync_consecutive_failures{{{region}}} 2"),
        format!("mirrorfleet_region_checks{{{region}}} 2880"),
        format!("mirrorfleet_region_check_completion_ratio{{{region}}} 0.5"),
        format!("mirrorfleet_region_check_delay_seconds{{{region}}} 1800"),
        format!("mirrorfleet_region_check_duration_mean_seconds{{{region}}} 0.25"),
        format!("mirrorfleet_region_check_duration_stddev_seconds{{{region}}} 0.125"),
        format!("mirrorfleet_region_score{{{region}}} 1.75"),
        "mirrorfleet_sync_interval_seconds{mirror=\"debian\",namespace=\"mirrors\"} 14400".into(),
        "mirrorfleet_mirror_condition_last_transition_timestamp_seconds{mirror=\"debian\",namespace=\"mirrors\",type=\"Fresh\"} 1700000300".into(),
        format!(
            "mirrorfleet_upstream_key_expiry_timestamp_seconds{{{upstream},upstream=\"debian\"}} 1800000000"
        ),
        format!("mirrorfleet_upstream_endpoint_reachable{{endpoint=\"fr\",{upstream},upstream=\"debian\"}} 1"),
        format!(
            "mirrorfleet_upstream_endpoint_revision_timestamp_seconds{{endpoint=\"fr\",{upstream},upstream=\"debian\"}} 1690000000"
        ),
        format!(
            "mirrorfleet_upstream_endpoint_superseded_timestamp_seconds{{endpoint=\"fr\",{upstream},upstream=\"debian\"}} 1700000100"
        ),
        format!(
            "mirrorfleet_upstream_probes_total{{{upstream},result=\"answered\",upstream=\"debian\"}} 1"
        ),
        format!("mirrorfleet_mirror_info{{mirror=\"debian\",{upstream},upstream=\"debian-org\"}} 1"),
        "mirrorfleet_queue_depth{kind=\"Mirror\"} 3".into(),
        "mirrorfleet_queue_wait_seconds_sum{kind=\"Mirror\"} 0.2".into(),
        "mirrorfleet_pod_polls_total{answer=\"serves\"} 1".into(),
        "mirrorfleet_api_requests_total{code=\"200\",verb=\"list\"} 1".into(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
    }
}

/// The reason stands with the status that it is the reason of; when either changes, no series of before stays.
#[test]
fn a_condition_has_one_series_for_each_status_and_the_present_one_has_the_reason() {
    let registry = registry();
    let metrics = ControllerMetrics::register(&registry).unwrap();
    metrics.set_leading(true);
    let key = ObjectKey::new("mirrors", "debian");
    let told = |fresh: ConditionGauges| {
        let state = MirrorGauges {
            conditions: vec![fresh],
            ..mirror("eu-1")
        };
        metrics.replace_mirror(&key, state);
        let text = registry.render().unwrap();
        let found = lines(&text, &["mirrorfleet_mirror_condition{"]).into_iter();
        found.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let series = |status: &str, reason: &str, value: u8| {
        let reason = match reason {
            "" => String::new(),
            reason => format!("reason=\"{reason}\","),
        };
        format!(
            "mirrorfleet_mirror_condition{{mirror=\"debian\",namespace=\"mirrors\",{reason}status=\"{status}\",type=\"Fresh\"}} {value}"
        )
    };
    let stale = condition("Fresh", ConditionStatus::False, Reason::Stale);
    let wanted = [
        series("True", "", 0),
        series("False", "Stale", 1),
        series("Unknown", "", 0),
    ];
    assert_eq!(told(stale), BTreeSet::from(wanted));
    let fresh = condition("Fresh", ConditionStatus::True, Reason::Fresh);
    let wanted = [
        series("True", "Fresh", 1),
        series("False", "", 0),
        series("Unknown", "", 0),
    ];
    assert_eq!(told(fresh), BTreeSet::from(wanted));
}

#[test]
fn prometheus_itself_computes_the_lag_from_the_documented_query() {
    let directory = std::env::temp_dir().join(format!("fleet-telemetry-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let series = "mirrorfleet_region_superseded_timestamp_seconds";
    let rules =
        format!("groups: [{{name: lag, rules: [{{record: 'lag', expr: '{LAG_QUERY}'}}]}}]\n");
    let test = format!(
        "rule_files: [rules.yaml]\nevaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n  - {{series: '{series}{{region=\"current\"}}', values: '0x10'}}\n  - {{series: '{series}{{region=\"behind\"}}', values: '120x10'}}\n  promql_expr_test:\n  - expr: lag\n    eval_time: 10m\n    exp_samples:\n    - {{labels: 'lag{{region=\"current\"}}', value: 0}}\n    - {{labels: 'lag{{region=\"behind\"}}', value: 480}}\n"
    );
    std::fs::write(directory.join("rules.yaml"), rules).unwrap();
    let file = directory.join("test.yaml");
    std::fs::write(&file, test).unwrap();
    let (good, text) = promtool(&["test", "rules", file.to_str().unwrap()], "");
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(good, "{text}");
}

#[test]
fn a_deleted_mirror_and_a_removed_region_lose_all_their_series() {
    let registry = registry();
    let metrics = ControllerMetrics::register(&registry).unwrap();
    metrics.set_leading(true);
    let (debian, other) = (
        ObjectKey::new("mirrors", "debian"),
        ObjectKey::new("mirrors", "other"),
    );
    for key in [&debian, &other] {
        metrics.replace_mirror(key, mirror("eu-1"));
        metrics.record_run(key, "eu-1", run());
        metrics.replace_checks(key, "eu-1", Some(checks()));
    }
    metrics.replace_mirror(&debian, mirror("us-1"));
    let text = registry.render().unwrap();
    assert!(
        !text
            .lines()
            .any(|line| line.contains("mirror=\"debian\"") && line.contains("region=\"eu-1\"")),
        "{text}"
    );
    metrics.replace_upstream(&debian, upstream());
    metrics.record_probe(&debian, false);
    assert!(lines(&registry.render().unwrap(), &["upstream=\"debian\""]).len() > 4);
    metrics.remove_upstream(&debian);
    metrics.remove_mirror(&debian);
    // What was checked before it went is told after.
    metrics.replace_checks(&debian, "us-1", Some(checks()));
    let text = registry.render().unwrap();
    assert!(!text.contains("\"debian\""), "{text}");
    assert!(text.contains(
        "mirrorfleet_sync_runs_total{mirror=\"other\",namespace=\"mirrors\",reason=\"Published\",region=\"eu-1\",result=\"Published\"} 1"
    ));
}

#[test]
fn a_standby_exports_nothing_of_the_fleet() {
    let registry = registry();
    let metrics = ControllerMetrics::register(&registry).unwrap();
    metrics.replace_mirror(&ObjectKey::new("mirrors", "debian"), mirror("eu-1"));
    metrics.record_reconcile("Mirror", 0.1, None);
    let text = registry.render().unwrap();
    let ours: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("mirrorfleet_"))
        .collect();
    assert_eq!(ours.len(), 2, "{ours:?}");
    assert!(ours.contains(&"mirrorfleet_controller_leader 0"));
}

#[test]
fn what_is_unknown_has_no_series() {
    let registry = registry();
    let metrics = ControllerMetrics::register(&registry).unwrap();
    metrics.set_leading(true);
    let state = MirrorGauges {
        regions: vec![RegionGauges {
            region: "eu-1".into(),
            ..RegionGauges::default()
        }],
        ..MirrorGauges::default()
    };
    metrics.replace_mirror(&ObjectKey::new("", "debian"), state.clone());
    metrics.replace_upstream(&ObjectKey::new("", "debian"), UpstreamGauges::default());
    let text = registry.render().unwrap();
    for unknown in [
        "mirrorfleet_region_",
        "_last_run_",
        "_interval_",
        "_upstream_revision_",
        "_upstream_key_",
        "_upstream_condition",
    ] {
        assert!(!text.contains(unknown), "{unknown}: {text}");
    }
    let mut current = state;
    current.regions[0].superseded = Some(None);
    metrics.replace_mirror(&ObjectKey::new("", "debian"), current);
    let text = registry.render().unwrap();
    let line =
        "mirrorfleet_region_superseded_timestamp_seconds{mirror=\"debian\",region=\"eu-1\"} 0\n";
    assert!(
        text.contains(line),
        "an empty namespace is no label: {text}"
    );
}

#[test]
fn the_series_of_a_run_end_with_it() {
    let registry = registry();
    let metrics = WorkerMetrics::register(&registry).unwrap();
    let place = RunPlace {
        mirror: "debian".into(),
        ..RunPlace::default()
    };
    let progress = metrics.begin(place.clone(), 1_700_000_000);
    progress.set_phase("fetch");
    progress.add_received_bytes(5);
    progress.add_received_file();
    let text = registry.render().unwrap();
    assert!(
        text.contains("mirrorfleet_sync_phase_info{mirror=\"debian\",phase=\"fetch\"} 1"),
        "{text}"
    );
    assert!(
        text.contains("mirrorfleet_sync_received_bytes_total{mirror=\"debian\"} 5"),
        "{text}"
    );
    metrics.end(&place);
    assert!(!registry.render().unwrap().contains("debian"));
}

async fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    ask(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    )
    .await
}

#[tokio::test]
async fn the_listener_answers_its_paths_and_ends_when_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (health, ready) = Health::switch("the cache is not filled yet");
    let shutdown = CancellationToken::new();
    let extra: fleet_telemetry::ExtraRoutes = std::sync::Arc::new(|head| {
        Box::pin(async move {
            (head.uri.path() == "/extra")
                .then(|| respond(http::StatusCode::OK, "application/json", "{}"))
        })
    });
    let server = tokio::spawn(serve_metrics(
        listener,
        full(),
        health,
        Some(extra),
        shutdown.clone(),
    ));

    let metrics = get(address, "/metrics").await;
    assert!(
        metrics.starts_with("HTTP/1.1 200 ") && metrics.contains("text/plain; version=0.0.4"),
        "{metrics}"
    );
    assert!(metrics.contains("mirrorfleet_region_superseded_timestamp_seconds{"));
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 "));
    let unready = get(address, "/readyz").await;
    assert!(
        unready.starts_with("HTTP/1.1 503 ") && unready.contains("the cache is not filled yet"),
        "{unready}"
    );
    ready.store(true, Ordering::Release);
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200 "));
    assert!(get(address, "/extra").await.ends_with("{}"));
    assert!(get(address, "/else").await.starts_with("HTTP/1.1 404 "));
    let refused = ask(
        address,
        "POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(
        refused.starts_with("HTTP/1.1 405 ") && refused.contains("GET, HEAD"),
        "{refused}"
    );

    shutdown.cancel();
    server.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
