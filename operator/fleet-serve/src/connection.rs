//! Listening, accepting, and one task for each connection: limits, time-outs, draining.

use fleet_types::{are, counted};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fleet_telemetry::{Seat, Seats};
use http::request::Parts;
use http::{Method, Request, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::answer::{Answer, Counted};
use crate::asked::{Asked, Came, MOST_WAITS, NotNow};
use crate::body::{self, InFlight, prepare};
use crate::catalog::Catalog;
use crate::http2::{self, Answers, Limits};
use crate::limits::{HEAD_TIMEOUT, MAX_HEAD_BYTES, MAX_HEADERS, STALL_TIMEOUT};
use crate::plain;
use crate::registry::Registries;
use crate::stall::StallGuard;
use crate::transaction::{Way, is_host_clear};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// What answers the requests of a listener. Where it may block it needs nothing more than what is to be fetched.
pub type Respond = fn(&Catalog, Asked<'_>) -> Result<Counted, NotNow>;

/// A listener.
pub struct HttpServer {
    pub catalog: Arc<Catalog>,
    pub respond: Respond,
    /// What else is served, where clients come without TLS.
    pub registries: Option<Registries>,
    pub tls: Option<TlsAcceptor>,
    /// How long requests may take to end once the server was told to stop.
    pub drain: Duration,
    /// Whoever comes when there are so many gets the place of one that is idle.
    pub connections: usize,
    pub limits: Limits,
}

/// Binds; `[::]` means every address of this machine, also where it has no IPv6.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) if address.ip().is_unspecified() && is_without_ipv6(&error) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
}

fn is_without_ipv6(error: &io::Error) -> bool {
    let errno = error
        .raw_os_error()
        .map(rustix::io::Errno::from_raw_os_error);
    matches!(
        errno,
        Some(rustix::io::Errno::AFNOSUPPORT | rustix::io::Errno::ADDRNOTAVAIL)
    )
}

impl HttpServer {
    /// Serves until `shutdown`, then stops accepting and lets the requests that are being answered end.
    pub async fn run(self, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
        let drain = self.drain;
        let mut seats = Seats::new(self.connections, shutdown.clone());
        let server = Arc::new(self);
        let mut open = JoinSet::new();
        loop {
            let (stream, peer) = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => (stream, peer.ip()),
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            let Some(seat) = seats.take().await else {
                break;
            };
            open.spawn(
                server
                    .clone()
                    .connection((stream, peer), seat, shutdown.clone()),
            );
            // Those that have ended meanwhile.
            while open.try_join_next().is_some() {}
        }
        drop(listener);
        let all = async { while open.join_next().await.is_some() {} };
        if tokio::time::timeout(drain, all).await.is_err() {
            tracing::warn!(
                "{} had not ended after {} s and {} cut",
                counted(open.len(), "connection"),
                drain.as_secs_f64(),
                are(open.len())
            );
            open.shutdown().await;
        }
        Ok(())
    }

    async fn connection(
        self: Arc<Self>,
        (stream, peer): (TcpStream, IpAddr),
        seat: Seat,
        shutdown: CancellationToken,
    ) {
        // Only latency is at stake.
        let _ = stream.set_nodelay(true);
        match self.tls.clone() {
            None => {
                let (catalog, registries) = (self.catalog.clone(), self.registries.clone());
                let at = (stream, peer);
                plain::serve(catalog, self.respond, registries, at, seat).await;
            }
            // Apart, so that a connection without TLS has no room for what one with it needs.
            Some(acceptor) => {
                Box::pin(self.encrypted(acceptor, (stream, peer), seat, shutdown)).await;
            }
        }
    }

    async fn encrypted(
        self: Arc<Self>,
        acceptor: TlsAcceptor,
        (stream, peer): (TcpStream, IpAddr),
        mut seat: Seat,
        shutdown: CancellationToken,
    ) {
        let handshake = acceptor.accept(StallGuard::new(stream, STALL_TIMEOUT));
        let accepted = tokio::select! {
            accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake) => accepted,
            () = seat.evicted() => return,
        };
        let limits = self.limits.clone();
        let answering = Answering { server: self, peer };
        match accepted {
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                http2::serve(stream, answering, limits, seat, shutdown).await;
            }
            Ok(Ok(stream)) => answering.http1(stream, seat, shutdown).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }
}

/// Finds answers for a connection with TLS.
#[derive(Clone)]
struct Answering {
    server: Arc<HttpServer>,
    /// Who connected.
    peer: IpAddr,
}

impl Answering {
    async fn http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self,
        stream: S,
        mut seat: Seat,
        shutdown: CancellationToken,
    ) {
        let mark = seat.mark().clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (answering, mark) = (self.clone(), mark.clone());
            async move {
                mark.busy(Instant::now());
                let (head, _body) = request.into_parts();
                let method = head.method.clone();
                let (answer, request) = answering.answer(head).await;
                Ok::<_, Infallible>(body::response(&method, answer, request, mark))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            () = finish(connection, shutdown) => {}
            () = seat.evicted() => {}
        }
    }
}

impl Answers for Answering {
    /// On this thread where nothing has to be waited for: another one costs two wake-ups.
    async fn answer(&self, head: Parts) -> (Answer, InFlight) {
        let started = Instant::now();
        if let Ok(found) = self.find(&head, started, None) {
            return found;
        }
        let (head, mut came) = (Arc::new(head), None);
        for _ in 0..=MOST_WAITS {
            match self
                .clone()
                .find_patiently(head.clone(), started, came)
                .await
            {
                Some(Ok(found)) => return found,
                Some(Err(NotNow::Later(later))) => came = Some(later.come().await),
                Some(Err(NotNow::NeedsDisk)) | None => break,
            }
        }
        InFlight::begin(&Method::GET, self.server.catalog.unanswered(), started)
    }
}

impl Answering {
    /// The answer, by a thread that may wait for the disk; none where it ended for a reason of our own.
    async fn find_patiently(
        self,
        head: Arc<Parts>,
        started: Instant,
        came: Option<Came>,
    ) -> Option<Result<(Answer, InFlight), NotNow>> {
        let find = move || self.find(&head, started, Some(came.as_ref()));
        let answering = tokio::task::spawn_blocking(find);
        let log = |error| tracing::error!(%error, "a request could not be answered");
        answering.await.map_err(log).ok()
    }

    /// The answer to a request that came over TLS. `patient` where it may block on the disk, with what came of what it
    /// waited for.
    fn find(
        &self,
        head: &Parts,
        started: Instant,
        patient: Option<Option<&Came>>,
    ) -> Result<(Answer, InFlight), NotNow> {
        let catalog = &self.server.catalog;
        let may_block = patient.is_some();
        let at = match may_block {
            true => Instant::now(),
            false => started,
        };
        let is_clear = match head.version {
            Version::HTTP_2 => true,
            version => is_host_clear(&head.headers, version == Version::HTTP_10),
        };
        let counted = match is_clear {
            true => (self.server.respond)(
                catalog,
                Asked {
                    method: &head.method,
                    path: head.uri.path(),
                    headers: &head.headers,
                    way: Way {
                        authority: head.uri.authority().map(|authority| authority.as_str()),
                        secure: true,
                    },
                    peer: self.peer,
                    at: at.into_std(),
                    may_block,
                    came: patient.flatten(),
                },
            )?,
            false => catalog.outside(Answer::text(
                StatusCode::BAD_REQUEST,
                "this is not a request that can be answered",
            )),
        };
        Ok(prepare(&head.method, counted, started, may_block)?)
    }
}

/// Runs one of hyper's connections to its end; after `shutdown` it takes no further request.
async fn finish<C>(connection: C, shutdown: CancellationToken)
where
    C: GracefulConnection,
    C::Error: std::fmt::Display,
{
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use fleet_telemetry::{BuildInfo, Registry, ServerMetrics, ServerPlace};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::catalog::Told;
    use crate::handler;

    const PATIENCE: Duration = Duration::from_secs(50);
    const REQUEST: &[u8] = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";

    async fn start(connections: usize, shutdown: CancellationToken) -> SocketAddr {
        let build = BuildInfo {
            version: "1".into(),
            revision: "test".into(),
            role: "serve".into(),
        };
        let registry = Registry::new(&build).unwrap();
        let metrics = ServerMetrics::register(&registry, ServerPlace::default()).unwrap();
        let data = tempfile::tempdir().unwrap().keep();
        let server = HttpServer {
            catalog: Arc::new(Catalog::new(
                data,
                Told::default(),
                metrics,
                Registries::default(),
                16,
                None,
            )),
            respond: handler::answer,
            registries: None,
            tls: None,
            drain: Duration::ZERO,
            connections,
            limits: Limits {
                idle: HEAD_TIMEOUT,
                stall: STALL_TIMEOUT,
                bytes: Arc::new(Semaphore::new(1)),
                streams: Arc::new(Semaphore::new(1)),
            },
        };
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(server.run(listener, shutdown));
        address
    }

    async fn ask(stream: &mut TcpStream) -> io::Result<usize> {
        stream.write_all(REQUEST).await?;
        stream.read(&mut [0; 4096]).await
    }

    #[tokio::test]
    async fn idle_connections_make_room_for_whoever_comes() {
        let shutdown = CancellationToken::new();
        let address = start(4, shutdown.clone()).await;
        let mut held = Vec::new();
        for number in 0..40 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // Kept alive after an answer, silent, or in the middle of a head.
            let answered = match number % 3 {
                0 => tokio::time::timeout(PATIENCE, ask(&mut stream)).await,
                1 => Ok(Ok(1)),
                _ => Ok(stream.write(b"GET / HTTP/1.1\r\nX").await),
            };
            let count = answered.expect("no answer came").unwrap();
            assert!(count > 0, "number {number} was not answered");
            held.push(stream);
        }
        let mut last = TcpStream::connect(address).await.unwrap();
        let answered = tokio::time::timeout(PATIENCE, ask(&mut last)).await;
        assert!(answered.expect("no answer came").unwrap() > 0);
        shutdown.cancel();
    }
}
