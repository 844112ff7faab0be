//! Owns HTTP over stores: which bytes answer which request, and the listeners. It reads volumes, which may be mounted
//! read-only, and never writes to them.
//!
//! Left to others: where the bytes come from (`fleet-sync`), what a snapshot is (`fleet-store`), who is told to come
//! here (the controller). There is no upstream and no Kubernetes API in this crate.
//!
//! Other mirrors of ours ask at a listener of their own (`follow`), by digest.
//!
//! What is no store of files but a registry of packages is behind a seam (`registry`).
//!
//! The way of a request: `path` reads the target, `catalog` finds the mirror, `mirror` the entry,
//! `conditional` decides what of it to send, `answer` is the result as a plain value. `connection` accepts; `plain`
//! brings answers to clients without TLS, `http2` and `body` (with hyper, for HTTP/1.1) to those with it.

mod answer;
mod asked;
mod back;
mod beside;
mod blobs;
mod body;
mod catalog;
mod clock;
mod conditional;
mod connection;
mod content_type;
mod date;
mod descriptors;
mod folders;
mod follow;
mod forwarded;
mod handler;
mod headers;
mod http2;
mod limits;
mod listing;
mod lists;
mod lookup;
mod mirror;
mod nearest;
mod on_demand;
mod orders;
mod path;
mod plain;
mod read;
mod registry;
mod room;
mod signs;
mod stall;
mod status;
mod suspects;
mod tls;
mod told;
mod transaction;
mod view;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleet_origin::Origin;
use fleet_telemetry::{
    ExtraRoutes, Health, Registry, RegistryError, ServerMetrics, ServerPlace, on_threads,
    serve_metrics,
};
use http::Response;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::answer::Answer;
use crate::catalog::{Catalog, Told};
use crate::connection::{HttpServer, bind};
use crate::descriptors::Shares;
use crate::handler::Audience;
use crate::http2::Limits;
use crate::limits::{HEAD_TIMEOUT, STALL_TIMEOUT};
use crate::room::SHARED_BYTES;
use crate::tls::Certificate;

pub use crate::registry::Registries;
pub use crate::tls::{TlsError, TlsFiles};

/// How often stores, `current` (for the metrics) and certificates are looked at without a request.
const REFRESH: Duration = Duration::from_secs(1);

/// What to serve, and where.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Holds one store per mirror; stores may appear later.
    pub data: PathBuf,
    /// Holds a file for each mirror whose snapshot is ordered, under the mirror's name: [`fleet_types::Order`] as text, or
    /// nothing yet. Without an order `current` is served.
    pub orders: Option<PathBuf>,
    /// What is served beside the stores.
    pub registries: Registries,
    /// Holds a file for each mirror of which there are several regions, under the mirror's name:
    /// [`fleet_types::documents::ClientList`] as JSON, or nothing yet. Without one clients are told of this server.
    pub lists: Option<PathBuf>,
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// For `/metrics`, `/healthz`, `/readyz` and the status documents.
    pub metrics_listen: Option<SocketAddr>,
    /// For other mirrors of ours that copy from this one, by digest: plain HTTP/1.1, with connections of its own.
    pub follow_listen: Option<SocketAddr>,
    /// HTTPS (HTTP/1.1 and h2) on `listen` instead of plain HTTP/1.1.
    pub tls: Option<TlsFiles>,
    /// How long requests may take to end after the shutdown; then their connections are cut.
    pub drain: Duration,
    /// Labels of the metrics.
    pub place: ServerPlace,
    /// Who fetches what a snapshot lists and is not here. None where all is copied before it is served.
    pub origin: Option<Arc<dyn Origin>>,
}

/// The addresses that are listened on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    pub http: SocketAddr,
    pub metrics: Option<SocketAddr>,
    pub follow: Option<SocketAddr>,
}

/// Serving could not begin, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the data directory {} cannot be read: {source}; give the directory that holds the stores", dir.display())]
    Data { dir: PathBuf, source: io::Error },
    #[error("{} is a store itself; give the directory above it, which holds one store per mirror", dir.display())]
    DataIsStore { dir: PathBuf },
    #[error("cannot listen on {address}: {source}")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("TLS cannot be set up: {0}")]
    TlsSetup(#[from] rustls::Error),
    #[error(transparent)]
    Metrics(#[from] RegistryError),
    #[error("a listener failed: {0}")]
    Listener(#[from] io::Error),
}

/// Serves every store below `options.data` until `shutdown`, then drains. `ready` is called once all listeners accept
/// connections.
///
/// Boxed, so that the server is compiled in this crate, as this crate is optimised, and not in each caller.
pub fn serve<'a>(
    options: ServeOptions,
    registry: &'a Registry,
    shutdown: CancellationToken,
    ready: impl FnOnce(Listening) + Send + 'a,
) -> Pin<Box<dyn Future<Output = Result<(), ServeError>> + Send + 'a>> {
    Box::pin(serve_all(options, registry, shutdown, Box::new(ready)))
}

async fn serve_all(
    options: ServeOptions,
    registry: &Registry,
    shutdown: CancellationToken,
    ready: Box<dyn FnOnce(Listening) + Send + '_>,
) -> Result<(), ServeError> {
    check_data(&options)?;
    let certificate = options.tls.clone().map(Certificate::load).transpose()?;
    let certificate = certificate.map(Arc::new);
    let tls = certificate.clone().map(tls::server_config).transpose()?;
    let tls = tls.map(TlsAcceptor::from);
    let metrics = ServerMetrics::register(registry, options.place.clone())?;
    let shares = Shares::take();
    let catalog = Arc::new(Catalog::new(
        options.data.clone(),
        Told {
            orders: options.orders.clone(),
            lists: options.lists.clone(),
            region: options.place.region.clone(),
        },
        metrics,
        options.registries.clone(),
        shares.open_blobs,
        options.origin.clone(),
    ));
    refresh_once(&catalog).await;

    let (http, http_address) = listen(options.listen).await?;
    let metrics = listen_if(options.metrics_listen).await?;
    let follow = listen_if(options.follow_listen).await?;
    let address = |bound: &Option<(TcpListener, SocketAddr)>| bound.as_ref().map(|bound| bound.1);
    ready(Listening {
        http: http_address,
        metrics: address(&metrics),
        follow: address(&follow),
    });

    let ended = CancellationToken::new();
    let (clients, followers) = servers(&options, &catalog, &shares, tls);
    let main = async {
        let copied = async {
            match follow {
                Some((listener, _)) => followers.run(listener, shutdown.clone()).await,
                None => Ok(()),
            }
        };
        let (served, copied) = tokio::join!(clients.run(http, shutdown.clone()), copied);
        let result = served.and(copied);
        // The metrics of the last requests can be scraped until they have ended.
        ended.cancel();
        result
    };
    let side = async {
        match metrics {
            Some((listener, _)) => {
                let health = readiness(catalog.clone());
                let routes = Some(routes(catalog.clone()));
                serve_metrics(listener, registry.clone(), health, routes, ended.clone()).await
            }
            None => Ok(()),
        }
    };
    let keeping = keep_fresh(catalog.clone(), certificate, ended.clone());
    let (main, side, ()) = tokio::join!(main, side, keeping);
    main?;
    side?;
    Ok(())
}

/// For clients, and for mirrors that follow; what an h2 connection may hold is bounded for both together.
fn servers(
    options: &ServeOptions,
    catalog: &Arc<Catalog>,
    shares: &Shares,
    tls: Option<TlsAcceptor>,
) -> (HttpServer, HttpServer) {
    let limits = Limits {
        idle: HEAD_TIMEOUT,
        stall: STALL_TIMEOUT,
        bytes: Arc::new(Semaphore::new(SHARED_BYTES)),
        streams: Arc::new(Semaphore::new(shares.streams)),
    };
    let clients = HttpServer {
        catalog: catalog.clone(),
        respond: handler::answer,
        registries: Some(options.registries.clone()),
        tls,
        drain: options.drain,
        connections: shares.connections,
        limits: limits.clone(),
    };
    let followers = HttpServer {
        catalog: catalog.clone(),
        respond: follow::answer,
        registries: None,
        tls: None,
        drain: options.drain,
        connections: shares.followers,
        limits,
    };
    (clients, followers)
}

fn check_data(options: &ServeOptions) -> Result<(), ServeError> {
    let dir = options.data.clone();
    if dir.join(fleet_store::IDENTITY_FILE).exists() {
        return Err(ServeError::DataIsStore { dir });
    }
    std::fs::read_dir(&dir)
        .map(drop)
        .map_err(|source| ServeError::Data { dir, source })
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Listen { address, source };
    let listener = bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

async fn listen_if(
    address: Option<SocketAddr>,
) -> Result<Option<(TcpListener, SocketAddr)>, ServeError> {
    match address {
        Some(address) => listen(address).await.map(Some),
        None => Ok(None),
    }
}

fn readiness(catalog: Arc<Catalog>) -> Health {
    Health::new(move || catalog.readiness())
}

/// The status documents, for the metrics listener: the controller asks there even where `listen` speaks TLS.
fn routes(catalog: Arc<Catalog>) -> ExtraRoutes {
    on_threads(move |head| {
        let answer = handler::status_answer(&catalog, head.uri.path(), Audience::Operators);
        answer.map(into_response)
    })
}

fn into_response(answer: Answer) -> Response<Bytes> {
    // A status document is never a file.
    let mut response = Response::new(answer.bytes());
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers.into();
    response
}

async fn refresh_once(catalog: &Arc<Catalog>) {
    let catalog = catalog.clone();
    if let Err(error) = tokio::task::spawn_blocking(move || catalog.refresh()).await {
        tracing::error!(%error, "the stores could not be looked at");
    }
}

async fn keep_fresh(
    catalog: Arc<Catalog>,
    certificate: Option<Arc<Certificate>>,
    ended: CancellationToken,
) {
    let mut last_error = None;
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            () = tokio::time::sleep(REFRESH) => {}
        }
        refresh_once(&catalog).await;
        if let Some(certificate) = certificate.clone() {
            let reloaded = tokio::task::spawn_blocking(move || certificate.reload()).await;
            let error = match reloaded {
                Ok(Ok(true)) => {
                    tracing::info!("the TLS certificate was replaced");
                    None
                }
                Ok(Ok(false)) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(error) = error
                .as_ref()
                .filter(|error| last_error.as_ref() != Some(*error))
            {
                tracing::warn!(%error, "the new TLS certificate is not used; the former one still is");
            }
            last_error = error;
        }
    }
}
