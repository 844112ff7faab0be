//! Syncing on schedule and serving, until a signal.

use std::sync::Arc;
use std::time::Duration;

use fleet_controller::Asker;
use fleet_fill::{FillOptions, Filler, Lines};
use fleet_serve::{Listening, Registries, ServeOptions};
use fleet_telemetry::{
    ControllerMetrics, FillMetrics, PackageRegistryMetrics, Registry, ServerPlace, WorkerMetrics,
};
use fleet_types::Outcome;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::checks::{self, SelfChecks};
use super::freshness::{Freshness, REGION};
use super::fronts;
use super::lane::{self, Shared};
use super::page::Page;
use super::registries::Keeper;
use super::{Arguments, work};
use crate::failure::Failure;
use crate::manifests::Manifests;
use crate::progress::Display;
use crate::resolve::USER_AGENT;
use crate::roles::serve::{announce, failed, registry};
use crate::runtime::system;

const DRAIN: Duration = Duration::from_secs(10);

pub async fn run(
    arguments: Arguments,
    manifests: Manifests,
    display: Display,
    stop: CancellationToken,
) -> Result<Outcome, Failure> {
    let registry = registry("local")?;
    let shared = Arc::new(shared(&arguments, &registry, display)?);
    let asker = Asker::new(USER_AGENT).map_err(|error| system(&error))?;
    let page = Page::prepare(&arguments, shared.clone(), stop.clone()).await?;
    let page_ended = page.ended();
    let lanes_stop = stop.child_token();
    let threads = threads()?;
    let place = ServerPlace {
        namespace: String::new(),
        region: REGION.to_owned(),
    };
    let counts = FillMetrics::register(&registry, place.clone()).map_err(|error| system(&error))?;
    let filler = Filler::new(threads.handle().clone(), lanes_stop.clone(), counts);
    let filler = Arc::new(filler);
    let mut keeper = Keeper {
        registries: Registries::default(),
        metrics: PackageRegistryMetrics::register(&registry, place.clone())
            .map_err(|error| system(&error))?,
        shared: shared.clone(),
        served: Default::default(),
    };
    keeper.declare(&manifests);
    fronts::tell(&arguments.data.data, &manifests);
    let options = ServeOptions {
        data: arguments.data.data.clone(),
        orders: None,
        registries: keeper.registries.clone(),
        lists: Some(fronts::folder(&arguments.data.data)),
        listen: arguments.listen,
        metrics_listen: arguments.beside.metrics_listen,
        follow_listen: arguments.beside.follow_listen,
        tls: None,
        drain: DRAIN,
        place,
        origin: Some(filler.clone()),
    };
    let (output, checked, checks_stop) = (arguments.output, shared.clone(), stop.clone());
    let declared = CancellationToken::new();
    let lanes = on(
        threads,
        arguments,
        manifests,
        shared,
        (filler, keeper, declared.clone().drop_guard()),
        lanes_stop.clone(),
    );
    // A store of an earlier process is served at once, and may lack what only a declared Mirror fetches.
    declared.cancelled().await;
    let served = fleet_serve::serve(options, &registry, stop.clone(), |listening: Listening| {
        announce(&listening, output);
        page.begin(&listening, output);
        tokio::spawn(checks::keep(checked, asker, listening.http, checks_stop));
    })
    .await;
    // Should serving have failed, the page ends too.
    stop.cancel();
    page_ended.wait().await;
    // Should serving have failed, syncing ends too; what is staged stays for the next run.
    lanes_stop.cancel();
    let kept = lanes.await.map_err(|error| system(&error))?;
    served.map_err(failed)?;
    kept.map(|()| Outcome::Good)
}

fn shared(arguments: &Arguments, registry: &Registry, display: Display) -> Result<Shared, Failure> {
    let metrics = ControllerMetrics::register(registry).map_err(|error| system(&error))?;
    Ok(Shared {
        data: arguments.data.data.clone(),
        display,
        output: arguments.output,
        freshness: Freshness::new(metrics, arguments.data.data.clone()),
        checks: SelfChecks::default(),
        worker: WorkerMetrics::register(registry).map_err(|error| system(&error))?,
        memory: std::sync::Mutex::default(),
        runs: std::sync::Mutex::default(),
        registries: Default::default(),
    })
}

/// Syncing, and fetching what clients ask for, hashes and decompresses; on a runtime of its own it does not keep clients
/// waiting.
fn threads() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| system(&error))
}

fn on(
    threads: tokio::runtime::Runtime,
    arguments: Arguments,
    manifests: Manifests,
    shared: Arc<Shared>,
    on_demand: OnDemand,
    stop: CancellationToken,
) -> tokio::task::JoinHandle<Result<(), Failure>> {
    tokio::task::spawn_blocking(move || {
        threads.block_on(keep_lanes(arguments, manifests, shared, on_demand, stop))
    })
}

/// Who fetches what clients ask for; whoever waits until they know of the manifests is told when the last goes.
type OnDemand = (Arc<Filler>, Keeper, DropGuard);

/// Runs the lanes of the manifests, and those of the new ones after each SIGHUP.
async fn keep_lanes(
    arguments: Arguments,
    mut manifests: Manifests,
    shared: Arc<Shared>,
    (filler, mut keeper, undeclared): OnDemand,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let mut reload = signal(SignalKind::hangup()).map_err(|error| system(&error))?;
    let mut undeclared = Some(undeclared);
    loop {
        let retire = CancellationToken::new();
        let mut running = begin(&manifests, &shared, &filler, &retire, &stop);
        undeclared.take();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    while running.next().await.is_some() {}
                    return Ok(());
                }
                _ = reload.recv() => {}
                Some(()) = running.next(), if !running.is_empty() => continue,
            }
            match Manifests::load(&arguments.manifests.files) {
                Ok(new) => {
                    manifests = new;
                    break;
                }
                Err(failure) => {
                    tracing::error!(%failure, "the manifests were not taken over; the former ones still count")
                }
            }
        }
        tracing::info!("the manifests were read again");
        fronts::tell(&arguments.data.data, &manifests);
        keeper.declare(&manifests);
        // A run in progress ends first, so that an upstream never has two of ours at once.
        retire.cancel();
        while running.next().await.is_some() {}
    }
}

/// The Mirrors that are filled on demand. Those of one Upstream share the connections to it.
fn filled(lanes: &work::Lanes) -> Vec<FillOptions> {
    let mut filled = Vec::new();
    for tasks in lanes.values() {
        let ready = tasks.iter().filter_map(|task| task.ready.as_ref().ok());
        let fillings: Vec<_> = ready.filter_map(|ready| ready.filling.as_ref()).collect();
        let Some(first) = fillings.first() else {
            continue;
        };
        match Lines::new(&first.fetch, first.politeness.bandwidth) {
            Ok(lines) => {
                let lines = Arc::new(lines);
                filled.extend(fillings.iter().map(|filling| filling.over(lines.clone())));
            }
            // Runs tell it too.
            Err(problem) => tracing::error!(reason = %problem.reason, "{problem}"),
        }
    }
    filled
}

type Running = FuturesUnordered<LocalBoxFuture<'static, ()>>;

fn begin(
    manifests: &Manifests,
    shared: &Arc<Shared>,
    filler: &Filler,
    retire: &CancellationToken,
    stop: &CancellationToken,
) -> Running {
    let lanes = work::lanes(manifests, &shared.data);
    filler.declare(&filled(&lanes));
    shared
        .freshness
        .declare(&lanes.values().flatten().collect::<Vec<_>>());
    let begin =
        |tasks| lane::work(tasks, shared.clone(), retire.clone(), stop.clone()).boxed_local();
    lanes.into_values().map(begin).collect()
}
