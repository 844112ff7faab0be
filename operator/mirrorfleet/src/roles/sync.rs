//! `mirrorfleet sync`: one run of one Mirror; what a sync Job runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use fleet_store::SnapshotId;
use fleet_sync::{Follow, Progress, Publishing, SyncOptions};
use fleet_telemetry::{Health, RunPlace, WorkerMetrics, serve_metrics};
use fleet_types::documents::{IndexPin, UnixSeconds};
use fleet_types::{Accepted, Order, Outcome, Sha256};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::arguments::{
    DataArguments, ManifestArguments, PlaceArguments, ReferenceArguments, leave_behind,
};
use crate::failure::Failure;
use crate::manifests::Manifests;
use crate::progress::{Both, Display, Metered};
use crate::report::{OutputFormat, not_begun, print_plan, print_run};
use crate::resolve::Resolver;
use crate::roles::plan::nothing_planned;
use crate::roles::serve::registry;
use crate::runtime::{LogArguments, Verbosity, bind, block_on_one, now, system};

/// Syncs one Mirror once; what a sync Job runs
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    manifests: ManifestArguments,
    #[command(flatten)]
    data: DataArguments,
    /// Name of the Mirror
    #[arg(long, value_name = "NAME")]
    mirror: String,
    /// Tell what a run would do, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// How to print the report
    #[arg(short = 'o', long, value_enum, default_value = "text")]
    output: OutputFormat,
    #[command(flatten)]
    follow: FollowArguments,
    #[command(flatten)]
    pod: PodArguments,
}

/// What a run needs that copies from another mirror of ours instead of asking the upstream.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Following another mirror")]
struct FollowArguments {
    /// Copy a snapshot of this mirror from here: the address of a `--follow-listen` with `/.mirrorfleet/follow/NAME`. The upstream is not asked, and no key nor login is needed. May be given several times; they are tried in order
    #[arg(long, value_name = "URL", value_parser = source, requires_all = ["snapshot", "index"], conflicts_with_all = ["dry_run", "refs"])]
    follow: Vec<Url>,
    /// The id of the snapshot to copy
    #[arg(long, value_name = "ID", requires = "follow")]
    snapshot: Option<Sha256>,
    /// Its index file, as `sha256:DIGEST:SIZE`: `index` of `mirrorfleet snapshots NAME -o json` where the copy comes from
    #[arg(long, value_name = "PIN", requires = "follow")]
    index: Option<IndexPin>,
    /// When the mirror that asks the upstream last found nothing newer there, as RFC 3339; freshness and trace say this [default: when the snapshot was made]
    #[arg(long, value_name = "TIME", requires = "follow")]
    confirmed: Option<jiff::Timestamp>,
    /// What the trace calls the mirror that is copied from [default: the host of the first URL]
    #[arg(long, value_name = "NAME", requires = "follow")]
    followed: Option<String>,
}

impl FollowArguments {
    /// None of a run that asks the upstream.
    fn follow(&self) -> Option<(Follow, &[Url])> {
        let first = self.follow.first()?;
        let host = || first.host_str().unwrap_or("localhost").to_owned();
        let follow = Follow {
            snapshot: SnapshotId(self.snapshot?),
            index: self.index?,
            confirmed: self.confirmed.map(|at| UnixSeconds(at.as_second())),
            name: self.followed.clone().unwrap_or_else(host),
        };
        Some((follow, &self.follow))
    }
}

fn source(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("{error}"))?;
    match url.scheme() {
        "http" | "https" if url.query().is_none() && url.fragment().is_none() => Ok(url),
        "http" | "https" => Err("a URL to copy from has neither a query nor a fragment".to_owned()),
        other => Err(format!("{other} is not supported; use http or https")),
    }
}

/// What only a Job needs.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "As a Job")]
struct PodArguments {
    #[command(flatten)]
    mounted: ReferenceArguments,
    /// Serve metrics of the run here
    #[arg(long, value_name = "ADDR", hide_short_help = true)]
    metrics_listen: Option<SocketAddr>,
    /// Write the report to this file too, in at most 2 KiB
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    termination_message: Option<PathBuf>,
    /// The newest state of each suite that was ever accepted, as a JSON list of marks
    #[arg(long, value_name = "JSON", value_parser = high_water, hide_short_help = true)]
    high_water: Option<HighWater>,
    /// Blobs that the serving pod found damaged, as a JSON list of SHA-256 digests; they are fetched again
    #[arg(long, value_name = "JSON", value_parser = blobs, hide_short_help = true)]
    damaged: Option<Blobs>,
    /// Publish nothing: whoever started the run tells servers what to serve
    #[arg(long, hide_short_help = true)]
    prepare_only: bool,
    /// What servers were told to serve, as `EPOCH ID`; the store remembers it as served
    #[arg(
        long,
        value_name = "ORDER",
        requires = "prepare_only",
        hide_short_help = true
    )]
    serve: Option<Order>,
    /// Ids of snapshots that are given up in no case, as a JSON list
    #[arg(long, value_name = "JSON", value_parser = blobs, requires = "prepare_only", hide_short_help = true)]
    keep: Option<Blobs>,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, Clone, Default)]
struct HighWater(Vec<Accepted>);

fn high_water(text: &str) -> Result<HighWater, String> {
    serde_json::from_str(text)
        .map(HighWater)
        .map_err(|error| error.to_string())
}

#[derive(Debug, Clone, Default)]
struct Blobs(Vec<Sha256>);

fn blobs(text: &str) -> Result<Blobs, String> {
    serde_json::from_str(text)
        .map(Blobs)
        .map_err(|error| error.to_string())
}

pub fn run(arguments: Arguments, log: &LogArguments) -> Result<Outcome, Failure> {
    let display = Display::detect();
    log.init(Verbosity::Quiet, &display)?;
    block_on_one(|stop| async move {
        let options = options(&arguments);
        if arguments.dry_run {
            dry_run(&arguments, options, &display, stop).await
        } else {
            sync(&arguments, options, &display, stop).await
        }
    })
}

fn options(arguments: &Arguments) -> Result<SyncOptions, Failure> {
    let manifests = Manifests::load(&arguments.manifests.files)?;
    let resolver = Resolver {
        manifests: &manifests,
        references: arguments.pod.mounted.references(),
        data: &arguments.data.data,
    };
    let high_water = arguments.pod.high_water.clone().unwrap_or_default();
    let mirror = manifests.mirror(&arguments.mirror)?;
    let mut options = match arguments.follow.follow() {
        Some(follow) => resolver.following(mirror, high_water.0, follow)?,
        None => resolver.options(mirror, high_water.0)?,
    };
    if arguments.pod.prepare_only {
        let keep = arguments.pod.keep.clone().unwrap_or_default().0;
        options.publishing = Publishing::ByOrder {
            order: arguments.pod.serve,
            keep: keep.into_iter().map(SnapshotId).collect(),
        };
    }
    let mut regions = mirror.spec.regions.iter();
    let region = regions.find(|region| region.name == arguments.pod.place.region);
    options.clients.trace_name = mirror.spec.trace_name(region);
    options.damaged = arguments.pod.damaged.clone().unwrap_or_default().0;
    Ok(options)
}

async fn dry_run(
    arguments: &Arguments,
    options: Result<SyncOptions, Failure>,
    display: &Display,
    stop: CancellationToken,
) -> Result<Outcome, Failure> {
    let kind = (options.as_ref().ok()).map(|options| options.upstream_type.clone());
    let report = match options {
        Ok(options) => fleet_sync::plan(options, display.begin(&arguments.mirror), stop).await,
        Err(failure) => nothing_planned(&arguments.mirror, &failure),
    };
    print_plan(&report, kind.as_deref(), arguments.output)?;
    Ok(report.reason.outcome())
}

async fn sync(
    arguments: &Arguments,
    options: Result<SyncOptions, Failure>,
    display: &Display,
    stop: CancellationToken,
) -> Result<Outcome, Failure> {
    let kind = (options.as_ref().ok()).map(|options| options.upstream_type.clone());
    let begun = match options {
        Ok(options) => watched(arguments, display)
            .await
            .map(|progress| (options, progress)),
        Err(failure) => Err(failure),
    };
    let report = match begun {
        Ok((options, progress)) => fleet_sync::sync(options, progress, stop).await,
        Err(failure) => {
            let served = super::served(&arguments.data.data, &arguments.mirror);
            not_begun(&arguments.mirror, &failure, served, now())
        }
    };
    print_run(&report, kind.as_deref(), arguments.output)?;
    leave_behind(arguments.pod.termination_message.as_deref(), || {
        report.to_termination_message()
    })?;
    Ok(report.reason.outcome())
}

/// What watches the run: the screen, and metrics where they are asked for.
async fn watched(arguments: &Arguments, display: &Display) -> Result<Arc<dyn Progress>, Failure> {
    let screen = display.begin(&arguments.mirror);
    let Some(address) = arguments.pod.metrics_listen else {
        return Ok(screen);
    };
    let registry = registry("sync")?;
    let metrics = WorkerMetrics::register(&registry).map_err(|error| system(&error))?;
    let place = RunPlace {
        namespace: arguments.pod.place.namespace.clone(),
        mirror: arguments.mirror.clone(),
        region: arguments.pod.place.region.clone(),
    };
    let run = metrics.begin(place, now());
    let listener = bind("--metrics-listen", address).await?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "serving metrics");
    }
    // It ends with the process: the last scrape may well come while the report is being written.
    tokio::spawn(serve_metrics(
        listener,
        registry,
        Health::always_ready(),
        None,
        CancellationToken::new(),
    ));
    Ok(Arc::new(Both(screen, Arc::new(Metered(run)))))
}
