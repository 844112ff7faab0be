//! `mirrorfleet logs`.

use clap_complete::ArgValueCandidates;
use fleet_api::{Mirror, labels};
use fleet_types::Outcome;
use futures::stream::{BoxStream, StreamExt, select_all};
use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams, LogParams};

use super::{Cluster, Target, ask, complete, failure};
use crate::failure::Failure;
use crate::report::print;
use crate::runtime::LogArguments;

/// Prints the log of a Mirror's syncs, or of its servers
///
/// Of the sync that runs, or of the last one if that failed: one that succeeded takes its log with it. Lines of several
/// pods begin with their region.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Only of this region
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(complete::regions))]
    region: Option<String>,
    /// Of the pods that serve clients
    #[arg(long)]
    serving: bool,
    /// Go on printing what comes, until interrupted
    #[arg(short = 'f', long)]
    follow: bool,
    /// Begin with the last so many lines of each pod [default: with the first]
    #[arg(long, value_name = "LINES")]
    tail: Option<u32>,
    /// Of the container before the one that runs: why it ended
    #[arg(short = 'p', long)]
    previous: bool,
}

pub fn run(arguments: Arguments, log: &LogArguments) -> Result<Outcome, Failure> {
    ask(
        &arguments.target.cluster,
        log,
        arguments.follow,
        async |cluster| tell(cluster, &arguments).await,
    )
}

async fn tell(cluster: &Cluster, arguments: &Arguments) -> Result<Outcome, Failure> {
    let scope = arguments.target.scope(cluster);
    let mirrors = scope.mirrors(&cluster.client).await?;
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let pods = pods(&api, arguments).await?;
    if pods.is_empty() {
        let told = mirrors.iter().flat_map(|mirror| nothing(mirror, arguments));
        told.for_each(|line| eprintln!("{line}"));
        return Ok(Outcome::Good);
    }
    let parameters = LogParams {
        follow: arguments.follow,
        tail_lines: arguments.tail.map(i64::from),
        previous: arguments.previous,
        ..LogParams::default()
    };
    let several = pods.len() > 1;
    let mut streams: Vec<BoxStream<Result<String, std::io::Error>>> = Vec::new();
    for (region, pod) in pods {
        let lines = api.log_stream(&pod, &parameters).await.map_err(failure)?;
        let lines = lines.lines().map_ok(move |line| match several {
            true => format!("{region}: {line}\n"),
            false => format!("{line}\n"),
        });
        streams.push(lines.boxed());
    }
    // What goes on is told as it comes; what is over, one pod after the other.
    let mut lines = match arguments.follow {
        true => select_all(streams).boxed(),
        false => futures::stream::iter(streams).flatten().boxed(),
    };
    while let Some(line) = lines.next().await {
        let line = line.map_err(|error| Failure::output("the log", error))?;
        print(&line)?;
    }
    Ok(Outcome::Good)
}

/// The pods in question with their region, in the order of regions and of time.
async fn pods(api: &Api<Pod>, arguments: &Arguments) -> Result<Vec<(String, String)>, Failure> {
    let component = match arguments.serving {
        true => labels::COMPONENT_SERVING,
        false => labels::COMPONENT_SYNC,
    };
    let mut selector = format!(
        "{}={},{}={component}",
        labels::MIRROR,
        arguments.target.mirror,
        labels::COMPONENT
    );
    if let Some(region) = &arguments.region {
        selector = format!("{selector},{}={region}", labels::REGION);
    }
    let list = api.list(&ListParams::default().labels(&selector)).await;
    let mut pods = list.map_err(failure)?.items;
    let region = |pod: &Pod| {
        pod.labels()
            .get(labels::REGION)
            .cloned()
            .unwrap_or_default()
    };
    pods.sort_by_key(|pod| (region(pod), pod.creation_timestamp(), pod.name_any()));
    Ok(pods
        .iter()
        .map(|pod| (region(pod), pod.name_any()))
        .collect())
}

/// Why there is no log.
fn nothing(mirror: &Mirror, arguments: &Arguments) -> Vec<String> {
    if arguments.serving {
        return vec![format!("no pod serves {}", mirror.name_any())];
    }
    let status = mirror.status.clone().unwrap_or_default();
    let meant = |region: &str| {
        arguments
            .region
            .as_deref()
            .is_none_or(|name| name == region)
    };
    let replicas = status.replicas().filter(|(region, _)| meant(&region.name));
    let lines: Vec<String> = replicas
        .map(|(region, replica)| match &replica.last_attempt {
            Some(last) => format!(
                "region {}: no sync runs, and the last one ({} at {}) left no log",
                region.name, last.reason, last.finished_at.0
            ),
            None => format!("region {}: no sync has run yet", region.name),
        })
        .collect();
    match lines.is_empty() {
        true => vec![format!("no sync of {} has run yet", mirror.name_any())],
        false => lines,
    }
}
