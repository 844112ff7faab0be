//! How far runs are, from the metrics of their pods, through the API server's own way to pods: no route of ours, no port
//! that somebody must open. Where that cannot be had, nothing is said.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet_api::labels;
use fleet_plan::build::METRICS_PORT;
use fleet_plan::summary::Progress;
use fleet_telemetry::RunFigures;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

/// How long one pod may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many are asked at once.
const AT_ONCE: usize = 16;

/// The progress of the runs in some namespaces, by namespace and Job.
pub async fn of_runs(
    client: &Client,
    namespaces: BTreeSet<String>,
) -> BTreeMap<String, BTreeMap<String, Progress>> {
    let mut pods = Vec::new();
    for namespace in namespaces {
        let selector = format!(
            "{}={},{}={}",
            labels::MANAGED_BY,
            labels::MANAGED_BY_VALUE,
            labels::COMPONENT,
            labels::COMPONENT_SYNC
        );
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let list = api.list(&ListParams::default().labels(&selector)).await;
        let found = list.map(|list| list.items).unwrap_or_default();
        pods.extend(found.into_iter().filter(runs).filter_map(|pod| {
            let job = pod.labels().get("batch.kubernetes.io/job-name")?.clone();
            Some((namespace.clone(), pod.name_any(), job))
        }));
    }
    let asked = pods.into_iter().map(|(namespace, pod, job)| async move {
        let progress = ask(client, &namespace, &pod).await;
        Some((namespace, job, progress?))
    });
    let told: Vec<_> = (futures::stream::iter(asked).buffer_unordered(AT_ONCE))
        .collect()
        .await;
    let mut all: BTreeMap<String, BTreeMap<String, Progress>> = BTreeMap::new();
    for (namespace, job, progress) in told.into_iter().flatten() {
        all.entry(namespace).or_default().insert(job, progress);
    }
    all
}

fn runs(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    status.is_some_and(|status| status.phase.as_deref() == Some("Running"))
}

async fn ask(client: &Client, namespace: &str, pod: &str) -> Option<Progress> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{METRICS_PORT}/proxy/metrics");
    let request = http::Request::get(path).body(Vec::new()).ok()?;
    let answer = tokio::time::timeout(PATIENCE, client.request_text(request)).await;
    parse(&answer.ok()?.ok()?)
}

/// What the metrics of one run say; none if there is no run.
fn parse(metrics: &str) -> Option<Progress> {
    RunFigures::parse(metrics).map(fleet_controller::progress)
}

#[cfg(test)]
mod tests {
    use fleet_telemetry::{BuildInfo, Registry, WorkerMetrics, worker};

    use super::*;

    #[test]
    fn what_a_run_exports_is_read_back() {
        let info = BuildInfo {
            version: "1".to_owned(),
            revision: String::new(),
            role: "sync".to_owned(),
        };
        let registry = Registry::new(&info).unwrap();
        let metrics = WorkerMetrics::register(&registry).unwrap();
        assert_eq!(parse(&registry.render().unwrap()), None);
        let run = metrics.begin(worker::RunPlace::default(), 1_767_225_600);
        run.set_phase("fetch");
        run.set_planned(7, 4096);
        run.add_received_bytes(1024);
        run.add_received_file();
        let told = parse(&registry.render().unwrap()).unwrap();
        assert_eq!(told.to_string(), "fetch 25% of 4.0 KiB");
        assert_eq!((told.planned_files, told.received_files), (7, 1));
    }

    #[test]
    fn what_is_no_metrics_page_tells_nothing() {
        for text in [
            "",
            "404 page not found",
            "<html>",
            "mirrorfleet_sync_phase_info",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
