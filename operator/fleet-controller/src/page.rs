//! The status page of this replica. Whoever leads tells what it watches anyway; a standby watches Mirrors and Upstreams for it,
//! and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_api::{Mirror, Upstream};
use fleet_page::{Board, Held, Look, Manner, Seen, Source};
use fleet_plan::SeenPod;
use fleet_plan::observed::PodRole;
use fleet_plan::score::Score;
use fleet_plan::summary::{Program, Progress};
use fleet_telemetry::{ExtraRoutes, RunFigures, on_threads, serve_routes};
use fleet_types::lock;
use futures::StreamExt;
use jiff::Timestamp;
use kube::core::Resource;
use kube::{Client, ResourceExt};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::answers::Asker;
use crate::context::Context;
use crate::error::ControllerError;
use crate::options::{ControllerOptions, StatusPageOptions};
use crate::world::{Guarded, Kept, Listener, ObjectName, Watches, World};

/// How often it is looked how things are, for the hours.
const TICK: Duration = Duration::from_secs(30);
/// The same while not everything is known.
const SOON: Duration = Duration::from_secs(1);
/// How often runs are asked how far they are, while somebody looks at the page.
const RUNS_ASKED: Duration = Duration::from_secs(3);
/// How many runs are asked in one round, and how many at once.
const RUNS: usize = 256;
const AT_ONCE: usize = 16;
/// Whoever leads within this time has watches of its own.
const STANDBY: Duration = Duration::from_secs(5);

/// The page, being served.
pub struct StatusPage {
    known: Arc<Known>,
    standby: AbortHandle,
}

/// What this replica knows.
#[derive(Default)]
struct Known {
    /// None: all.
    namespaces: Option<BTreeSet<String>>,
    world: Mutex<Watched>,
    progress: Mutex<Progresses>,
}

/// By the Mirror's namespace and name, and by Job.
type Progresses = BTreeMap<(String, String), BTreeMap<String, Progress>>;

#[derive(Default, Clone)]
enum Watched {
    /// The objects are being listed.
    #[default]
    Nothing,
    Standby(Arc<World>),
    Leading(Arc<Context>),
}

impl StatusPage {
    /// Serves the page until `shutdown`, if there is to be one.
    ///
    /// # Errors
    /// Its address cannot be had.
    pub async fn begin(
        options: &ControllerOptions,
        client: &Client,
        shutdown: &CancellationToken,
    ) -> Result<Option<StatusPage>, ControllerError> {
        let Some(wanted) = &options.status_page else {
            return Ok(None);
        };
        let address = wanted.listen;
        let unusable = |error| ControllerError::StatusPage { address, error };
        let listener = TcpListener::bind(address).await.map_err(unusable)?;
        tracing::info!(address = %listener.local_addr().map_err(unusable)?, "serving the status page");
        let known = Arc::new(Known {
            namespaces: (wanted.namespaces.as_ref())
                .map(|namespaces| namespaces.iter().cloned().collect()),
            ..Known::default()
        });
        let board = Arc::new(Board::new(Box::new(Replica(known.clone())), manner(wanted)));
        let (routes, stop) = (routes(board.clone()), shutdown.clone());
        tokio::spawn(async move {
            if let Err(error) = serve_routes(listener, routes, stop).await {
                tracing::error!(%error, "the status page is no longer served");
            }
        });
        tokio::spawn(tick(board.clone(), shutdown.clone()));
        tokio::spawn(ask_runs(board, known.clone(), shutdown.clone()));
        let standby = watch_as_standby(known.clone(), client.clone(), options.namespace.clone());
        let standby = tokio::spawn(standby).abort_handle();
        Ok(Some(StatusPage { known, standby }))
    }

    /// This replica leads, and knows everything.
    pub fn leads(&self, context: &Arc<Context>) {
        *lock(&self.known.world) = Watched::Leading(context.clone());
        self.standby.abort();
    }
}

fn manner(options: &StatusPageOptions) -> Manner {
    Manner {
        program: Some(Program {
            name: "kubectl mirrorfleet".to_owned(),
            cluster: Vec::new(),
        }),
        fixed_words: options.fixed_words,
    }
}

fn routes(board: Arc<Board>) -> ExtraRoutes {
    on_threads(move |head| Some(fleet_page::answer(&board, head, Timestamp::now())))
}

/// Remembers how things are, whether anybody looks or not.
async fn tick(board: Arc<Board>, stop: CancellationToken) {
    loop {
        let board = board.clone();
        let looked = tokio::task::spawn_blocking(move || board.tick(Timestamp::now())).await;
        let pause = match looked {
            Ok(true) => TICK,
            Ok(false) => SOON,
            Err(error) => {
                tracing::error!(%error, "the status page could not be made");
                TICK
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Watches manifests for as long as this replica does not lead.
async fn watch_as_standby(known: Arc<Known>, client: Client, namespace: Option<String>) {
    tokio::time::sleep(STANDBY).await;
    let world = Arc::new(World::default());
    // Nobody decides anything here.
    let listener: Listener = Arc::new(|_, _| {});
    let mut watches = Watches::of_manifests(&client, namespace.as_deref(), &world, &listener);
    if watches.complete().await.is_err() {
        return;
    }
    {
        let mut watched = lock(&known.world);
        if matches!(*watched, Watched::Nothing) {
            *watched = Watched::Standby(world);
        }
    }
    watches.ended().await;
}

/// Asks runs how far they are, for as long as somebody looks.
async fn ask_runs(board: Arc<Board>, known: Arc<Known>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RUNS_ASKED) => {}
        }
        let watched = lock(&known.world).clone();
        let told = match watched {
            Watched::Leading(context) if board.is_watched(Timestamp::now()) => {
                known.ask(&context.world, &context.asker).await
            }
            _ => Progresses::new(),
        };
        *lock(&known.progress) = told;
    }
}

impl Known {
    async fn ask(&self, world: &World, asker: &Asker) -> Progresses {
        let pods = world.owned.pods().named(|pod| run_address(pod).is_some());
        let shown = pods
            .into_iter()
            .filter(|(mirror, _)| self.shows(&mirror.namespace));
        let asked = shown.take(RUNS).map(|(mirror, pod)| async move {
            let figures = asker.ask_run(run_address(&pod)?).await?;
            Some((mirror, pod.job.clone()?, progress(figures)))
        });
        let told: Vec<_> = (futures::stream::iter(asked).buffer_unordered(AT_ONCE))
            .collect()
            .await;
        let mut all = Progresses::new();
        for (mirror, job, progress) in told.into_iter().flatten() {
            let runs = all.entry((mirror.namespace, mirror.name)).or_default();
            runs.insert(job, progress);
        }
        all
    }

    fn shows(&self, namespace: &str) -> bool {
        (self.namespaces.as_ref()).is_none_or(|namespaces| namespaces.contains(namespace))
    }
}

/// Where a run can be asked; none while it does not go on.
fn run_address(pod: &SeenPod) -> Option<IpAddr> {
    let runs = pod.role == PodRole::Sync && pod.running && !pod.meta.deleting;
    pod.ip.as_deref().filter(|_| runs)?.parse().ok()
}

/// What a run says of itself, as people are told it.
pub fn progress(told: RunFigures) -> Progress {
    Progress {
        phase: told.phase,
        planned_bytes: told.planned_bytes,
        received_bytes: told.received_bytes,
        planned_files: told.planned_files,
        received_files: told.received_files,
    }
}

/// This replica as the source of its page.
struct Replica(Arc<Known>);

impl Source for Replica {
    fn look(&self, _: Timestamp) -> Look {
        let watched = lock(&self.0.world).clone();
        let (world, teller, caveat) = match watched {
            Watched::Nothing => {
                return Look {
                    teller: "a replica of the controller that has just started".to_owned(),
                    ..Look::default()
                };
            }
            Watched::Standby(world) => (
                world,
                "a replica of the controller that stands by",
                "This replica stands by: it sees what the leading one writes into statuses; how far runs are and how regions answer it does not ask.",
            ),
            Watched::Leading(context) => (context.world.clone(), "the controller", ""),
        };
        Look {
            complete: true,
            teller: teller.to_owned(),
            caveat: caveat.to_owned(),
            mirrors: mirrors(&world, &self.0),
            progress: lock(&self.0.progress).clone(),
        }
    }

    fn scores(&self, namespace: &str, mirror: &str, now: Timestamp) -> BTreeMap<String, Score> {
        match &*lock(&self.0.world) {
            Watched::Leading(context) => {
                (context.checks).scores(&ObjectName::new(namespace, mirror), now)
            }
            // A standby asks nobody.
            Watched::Nothing | Watched::Standby(_) => BTreeMap::new(),
        }
    }
}

fn mirrors(world: &World, known: &Known) -> Vec<Seen> {
    let all = world.mirrors.named(|mirror| {
        let namespace = mirror.meta().namespace.as_deref();
        known.shows(namespace.unwrap_or_default())
    });
    let seen = all.into_iter().map(|(name, mirror)| {
        let upstream = upstream_of(&world.upstreams, &name, &mirror);
        let versions = (version(&*mirror), upstream.as_deref().map_or(0, version));
        Seen {
            namespace: name.namespace,
            name: name.name,
            versions,
            mirror: Arc::new(Object(mirror)),
            upstream: upstream
                .map(|upstream| Arc::new(Object(upstream)) as Arc<dyn Held<Upstream>>),
        }
    });
    seen.collect()
}

fn upstream_of(
    upstreams: &Kept<Guarded<Upstream>>,
    mirror: &ObjectName,
    guarded: &Guarded<Mirror>,
) -> Option<Arc<Guarded<Upstream>>> {
    let name = &guarded.0.as_ref().ok()?.spec.upstream_ref.name;
    upstreams.get(&ObjectName::new(&mirror.namespace, name), name)
}

fn version(object: &impl Resource) -> u64 {
    let version = object.resource_version();
    version
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

/// An object that is watched.
struct Object<K>(Arc<Guarded<K>>);

impl<K: Send + Sync> Held<K> for Object<K> {
    fn object(&self) -> Result<&K, &str> {
        self.0.0.as_ref().map_err(|invalid| invalid.error.as_str())
    }
}
