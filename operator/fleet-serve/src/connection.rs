//! Listening, accepting, and one task for each connection: limits, time-outs, draining.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::answer::{Answer, Counted};
use crate::asked::Asked;
use crate::body::{AnswerBody, prepare};
use crate::catalog::Catalog;
use crate::handler;
use crate::plain;
use crate::stall::StallGuard;
use crate::transaction::Way;

/// For a whole request head to arrive; an idle connection is closed after it too.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// Without the client taking a single byte.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(120);
pub const MAX_HEAD_BYTES: usize = 32 * 1024;
pub const MAX_HEADERS: usize = 100;
const MAX_STREAMS: u32 = 100;

/// The main listener.
pub struct HttpServer {
    pub catalog: Arc<Catalog>,
    pub tls: Option<TlsAcceptor>,
    /// How long requests may take to end once the server was told to stop.
    pub drain: Duration,
    /// More wait to be accepted.
    pub connections: usize,
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
        let slots = Arc::new(Semaphore::new(self.connections));
        let server = Arc::new(self);
        let mut open = JoinSet::new();
        loop {
            let slot = tokio::select! {
                () = shutdown.cancelled() => break,
                slot = slots.clone().acquire_owned() => slot.map_err(io::Error::other)?,
            };
            let stream = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            let (server, shutdown) = (server.clone(), shutdown.clone());
            open.spawn(async move {
                server.connection(stream, shutdown).await;
                drop(slot);
            });
            // Those that have ended meanwhile.
            while open.try_join_next().is_some() {}
        }
        drop(listener);
        let all = async { while open.join_next().await.is_some() {} };
        if tokio::time::timeout(drain, all).await.is_err() {
            tracing::warn!(
                "{} connections had not ended after {} s; they are cut",
                open.len(),
                drain.as_secs_f64()
            );
            open.shutdown().await;
        }
        Ok(())
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, shutdown: CancellationToken) {
        // Only latency is at stake.
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = self.tls.clone() else {
            return plain::serve(self.catalog.clone(), stream, shutdown).await;
        };
        let stream = StallGuard::new(stream, STALL_TIMEOUT);
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                self.http2(stream, shutdown).await
            }
            Ok(Ok(stream)) => self.http1(stream, shutdown).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self: Arc<Self>,
        stream: S,
        shutdown: CancellationToken,
    ) {
        let service = service_fn(move |request| self.clone().respond(request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        finish(connection, shutdown).await;
    }

    async fn http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self: Arc<Self>,
        stream: S,
        shutdown: CancellationToken,
    ) {
        let service = service_fn(move |request| self.clone().respond(request));
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(HEAD_TIMEOUT)
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEAD_BYTES as u32)
            .serve_connection(TokioIo::new(stream), service);
        finish(connection, shutdown).await;
    }

    async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, Infallible> {
        let started = Instant::now();
        let (head, _body) = request.into_parts();
        let (catalog, secure) = (self.catalog.clone(), self.tls.is_some());
        let answering = tokio::task::spawn_blocking(move || {
            let asked = Asked {
                method: &head.method,
                path: head.uri.path(),
                headers: &head.headers,
                way: Way {
                    authority: head.uri.authority().map(|authority| authority.as_str()),
                    secure,
                },
                may_block: true,
            };
            let counted = handler::answer(&catalog, asked).unwrap_or_else(|_| unanswered(&catalog));
            prepare(&head.method, counted, started)
        });
        let prepared = answering.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a request could not be answered");
            prepare(&http::Method::GET, unanswered(&self.catalog), started)
        });
        Ok(prepared.into_response())
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

/// For a request that should have been answered, and was not for a reason of our own.
pub fn unanswered(catalog: &Catalog) -> Counted {
    Counted {
        answer: Answer::unavailable("the mirror could not answer this request"),
        traffic: catalog.outside.clone(),
    }
}
