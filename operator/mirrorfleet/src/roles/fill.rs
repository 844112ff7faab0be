//! `mirrorfleet fill`: fetches what a server asks for; what runs beside the server in a serving pod of a lazy mirror.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fleet_fill::{FillOptions, Filler, Lines};
use fleet_npm::NpmRegistry;
use fleet_origin::line::{Behind, answer_on, bind};
use fleet_telemetry::{
    FillMetrics, Health, PackageRegistryMetrics, Registry, ServerPlace, serve_metrics,
};
use fleet_types::Reason;
use sha2::Digest as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::arguments::{DataArguments, ManifestArguments, PlaceArguments, ReferenceArguments};
use crate::failure::Failure;
use crate::manifests::Manifests;
use crate::progress::Display;
use crate::resolve::Resolver;
use crate::roles::serve::registry;
use crate::runtime::{self, LogArguments, Verbosity, block_on, system};

/// How often is looked whether a Secret or a ConfigMap has changed; a kubelet brings it within a minute.
const LOOK: Duration = Duration::from_secs(10);

/// Fetches what a server asks for on a Unix socket, for a Mirror of mode PullThrough; what a serving pod runs beside `serve`
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    manifests: ManifestArguments,
    #[command(flatten)]
    data: DataArguments,
    /// Name of the Mirror
    #[arg(long, value_name = "NAME")]
    mirror: String,
    /// Where `serve --origin` asks
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    #[command(flatten)]
    mounted: ReferenceArguments,
    /// How many processes like this one share the Upstream's connections and bandwidth
    #[arg(long, value_name = "N", default_value_t = 1, hide_short_help = true)]
    fillers: u32,
    /// Where to serve metrics and health [default: nowhere]
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<SocketAddr>,
    #[command(flatten)]
    place: PlaceArguments,
}

pub fn run(arguments: Arguments, log: &LogArguments) -> Result<(), Failure> {
    log.init(Verbosity::Daemon, &Display::Silent)?;
    block_on(|stop| fill(arguments, stop))
}

async fn fill(arguments: Arguments, stop: CancellationToken) -> Result<(), Failure> {
    let registry = registry("fill")?;
    let place = arguments.place.of_server();
    let seen = references(&arguments);
    let (filling, behind) = Filling::begin(&arguments, &registry, place, &stop)?;
    let shown = format!("--socket {}", arguments.socket.display());
    let listener = bind(&arguments.socket).map_err(|error| Failure::output(&shown, error))?;
    tracing::info!(socket = %arguments.socket.display(), "answering");
    if let Some(address) = arguments.metrics_listen {
        let listener = runtime::bind("--metrics-listen", address).await?;
        let health = Health::always_ready();
        tokio::spawn(serve_metrics(
            listener,
            registry,
            health,
            None,
            stop.clone(),
        ));
    }
    let keeping = keep_up(&arguments, filling, seen);
    tokio::select! {
        () = answer_on(listener, behind, stop) => {}
        () = keeping => {}
    }
    Ok(())
}

/// What is filled.
enum Filling {
    Store(Arc<Filler>),
    Registry(NpmFilling),
}

struct NpmFilling {
    metrics: Arc<PackageRegistryMetrics>,
    /// As it is declared now.
    current: Arc<NpmRegistry>,
    behind: watch::Sender<Arc<dyn fleet_origin::Registry>>,
}

impl Filling {
    fn begin(
        arguments: &Arguments,
        registry: &Registry,
        place: ServerPlace,
        stop: &CancellationToken,
    ) -> Result<(Filling, Behind), Failure> {
        let manifests = Manifests::load(&arguments.manifests.files)?;
        if manifests.mirror(&arguments.mirror)?.spec.fills_itself() {
            let metrics = PackageRegistryMetrics::register(registry, place);
            let metrics = metrics.map_err(|error| system(&error))?;
            let current = Arc::new(npm(arguments, &metrics, None)?);
            let (behind, seen) = watch::channel(current.clone() as Arc<dyn fleet_origin::Registry>);
            let filling = NpmFilling {
                metrics,
                current,
                behind,
            };
            return Ok((Filling::Registry(filling), Behind::Registry(seen)));
        }
        let metrics = FillMetrics::register(registry, place).map_err(|error| system(&error))?;
        let runtime = tokio::runtime::Handle::current();
        let filler = Arc::new(Filler::new(runtime, stop.clone(), metrics));
        filler.declare(&[options(arguments)?]);
        Ok((Filling::Store(filler.clone()), Behind::Store(filler)))
    }

    /// Takes over what is declared, and what Secrets and ConfigMaps hold, as they are now.
    fn declare(&mut self, arguments: &Arguments) -> Result<(), Failure> {
        match self {
            Filling::Store(filler) => filler.declare(&[options(arguments)?]),
            Filling::Registry(filling) => {
                let new = npm(arguments, &filling.metrics, Some(&filling.current))?;
                filling.current = Arc::new(new);
                filling.behind.send_replace(filling.current.clone());
            }
        }
        Ok(())
    }
}

/// The registry that is declared; it shares its folder with the one `before`.
fn npm(
    arguments: &Arguments,
    metrics: &PackageRegistryMetrics,
    before: Option<&NpmRegistry>,
) -> Result<NpmRegistry, Failure> {
    let manifests = Manifests::load(&arguments.manifests.files)?;
    let resolver = Resolver {
        manifests: &manifests,
        references: arguments.mounted.references(),
        data: &arguments.data.data,
    };
    let options = resolver.registry(manifests.mirror(&arguments.mirror)?, metrics)?;
    let opened = NpmRegistry::open(options.shared_by(arguments.fillers), before);
    opened.map_err(|problem| Failure::new(problem.reason, problem.message))
}

/// Takes over what Secrets and ConfigMaps hold when that changes.
async fn keep_up(arguments: &Arguments, mut filling: Filling, mut seen: Vec<u8>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let now = references(arguments);
        if now == seen {
            continue;
        }
        match filling.declare(arguments) {
            Ok(()) => tracing::info!("a Secret or ConfigMap has changed, and was taken over"),
            Err(failure) => tracing::error!(
                reason = failure.reason.as_str(),
                "a Secret or ConfigMap has changed and cannot be used; what it held before still counts: {failure}"
            ),
        }
        seen = now;
    }
}

/// A digest of all that is mounted.
fn references(arguments: &Arguments) -> Vec<u8> {
    let mut hasher = sha2::Sha256::new();
    if let Some(refs) = &arguments.mounted.refs {
        add(&mut hasher, refs, 0);
    }
    hasher.finalize().to_vec()
}

/// What cannot be read counts as not there: so does it for who uses it.
fn add(hasher: &mut sha2::Sha256, path: &Path, depth: usize) {
    // DIR/<kind>/<name>/<key>, and the links by which a kubelet replaces all at once.
    const DEEPEST: usize = 5;
    let Ok(about) = std::fs::metadata(path) else {
        return;
    };
    if !about.is_dir() {
        hasher.update(path.as_os_str().as_encoded_bytes());
        hasher.update(std::fs::read(path).unwrap_or_default());
    } else if depth < DEEPEST {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        paths.iter().for_each(|path| add(hasher, path, depth + 1));
    }
}

fn options(arguments: &Arguments) -> Result<FillOptions, Failure> {
    let manifests = Manifests::load(&arguments.manifests.files)?;
    let resolver = Resolver {
        manifests: &manifests,
        references: arguments.mounted.references(),
        data: &arguments.data.data,
    };
    let mirror = manifests.mirror(&arguments.mirror)?;
    let runs = resolver.options(mirror, Vec::new())?;
    let filling = resolver.filling(mirror, &runs)?.ok_or_else(|| {
        let text = format!(
            "Mirror {}: nothing is fetched on demand with `mode: Full`",
            arguments.mirror
        );
        Failure::new(Reason::InvalidSpec, text)
    })?;
    let filling = filling.shared_by(arguments.fillers);
    let lines = Lines::new(&filling.fetch, filling.politeness.bandwidth)
        .map_err(|problem| Failure::new(problem.reason, problem.message))?;
    Ok(filling.over(Arc::new(lines)))
}
