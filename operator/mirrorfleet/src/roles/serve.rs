//! `mirrorfleet serve`: HTTP over stores; what a serving pod runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fleet_origin::Origin;
use fleet_origin::line::{Remote, RemoteRegistry, introduction};
use fleet_serve::{Listening, Registries, ServeError, ServeOptions, TlsFiles};
use fleet_telemetry::{AnswerSource, BuildInfo, PackageRegistryMetrics, Registry};
use fleet_types::Reason;

use crate::arguments::{DataArguments, ListenArguments, PlaceArguments};
use crate::failure::Failure;
use crate::progress::Display;
use crate::report::{self, OutputFormat};
use crate::runtime::{LogArguments, Verbosity, block_on_few, system};

/// How often the process that fetches is asked how it is.
const LOOK: Duration = Duration::from_secs(1);

/// Serves what stores hold; what a serving pod runs
///
/// Stores that appear later are served too. Prints `listening on ADDR`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    data: DataArguments,
    /// Serve what files here order, one for each mirror under its name, instead of what the store says
    #[arg(long, value_name = "DIR")]
    orders: Option<PathBuf>,
    /// Tell clients of the regions that files here name, one for each mirror under its name; of this server alone where
    /// there is none
    #[arg(long, value_name = "DIR")]
    lists: Option<PathBuf>,
    /// Where to serve; port 0 takes a free one
    #[arg(
        long,
        value_name = "ADDR",
        env = "MIRRORFLEET_LISTEN",
        hide_env_values = true
    )]
    listen: SocketAddr,
    #[command(flatten)]
    beside: ListenArguments,
    /// Serve https (HTTP/1.1 and h2) with this PEM certificate chain; read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Where `fill` answers, which fetches what a Mirror of mode PullThrough does not have [default: nothing is fetched]
    #[arg(long, value_name = "PATH")]
    origin: Option<PathBuf>,
    /// Where `fill` answers for an npm registry, all of which is asked there [default: no registry is served]
    #[arg(long, value_name = "PATH", conflicts_with = "origin")]
    registry: Option<PathBuf>,
    /// How long requests may take to end after SIGTERM, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain: u64,
    #[command(flatten)]
    place: PlaceArguments,
}

pub fn run(arguments: Arguments, log: &LogArguments) -> Result<(), Failure> {
    log.init(Verbosity::Daemon, &Display::Silent)?;
    let registry = registry("serve")?;
    let options = ServeOptions {
        data: arguments.data.data,
        orders: arguments.orders,
        registries: Default::default(),
        lists: arguments.lists,
        listen: arguments.listen,
        metrics_listen: arguments.beside.metrics_listen,
        follow_listen: arguments.beside.follow_listen,
        tls: arguments
            .tls_cert
            .zip(arguments.tls_key)
            .map(|(cert, key)| TlsFiles { cert, key }),
        drain: Duration::from_secs(arguments.drain),
        place: arguments.place.of_server(),
        origin: None,
    };
    let (store, of_registry) = (arguments.origin, arguments.registry);
    block_on_few(|stop| async move {
        let runtime = tokio::runtime::Handle::current();
        let remote = store.map(|socket| Arc::new(Remote::new(socket, runtime)));
        if let Some(remote) = remote.clone() {
            tokio::spawn(stop.clone().run_until_cancelled_owned(look_at(remote)));
        }
        let origin = remote.map(|remote| remote as Arc<dyn Origin>);
        let options = ServeOptions { origin, ..options };
        if let Some(socket) = of_registry {
            let metrics = PackageRegistryMetrics::register(&registry, options.place.clone());
            let metrics = metrics.map_err(|error| system(&error))?;
            let heard = listen_to(socket, options.registries.clone(), metrics);
            tokio::spawn(stop.clone().run_until_cancelled_owned(heard));
        }
        let served = fleet_serve::serve(options, &registry, stop, |listening| {
            announce(&listening, OutputFormat::Text)
        })
        .await;
        served.map_err(failed)
    })
}

/// Asks again and again what cannot be kept.
async fn look_at(remote: Arc<Remote>) {
    loop {
        if let Err(error) = remote.look().await {
            tracing::debug!(%error, "the process that fetches does not answer");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Serves the registry that is behind a socket, as it introduces itself. While nobody answers there it stays as it was.
async fn listen_to(socket: PathBuf, registries: Registries, metrics: Arc<PackageRegistryMetrics>) {
    let runtime = tokio::runtime::Handle::current();
    let mut known: Option<Arc<RemoteRegistry>> = None;
    loop {
        match introduction(&socket).await {
            Ok(it) if known.as_ref().is_some_and(|known| known.heard(&it)) => {}
            Ok(it) => {
                let (name, paths) = (it.name.clone(), it.paths.join("/, /"));
                tracing::info!(mirror = name, "serving under /{paths}/, filled on demand");
                let traffic = metrics.mirror(&name);
                metrics.keep_only(&[name]);
                let counts = Arc::new(move || traffic.answered(AnswerSource::Ready));
                let new = RemoteRegistry::new(socket.clone(), runtime.clone(), it, counts);
                let new = Arc::new(new);
                registries.replace(vec![new.clone()]);
                known = Some(new);
            }
            Err(error) => tracing::debug!(%error, "the process that fetches does not answer"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The registry of a role.
pub fn registry(role: &str) -> Result<Registry, Failure> {
    let build = BuildInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: String::new(),
        role: role.to_owned(),
    };
    Registry::new(&build).map_err(|error| system(&error))
}

/// Says where we listen.
pub fn announce(listening: &Listening, format: OutputFormat) {
    let mut text = format!("listening on {}\n", listening.http);
    if let Some(metrics) = listening.metrics {
        text.push_str(&format!("metrics on {metrics}\n"));
    }
    if let Some(follow) = listening.follow {
        text.push_str(&format!("followers on {follow}\n"));
    }
    report::announce(&text, format);
}

/// Why serving ended, as an exit code: what flags name is exit 1, the rest exit 4.
pub fn failed(error: ServeError) -> Failure {
    let reason = match &error {
        ServeError::Data { .. }
        | ServeError::DataIsStore { .. }
        | ServeError::Listen { .. }
        | ServeError::Tls(_) => Reason::InvalidSpec,
        ServeError::TlsSetup(_) | ServeError::Metrics(_) | ServeError::Listener(_) => {
            Reason::StorageFailed
        }
    };
    Failure::new(reason, error.to_string())
}
