//! The life of one controller process: it stands for election, leads, and ends when it no longer may.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fleet_telemetry::{
    ApiMetrics, BuildInfo, ControllerMetrics, Countable, Health, Readiness, Registry,
    RegistryError, serve_metrics,
};
use futures::future::BoxFuture;
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::calls;
use crate::checks;
use crate::context::{Context, PodKey, Wishes, listener};
use crate::error::{ControllerError, WriteError};
use crate::leader::Election;
use crate::options::ControllerOptions;
use crate::page::StatusPage;
use crate::push;
use crate::reconcile;
use crate::work::{Pace, Queue, Requests, Tenant, queue, work};
use crate::world::{ObjectName, Watches};

/// Long enough that the watches of a Job and of its pod tell one story, short enough that nobody waits.
const MIRRORS: Pace = Pace {
    concurrency: 16,
    debounce: Duration::from_millis(150),
};
const UPSTREAMS: Pace = Pace {
    concurrency: 16,
    debounce: Duration::from_millis(150),
};
const PODS: Pace = Pace {
    concurrency: 64,
    debounce: Duration::from_millis(50),
};
/// How long what is being written may take to its end once the process should stop.
const DRAIN: Duration = Duration::from_secs(10);

impl Tenant for ObjectName {
    fn tenant(&self) -> &str {
        &self.namespace
    }
}

impl Tenant for PodKey {
    fn tenant(&self) -> &str {
        &self.mirror.namespace
    }
}

/// Runs the controller until `shutdown`, with the cluster that the environment names (in a pod: its own).
///
/// Metrics and health are served at `options.metrics_listen` from the beginning, on a standby too.
///
/// # Errors
/// Whatever makes it impossible to go on, a lost Lease above all. The process should end then: somebody else leads.
///
/// Boxed, so that the controller is compiled in this crate and not in its caller.
pub fn run(
    options: ControllerOptions,
    shutdown: CancellationToken,
) -> BoxFuture<'static, Result<(), ControllerError>> {
    Box::pin(stand_and_lead(options, shutdown))
}

async fn stand_and_lead(
    options: ControllerOptions,
    shutdown: CancellationToken,
) -> Result<(), ControllerError> {
    crate::install_crypto();
    let unregistered = |error: RegistryError| ControllerError::Metrics(error.to_string());
    let registry = registry().map_err(unregistered)?;
    let metrics = ControllerMetrics::register(&registry).map_err(unregistered)?;
    let calls = ApiMetrics::register(&registry).map_err(unregistered)?;
    let (client, evictions) = clients(&calls)
        .await
        .map_err(|error| ControllerError::Client(Box::new(error)))?;
    let known = Arc::new(AtomicBool::new(true));
    let server = serve(&options, registry, known.clone()).await?;
    let page = StatusPage::begin(&options, &client, &shutdown).await?;
    if let Some(address) = options.push_listen {
        push::begin(address, &client, options.namespace.as_deref(), &shutdown).await?;
    }
    let mut election = Election::join(client.clone(), &options.lease).await?;
    tracing::info!(identity = options.lease.identity, "standing for election");
    let result = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        won = election.won() => match won {
            Ok(()) => Leader { client, evictions, options, metrics, known, page }.lead(&election, &shutdown).await,
            Err(lost) => Err(lost),
        },
    };
    if result.is_ok() {
        election.resign().await;
    }
    server.cancel();
    result
}

async fn clients(calls: &Arc<ApiMetrics>) -> Result<(Client, Client), kube::Error> {
    let config = Config::infer().await.map_err(kube::Error::InferConfig)?;
    calls::clients(config, calls)
}

fn registry() -> Result<Registry, RegistryError> {
    Registry::new(&BuildInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: String::new(),
        role: "controller".to_owned(),
    })
}

/// Serves metrics and health; the token ends it.
async fn serve(
    options: &ControllerOptions,
    registry: Registry,
    known: Arc<AtomicBool>,
) -> Result<CancellationToken, ControllerError> {
    let unusable = |error: std::io::Error| {
        ControllerError::Metrics(format!("{}: {error}", options.metrics_listen))
    };
    let listener = TcpListener::bind(options.metrics_listen)
        .await
        .map_err(unusable)?;
    tracing::info!(address = %listener.local_addr().map_err(unusable)?, "serving metrics");
    let health = Health::new(move || match known.load(Ordering::Acquire) {
        true => Readiness {
            ready: true,
            detail: Vec::new(),
        },
        false => Readiness {
            ready: false,
            detail: vec!["the cluster's objects are being listed".to_owned()],
        },
    });
    let end = CancellationToken::new();
    let token = end.clone();
    tokio::spawn(async move {
        if let Err(error) = serve_metrics(listener, registry, health, None, token).await {
            tracing::error!(%error, "metrics are no longer served");
        }
    });
    Ok(end)
}

/// What the workers of [`start_work`] count.
const COUNTABLE: Countable = Countable {
    kinds: &["Mirror", "Upstream"],
    errors: WriteError::REASONS,
    answers: fleet_plan::Answer::WORDS,
    prepares: true,
};

/// The replica that acts.
struct Leader {
    client: Client,
    evictions: Client,
    options: ControllerOptions,
    metrics: Arc<ControllerMetrics>,
    /// Whether the cluster's objects are known; a standby need not know them.
    known: Arc<AtomicBool>,
    page: Option<StatusPage>,
}

impl Leader {
    async fn lead(
        self,
        election: &Election,
        shutdown: &CancellationToken,
    ) -> Result<(), ControllerError> {
        tracing::info!("leading");
        self.known.store(false, Ordering::Release);
        let (mirrors, upstreams, pods) = (queue(), queue(), queue());
        let wishes = Wishes {
            mirrors: mirrors.0,
            upstreams: upstreams.0,
            pods: pods.0,
        };
        let context = Arc::new(Context::new(
            self.client.clone(),
            self.evictions,
            &self.options,
            self.metrics.clone(),
            wishes,
        )?);
        let mut watches = Watches::start(
            &self.client,
            self.options.namespace.as_deref(),
            &context.world,
            &self.options.settings.routes_allowed,
            &listener(&context),
        );
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            lost = election.lost_lease() => return Err(lost),
            complete = watches.complete() => complete?,
        }
        context.remember_running_jobs();
        context.hear_pods().await;
        self.known.store(true, Ordering::Release);
        if let Some(page) = &self.page {
            page.leads(&context);
        }
        self.metrics.expect(COUNTABLE);
        self.metrics.set_leading(true);
        tracing::info!("all objects are known");
        let stop = CancellationToken::new();
        let mut workers = start_work(&context, mirrors.1, upstreams.1, pods.1, &stop);
        let result = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            lost = election.lost_lease() => Err(lost),
            () = watches.ended() => Err(ControllerError::WatchEnded),
            Some(worker) = workers.join_next() => match worker {
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                _ => Ok(()),
            },
        };
        self.metrics.set_leading(false);
        stop.cancel();
        let drained = tokio::time::timeout(DRAIN, async {
            while workers.join_next().await.is_some() {}
        });
        if result.is_ok() && drained.await.is_err() {
            tracing::warn!("not everything came to its end in {} s", DRAIN.as_secs());
        }
        result
    }
}

fn start_work(
    context: &Arc<Context>,
    mirrors: Queue<ObjectName>,
    upstreams: Queue<ObjectName>,
    pods: Queue<PodKey>,
    stop: &CancellationToken,
) -> JoinSet<()> {
    let wishes = &context.wishes;
    let mut workers = JoinSet::new();
    workers.spawn(work(
        mirrors,
        wishes.mirrors.clone(),
        MIRRORS,
        stop.clone(),
        handler(context, "Mirror", &wishes.mirrors, reconcile::mirror),
    ));
    workers.spawn(work(
        upstreams,
        wishes.upstreams.clone(),
        UPSTREAMS,
        stop.clone(),
        handler(context, "Upstream", &wishes.upstreams, reconcile::upstream),
    ));
    workers.spawn(work(
        pods,
        wishes.pods.clone(),
        PODS,
        stop.clone(),
        handler(context, "Pod", &wishes.pods, reconcile::pod),
    ));
    workers.spawn(checks::keep(context.clone(), stop.clone()));
    workers
}

/// A handler that has the context, for a queue of which metrics tell how many wait in it and how long.
fn handler<K, F>(
    context: &Arc<Context>,
    kind: &'static str,
    requests: &Requests<K>,
    handle: fn(Arc<Context>, K) -> F,
) -> impl Fn(K) -> F + use<K, F>
where
    K: Clone + Eq + Hash + Send + 'static,
{
    let (context, waiting) = (context.clone(), requests.waiting());
    let queued = waiting.clone();
    context
        .metrics
        .watch_queue(kind, move || queued.due(Instant::now()));
    move |key| {
        let waited = waiting.take(&key, Instant::now());
        context.metrics.record_wait(kind, waited.as_secs_f64());
        handle(context.clone(), key)
    }
}
