//! The listener for `/metrics`, `/healthz`, `/readyz` and what a role adds, and for pages of a role alone. Plain HTTP/1.1,
//! small answers only.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Health, Registry, Seat, Seats};

/// The content type of the text exposition format.
pub const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const TEXT: &str = "text/plain; charset=utf-8";
/// A scraper, a kubelet and a controller need a handful. Whoever comes when all are taken gets the place of the one that
/// has been silent for longest: health must answer, whoever else holds connections to it.
const MAX_CONNECTIONS: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const DRAIN: Duration = Duration::from_secs(5);

/// What an extra route answers.
pub type Answer = Response<Bytes>;

/// Answers further paths of a role; `None` where the path is not one of them. Asked for GET and HEAD only, or for POST by
/// [`serve_hooks`].
pub type ExtraRoutes = Arc<
    dyn Fn(http::request::Parts) -> Pin<Box<dyn Future<Output = Option<Answer>> + Send>>
        + Send
        + Sync,
>;

/// Routes of which each answer takes a thread of those that may block: disks are read for it, or pages are made.
pub fn on_threads(
    answer: impl Fn(&http::request::Parts) -> Option<Answer> + Send + Sync + 'static,
) -> ExtraRoutes {
    let answer = Arc::new(answer);
    Arc::new(move |head| {
        let answer = answer.clone();
        Box::pin(async move {
            let answered = tokio::task::spawn_blocking(move || answer(&head));
            answered.await.ok().flatten()
        })
    })
}

/// An answer that no cache may keep.
pub fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Serves until `shutdown`, then finishes the requests that are being answered.
///
/// # Errors
/// Only what makes the listener itself unusable; a failing connection ends alone.
pub async fn serve_metrics(
    listener: TcpListener,
    registry: Registry,
    health: Health,
    extra: Option<ExtraRoutes>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let routes = Routes::Operators(Operators {
        registry,
        health,
        extra,
    });
    serve(listener, routes, HEADER_TIMEOUT, shutdown).await
}

/// The same for what a role answers by itself, and nothing else.
///
/// # Errors
/// As above.
pub async fn serve_routes(
    listener: TcpListener,
    routes: ExtraRoutes,
    shutdown: CancellationToken,
) -> io::Result<()> {
    serve(listener, Routes::Pages(routes), HEADER_TIMEOUT, shutdown).await
}

/// The same for what a role is told, by POST and by nothing else. Bodies are not read.
///
/// # Errors
/// As above.
pub async fn serve_hooks(
    listener: TcpListener,
    routes: ExtraRoutes,
    shutdown: CancellationToken,
) -> io::Result<()> {
    serve(listener, Routes::Hooks(routes), HEADER_TIMEOUT, shutdown).await
}

async fn serve(
    listener: TcpListener,
    routes: Routes,
    header_timeout: Duration,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let routes = Arc::new(routes);
    let graceful = GracefulShutdown::new();
    let mut seats = Seats::new(MAX_CONNECTIONS, shutdown.clone());
    loop {
        let stream = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, or a connection that died while waiting: neither ends the listener.
                    tracing::warn!(%error, "a listener could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let Some(seat) = seats.take().await else {
            break;
        };
        let (routes, watcher) = (routes.clone(), graceful.watcher());
        tokio::spawn(serve_connection(
            stream,
            routes,
            header_timeout,
            watcher,
            seat,
        ));
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(
            "connections to the metrics listener were still open after {} s",
            DRAIN.as_secs()
        );
    }
    Ok(())
}

async fn serve_connection(
    stream: TcpStream,
    routes: Arc<Routes>,
    header_timeout: Duration,
    watcher: Watcher,
    mut seat: Seat,
) {
    let mark = seat.mark().clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (routes, mark) = (routes.clone(), mark.clone());
        async move {
            mark.busy(Instant::now());
            let answer = routes.answer(request).await.map(Full::new);
            // Answers are small. Whoever does not take one is as silent as others.
            mark.idle(Instant::now());
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .serve_connection(TokioIo::new(stream), service);
    let result = tokio::select! {
        result = watcher.watch(connection) => result,
        () = seat.evicted() => return,
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection to the metrics listener ended early");
    }
}

enum Routes {
    Operators(Operators),
    Pages(ExtraRoutes),
    Hooks(ExtraRoutes),
}

struct Operators {
    registry: Registry,
    health: Health,
    extra: Option<ExtraRoutes>,
}

impl Routes {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, _) = request.into_parts();
        let (methods, allowed) = match self {
            Routes::Operators(_) | Routes::Pages(_) => {
                (&[Method::GET, Method::HEAD][..], "GET, HEAD")
            }
            Routes::Hooks(_) => (&[Method::POST][..], "POST"),
        };
        if !methods.contains(&head.method) {
            let words = format!("only {allowed} is answered here\n");
            let mut answer = respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, words);
            let headers = answer.headers_mut();
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
            return answer;
        }
        match self {
            Routes::Operators(operators) => operators.answer(head).await,
            Routes::Pages(routes) | Routes::Hooks(routes) => {
                let answer = routes(head).await;
                answer.unwrap_or_else(|| respond(StatusCode::NOT_FOUND, TEXT, "nothing is here\n"))
            }
        }
    }
}

impl Operators {
    async fn answer(&self, head: http::request::Parts) -> Answer {
        match head.uri.path() {
            "/metrics" => self.metrics().await,
            "/healthz" => respond(StatusCode::OK, TEXT, "ok\n"),
            "/readyz" => self.readyz().await,
            _ => self.extra(head).await,
        }
    }

    async fn metrics(&self) -> Answer {
        let registry = self.registry.clone();
        // The process metrics are read from /proc.
        match tokio::task::spawn_blocking(move || registry.render()).await {
            Ok(Ok(text)) => respond(StatusCode::OK, METRICS_CONTENT_TYPE, text),
            Ok(Err(error)) => failed(&error),
            Err(error) => failed(&error),
        }
    }

    async fn readyz(&self) -> Answer {
        let health = self.health.clone();
        match tokio::task::spawn_blocking(move || health.readiness()).await {
            Ok(readiness) => {
                let (status, word) = match readiness.ready {
                    true => (StatusCode::OK, "ready"),
                    false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
                };
                let mut text = format!("{word}\n");
                for line in readiness.detail {
                    text.push_str(&line);
                    text.push('\n');
                }
                respond(status, TEXT, text)
            }
            Err(error) => failed(&error),
        }
    }

    async fn extra(&self, head: http::request::Parts) -> Answer {
        let answer = match &self.extra {
            Some(routes) => routes(head).await,
            None => None,
        };
        answer.unwrap_or_else(|| {
            respond(
                StatusCode::NOT_FOUND,
                TEXT,
                "here are /metrics, /healthz and /readyz\n",
            )
        })
    }
}

fn failed(error: &dyn std::fmt::Display) -> Answer {
    tracing::error!(%error, "the metrics listener could not make an answer");
    respond(
        StatusCode::INTERNAL_SERVER_ERROR,
        TEXT,
        format!("{error}\n"),
    )
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::BuildInfo;

    /// Connections that say nothing, that say half of something, and that ask much and take nothing.
    #[tokio::test]
    async fn health_answers_whoever_holds_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let registry = Registry::new(&BuildInfo {
            version: "0.1.0".into(),
            revision: "abc".into(),
            role: "local".into(),
        });
        let routes = Routes::Operators(Operators {
            registry: registry.unwrap(),
            health: Health::always_ready(),
            extra: None,
        });
        // However slow the machine is, nobody's own limit makes room for the one who asks for health.
        let never = Duration::from_secs(24 * 3600);
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(listener, routes, never, shutdown.clone()));
        let mut held = Vec::new();
        for number in 0..300 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let said = match number % 3 {
                0 => String::new(),
                1 => "GET /healthz HTTP/1.1\r\nX".to_owned(),
                _ => "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50),
            };
            // Those that have been ended by now may be told so.
            let _ = stream.write_all(said.as_bytes()).await;
            held.push(stream);
        }
        let asked = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            stream.write_all(request).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = tokio::time::timeout(Duration::from_secs(120), asked)
            .await
            .expect("health did not answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        shutdown.cancel();
        drop(held);
        server.await.unwrap().unwrap();
    }
}
