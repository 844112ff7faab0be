//! The status page of this process: what its stores hold, in the words that a controller has for a region.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fleet_api::{Mirror, MirrorStatus, Run, SnapshotStatus, Upstream};
use fleet_page::{Board, Held, History, Look, Manner, Seen, Source};
use fleet_serve::Listening;
use fleet_store::{SnapshotInfo, Store};
use fleet_telemetry::{ExtraRoutes, ObjectKey, serve_routes};
use fleet_types::{Reason, lock};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Arguments;
use super::freshness::{REGION, Told};
use super::lane::{Shared, place};
use crate::failure::Failure;
use crate::report::{OutputFormat, print};
use crate::runtime::bind;

/// How often it is looked how things are, for the hours.
const TICK: Duration = Duration::from_secs(30);
/// The same while not everything is known.
const SOON: Duration = Duration::from_secs(1);
/// After so many looks the hours are written down.
const TICKS_KEPT: u32 = 10;
/// Above the port of the mirrors, where nobody says another one.
const PORTS_ABOVE: u16 = 10;

/// Where somebody wants the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Nowhere,
    At(SocketAddr),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        match text {
            "none" => Ok(Place::Nowhere),
            address => {
                let read = address.parse().map(Place::At);
                read.map_err(|_| {
                    "write an address with its port, such as 127.0.0.1:8090, or none".to_owned()
                })
            }
        }
    }
}

/// The page, before it is served.
pub struct Page {
    wanted: Option<Place>,
    /// Where somebody said so.
    listener: Option<TcpListener>,
    board: Arc<Board>,
    shared: Arc<Shared>,
    mirrors_at: Arc<OnceLock<SocketAddr>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Page {
    /// Takes the address that somebody asked for.
    ///
    /// # Errors
    /// It cannot be had.
    pub async fn prepare(
        arguments: &Arguments,
        shared: Arc<Shared>,
        stop: CancellationToken,
    ) -> Result<Page, Failure> {
        let listener = match arguments.status_listen {
            Some(Place::At(address)) => Some(bind("--status-listen", address).await?),
            _ => None,
        };
        let mirrors_at = Arc::new(OnceLock::new());
        let source = Stores {
            shared: shared.clone(),
            mirrors_at: mirrors_at.clone(),
            looks: AtomicU64::new(0),
        };
        let manner = Manner {
            program: None,
            fixed_words: arguments.status_fixed_words,
        };
        Ok(Page {
            wanted: arguments.status_listen,
            listener,
            board: Arc::new(Board::new(Box::new(source), manner)),
            shared,
            mirrors_at,
            tasks: TaskTracker::new(),
            stop,
        })
    }

    /// Waits until the page has ended, once it should.
    pub fn ended(&self) -> TaskTracker {
        self.tasks.clone()
    }

    /// Begins to serve it, and says where.
    pub fn begin(self, mirrors: &Listening, output: OutputFormat) {
        let _ = self.mirrors_at.set(mirrors.http);
        let listener = match (self.listener, self.wanted) {
            (Some(listener), _) => Some(listener),
            (None, Some(_)) => None,
            (None, None) => unasked(mirrors.http),
        };
        if let Some(listener) = listener {
            if let Ok(address) = listener.local_addr() {
                announce(address, output);
            }
            let (routes, stop) = (routes(self.board.clone()), self.stop.clone());
            self.tasks.spawn(async move {
                if let Err(error) = serve_routes(listener, routes, stop).await {
                    tracing::error!(%error, "the status page is no longer served");
                }
            });
            let hours = Hours {
                board: self.board,
                shared: self.shared,
                taken_up: BTreeSet::new(),
            };
            self.tasks.spawn(hours.keep(self.stop));
        }
        self.tasks.close();
    }
}

/// Nobody asked for another place: on this machine only. That it cannot be had stops nothing.
fn unasked(mirrors: SocketAddr) -> Option<TcpListener> {
    let ip = match mirrors.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    let address = SocketAddr::new(ip, mirrors.port().checked_add(PORTS_ABOVE).unwrap_or(0));
    let listener = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    });
    match listener {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::warn!(%address, %error, "the status page is not served; --status-listen chooses another address, or none");
            None
        }
    }
}

/// On standard output, or on standard error where that holds JSON.
fn announce(address: SocketAddr, output: OutputFormat) {
    let text = format!("status page on http://{address}/\n");
    match output {
        OutputFormat::Json => eprint!("{text}"),
        OutputFormat::Text => {
            if let Err(failure) = print(&text) {
                tracing::warn!(%failure, "the address could not be printed");
            }
        }
    }
}

fn routes(board: Arc<Board>) -> ExtraRoutes {
    Arc::new(move |head| {
        let board = board.clone();
        Box::pin(async move {
            let made = tokio::task::spawn_blocking(move || {
                fleet_page::answer(&board, &head, Timestamp::now())
            });
            made.await.ok()
        })
    })
}

/// What the page remembers, kept in the stores.
struct Hours {
    board: Arc<Board>,
    shared: Arc<Shared>,
    /// Whose hours were read.
    taken_up: BTreeSet<ObjectKey>,
}

impl Hours {
    /// Looks twice a minute until `stop`, and writes down what it saw.
    async fn keep(mut self, stop: CancellationToken) {
        let mut ticks: u32 = 0;
        loop {
            ticks = ticks.wrapping_add(1);
            let ends = stop.is_cancelled();
            let writes = ends || ticks.is_multiple_of(TICKS_KEPT);
            let done = tokio::task::spawn_blocking(move || {
                let complete = self.look();
                if writes {
                    self.write();
                }
                (self, complete)
            });
            let pause = match done.await {
                Ok((hours, complete)) if !ends => {
                    self = hours;
                    if complete { TICK } else { SOON }
                }
                _ => return,
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Whether everything is known.
    fn look(&mut self) -> bool {
        for (key, _) in self.shared.freshness.told() {
            if self.taken_up.contains(&key) {
                continue;
            }
            let Ok(store) = self.store(&key) else {
                continue;
            };
            let kept = store.state::<History>(History::DOCUMENT);
            if let Ok(Some(kept)) = kept {
                self.board.take_up(&key.namespace, &key.name, kept);
            }
            self.taken_up.insert(key);
        }
        self.board.tick(Timestamp::now())
    }

    fn write(&self) {
        for key in &self.taken_up {
            let hours = self.board.hours_of(&key.namespace, &key.name);
            let written = self
                .store(key)
                .and_then(|store| store.state_write_beside(History::DOCUMENT, &hours));
            if let Err(error) = written {
                tracing::debug!(mirror = key.name, %error, "the hours of the status page were not kept");
            }
        }
    }

    fn store(&self, key: &ObjectKey) -> Result<Store, fleet_store::StoreError> {
        Store::open(&self.shared.data.join(&key.name))
    }
}

/// What this process knows of its Mirrors.
struct Stores {
    shared: Arc<Shared>,
    mirrors_at: Arc<OnceLock<SocketAddr>>,
    looks: AtomicU64,
}

impl Source for Stores {
    fn look(&self, now: Timestamp) -> Look {
        // Nothing tells that a store has changed: each look is a new one.
        let version = self.looks.fetch_add(1, Ordering::Relaxed);
        let mut look = Look {
            complete: self.shared.freshness.is_complete(),
            teller: "this process".to_owned(),
            ..Look::default()
        };
        for (key, told) in self.shared.freshness.told() {
            let mut seen = Seen {
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                versions: (version, 0),
                mirror: Arc::new(Unusable(String::new())),
                upstream: None,
            };
            match told {
                Told::Refused(problem) => seen.mirror = Arc::new(Unusable(problem)),
                Told::Copy {
                    mirror,
                    upstream,
                    next_run,
                } => {
                    let mut mirror = *mirror;
                    self.complete(&key, &mut mirror, next_run, now);
                    if let Some(figures) = self
                        .shared
                        .worker
                        .figures(&place(&key.namespace, &key.name))
                    {
                        let progress = fleet_controller::progress(figures);
                        look.progress
                            .insert(seen.key(), [(String::new(), progress)].into());
                    }
                    seen.mirror = Arc::new(mirror);
                    seen.upstream = Some(Arc::new(*upstream) as Arc<dyn Held<Upstream>>);
                }
            }
            look.mirrors.push(seen);
        }
        look
    }
}

impl Stores {
    /// What of a status only this process knows.
    fn complete(
        &self,
        key: &ObjectKey,
        mirror: &mut Mirror,
        next_run: Option<i64>,
        now: Timestamp,
    ) {
        let url = self.url(key, mirror);
        let run = self.run(key);
        let store = Store::open(&self.shared.data.join(&key.name)).ok();
        let kept = store.and_then(|store| {
            let mut kept = store.snapshots().ok()?;
            kept.sort_by_key(|info| std::cmp::Reverse(info.meta.created));
            Some(kept.iter().map(|info| snapshot(&store, info)).collect())
        });
        let Some(status) = &mut mirror.status else {
            return;
        };
        // Mirrors of one Upstream take turns, so a time that has passed means now.
        let next = next_run.and_then(|at| Timestamp::from_second(at).ok());
        status.next_sync_time = next.map(|at| Time(at.max(now)));
        for region in &mut status.regions {
            region.url.clone_from(&url);
            for replica in &mut region.replicas {
                replica.current_run.clone_from(&run);
            }
        }
        if run.is_some() {
            first_sync_runs(status);
        }
        status.snapshots = kept.unwrap_or_default();
    }

    fn run(&self, key: &ObjectKey) -> Option<Run> {
        let due = lock(&self.shared.runs).get(&key.name)?.clone();
        let figures = self
            .shared
            .worker
            .figures(&place(&key.namespace, &key.name))?;
        Some(Run {
            job: String::new(),
            trigger: due.trigger,
            retry: due.retry,
            started_at: Time(Timestamp::from_second(figures.started).ok()?),
            inputs: String::new(),
            snapshots_inputs: String::new(),
            copies: None,
        })
    }

    /// Where clients find it: at the address that is listened on, or, where that is all of them, by this machine's name.
    fn url(&self, key: &ObjectKey, mirror: &Mirror) -> Option<String> {
        let address = self.mirrors_at.get()?;
        let path = match mirror.spec.serving.path.as_str() {
            "" => key.name.as_str(),
            path => path,
        };
        let host = match address.ip().is_unspecified() {
            false => address.to_string(),
            true => {
                let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
                format!("{}:{}", name.trim(), address.port())
            }
        };
        Some(format!("http://{host}/{path}/"))
    }
}

/// Judged when it was last heard of: by now its first sync is no longer pending.
fn first_sync_runs(status: &mut MirrorStatus) {
    let (pending, running) = (Reason::FirstSyncPending, Reason::FirstSyncRunning);
    for condition in &mut status.conditions {
        if condition.reason == pending.as_str() {
            condition.reason = running.to_string();
            condition.message = format!("region {REGION}: the first sync runs");
        }
    }
    let state = status.state.as_mut();
    let state = state.filter(|state| *state == pending.as_str());
    state
        .into_iter()
        .for_each(|state| *state = running.to_string());
}

fn snapshot(store: &Store, info: &SnapshotInfo) -> SnapshotStatus {
    let time = |at: i64| Timestamp::from_second(at).ok().map(Time);
    let told = store.told(info);
    SnapshotStatus {
        id: told.id.to_string(),
        created: time(told.created.0),
        revision_date: told.date.and_then(|at| time(at.0)),
        superseded_at: None,
        served_until: told.superseded_at.and_then(|at| time(at.0)),
        regions: i32::from(info.current),
        index: told.index.map(|index| index.to_string()),
    }
}

/// What is declared and cannot be carried out.
struct Unusable(String);

impl Held<Mirror> for Unusable {
    fn object(&self) -> Result<&Mirror, &str> {
        Err(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_or_none() {
        assert_eq!("none".parse(), Ok(Place::Nowhere));
        let at = "[::1]:0".parse::<Place>().unwrap();
        assert!(matches!(at, Place::At(address) if address.port() == 0));
        assert!("8090".parse::<Place>().unwrap_err().contains("none"));
    }
}
