//! The status page of this process: what its stores hold, in the words that a controller has for a region.

mod stores;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fleet_page::{Board, History, Manner};
use fleet_serve::Listening;
use fleet_store::Store;
use fleet_telemetry::{ExtraRoutes, ObjectKey, on_threads, serve_routes};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::stores::Stores;
use super::Arguments;
use super::lane::Shared;
use crate::failure::Failure;
use crate::report::{OutputFormat, announce};
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
        let source = Stores::new(shared.clone(), mirrors_at.clone());
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
                announce(&format!("status page on http://{address}/\n"), output);
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

fn routes(board: Arc<Board>) -> ExtraRoutes {
    on_threads(move |head| Some(fleet_page::answer(&board, head, Timestamp::now())))
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
