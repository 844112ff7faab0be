//! A file server on loopback that counts what it is asked for and misbehaves on request.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{
    CONTENT_LENGTH, CONTENT_RANGE, HeaderValue, IF_MODIFIED_SINCE, LAST_MODIFIED, LOCATION, RANGE,
    RETRY_AFTER,
};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use url::Url;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What is wrong with the answer for a path.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Announces the whole and ends the connection after so many bytes of the body.
    BreaksOffAfter(usize),
    /// The same, and what is sent before are other bytes.
    WrongThenBreaksOff(usize),
    /// Goes on for ever, without a length.
    Endless,
    /// Sends so many bytes, then nothing.
    StallsAfter(usize),
    /// Other bytes instead.
    Content(Vec<u8>),
    Status(u16),
    RetryAfter(u16, String),
    Redirect(String),
    /// A range, but not the one that was asked for.
    WrongRange,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// As in the request line.
    pub path: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
    pub user_agent: Option<String>,
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    /// Path, how often still, what.
    faults: Vec<(String, usize, Fault)>,
    dates: bool,
    ranges: bool,
    /// What is served.
    root: PathBuf,
    /// What is served after the next answer for a path.
    changes: Vec<(String, PathBuf)>,
    /// Only who says this in Authorization is let in.
    password: Option<String>,
}

#[derive(Clone)]
pub struct Server {
    pub url: Url,
    state: Arc<Mutex<State>>,
    _alive: Arc<tokio_util::sync::DropGuard>,
}

impl Server {
    pub async fn start(root: PathBuf) -> Server {
        Server::start_with(root, None).await
    }

    async fn start_with(root: PathBuf, tls: Option<TlsAcceptor>) -> Server {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let url = Url::parse(&format!(
            "http://{}/debian/",
            listener.local_addr().unwrap()
        ))
        .unwrap();
        let state = Arc::new(Mutex::new(State {
            dates: true,
            ranges: true,
            root,
            ..State::default()
        }));
        let end = tokio_util::sync::CancellationToken::new();
        let server = Server {
            url,
            state,
            _alive: Arc::new(end.clone().drop_guard()),
        };
        tokio::spawn(accept(listener, server.state.clone(), tls, end));
        server
    }

    /// The same over https.
    pub async fn start_tls(root: PathBuf, tls: TlsAcceptor) -> Server {
        let mut server = Server::start_with(root, Some(tls)).await;
        server.url.set_scheme("https").unwrap();
        server
    }

    /// Serves another folder once `path` was answered.
    pub fn change_after(&self, path: &str, root: PathBuf) {
        let change = (path.to_owned(), root);
        self.state.lock().unwrap().changes.push(change);
    }

    pub fn change(&self, root: PathBuf) {
        self.state.lock().unwrap().root = root;
    }

    /// From now on every request needs this in Authorization.
    pub fn protect(&self, authorization: &str) {
        self.state.lock().unwrap().password = Some(authorization.to_owned());
    }

    /// From now on neither dates nor ranges: as some upstreams are.
    pub fn bare(&self) {
        let mut state = self.state.lock().unwrap();
        (state.dates, state.ranges) = (false, false);
    }

    /// The next `times` answers for `path` (below the repository) are wrong like this.
    pub fn fault(&self, path: &str, times: usize, fault: Fault) {
        self.state
            .lock()
            .unwrap()
            .faults
            .push((path.to_owned(), times, fault));
    }

    pub fn heal(&self) {
        self.state.lock().unwrap().faults.clear();
    }

    /// What was asked for since the last time.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }

    pub fn seen_count(&self) -> usize {
        self.state.lock().unwrap().seen.len()
    }
}

async fn accept(
    listener: tokio::net::TcpListener,
    state: Arc<Mutex<State>>,
    tls: Option<TlsAcceptor>,
    end: tokio_util::sync::CancellationToken,
) {
    loop {
        let (stream, _) = tokio::select! {
            () = end.cancelled() => return,
            accepted = listener.accept() => accepted.unwrap(),
        };
        let (state, tls, end) = (state.clone(), tls.clone(), end.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = end.cancelled() => {}
                () = connection(stream, tls, state) => {}
            }
        });
    }
}

/// Connections that a client gave up, before or after they were made, are no failure of a test.
async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, state: Arc<Mutex<State>>) {
    let service = service_fn(move |request| {
        let response = answer(&state, &request);
        async move { Ok::<_, Infallible>(response) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let Some(tls) = tls else {
        drop(
            builder
                .serve_connection(TokioIo::new(stream), service)
                .await,
        );
        return;
    };
    if let Ok(stream) = tls.accept(stream).await {
        drop(
            builder
                .serve_connection(TokioIo::new(stream), service)
                .await,
        );
    }
}

fn answer(state: &Mutex<State>, request: &Request<Incoming>) -> Response<Body> {
    let header = |name| {
        request
            .headers()
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
            .map(str::to_owned)
    };
    let mut state = state.lock().unwrap();
    let path = request.uri().path().to_owned();
    state.seen.push(Seen {
        path: path.clone(),
        range: header(RANGE),
        authorization: header(hyper::header::AUTHORIZATION),
        user_agent: header(hyper::header::USER_AGENT),
    });
    let name = percent_decode(path.strip_prefix("/debian/").unwrap_or(&path));
    let fault = state
        .faults
        .iter_mut()
        .find(|(at, times, _)| *at == name && *times > 0)
        .map(|(_, times, fault)| {
            *times -= 1;
            fault.clone()
        });
    if state.password.is_some() && header(hyper::header::AUTHORIZATION) != state.password {
        return empty(StatusCode::UNAUTHORIZED);
    }
    let file = state.root.join(&name);
    if let Some(at) = state.changes.iter().position(|(after, _)| *after == name) {
        state.root = state.changes.remove(at).1;
    }
    let content = match &fault {
        Some(Fault::Content(other)) => Some(other.clone()),
        _ => std::fs::read(&file).ok(),
    };
    if let Some(response) = content
        .as_ref()
        .and(fault.as_ref())
        .and_then(|fault| broken(fault, content.as_deref().unwrap_or_default()))
    {
        return response;
    }
    let Some(content) = content else {
        return empty(StatusCode::NOT_FOUND);
    };
    let date = state
        .dates
        .then(|| {
            std::fs::metadata(&file)
                .and_then(|about| about.modified())
                .ok()
        })
        .flatten()
        .map(httpdate::fmt_http_date);
    if date.is_some() && header(IF_MODIFIED_SINCE) == date {
        return empty(StatusCode::NOT_MODIFIED);
    }
    let start = header(RANGE).filter(|_| state.ranges).and_then(|range| {
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse::<usize>()
            .ok()
    });
    let wrong = matches!(fault, Some(Fault::WrongRange));
    let mut response = match start {
        Some(start) if start >= content.len() => return empty(StatusCode::RANGE_NOT_SATISFIABLE),
        Some(start) => part(
            &content,
            if wrong {
                start.saturating_sub(1)
            } else {
                start
            },
        ),
        None => full(content),
    };
    if let Some(date) = date {
        response
            .headers_mut()
            .insert(LAST_MODIFIED, date.parse().unwrap());
    }
    response
}

fn broken(fault: &Fault, content: &[u8]) -> Option<Response<Body>> {
    let with_header = |status: u16, name, value: &str| {
        let mut response = empty(StatusCode::from_u16(status).unwrap());
        response.headers_mut().insert(name, value.parse().unwrap());
        response
    };
    let beginning = |bytes: usize| Bytes::copy_from_slice(&content[..bytes.min(content.len())]);
    Some(match fault {
        Fault::Content(_) | Fault::WrongRange => return None,
        Fault::Status(status) => empty(StatusCode::from_u16(*status).unwrap()),
        Fault::RetryAfter(status, value) => with_header(*status, RETRY_AFTER, value),
        Fault::Redirect(location) => with_header(302, LOCATION, location),
        Fault::BreaksOffAfter(bytes) | Fault::WrongThenBreaksOff(bytes) => {
            let wrong = matches!(fault, Fault::WrongThenBreaksOff(_));
            let sent = if wrong {
                Bytes::from(vec![b'!'; *bytes])
            } else {
                beginning(*bytes)
            };
            // Time for what was sent before to leave: an error discards what is still buffered.
            let end = futures::stream::once(async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                Err(std::io::Error::other("broken off on purpose"))
            });
            stream(
                content.len(),
                futures::stream::iter([Ok(Frame::data(sent))]).chain(end),
            )
        }
        Fault::StallsAfter(bytes) => stream(
            content.len(),
            futures::stream::iter([Ok(Frame::data(beginning(*bytes)))])
                .chain(futures::stream::pending()),
        ),
        Fault::Endless => {
            let chunk = Bytes::from(vec![b'x'; 16 << 10]);
            let body = StreamBody::new(futures::stream::repeat_with(move || {
                Ok(Frame::data(chunk.clone()))
            }));
            Response::new(BodyExt::boxed_unsync(body))
        }
    })
}

fn stream(
    length: usize,
    frames: impl futures::Stream<Item = Result<Frame<Bytes>, std::io::Error>> + Send + 'static,
) -> Response<Body> {
    let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)));
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}

fn full(content: Vec<u8>) -> Response<Body> {
    Response::new(
        Full::new(Bytes::from(content))
            .map_err(|never| match never {})
            .boxed_unsync(),
    )
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = full(Vec::new());
    *response.status_mut() = status;
    response
}

fn part(content: &[u8], start: usize) -> Response<Body> {
    let mut response = full(content[start..].to_vec());
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
    response
        .headers_mut()
        .insert(CONTENT_RANGE, range.parse().unwrap());
    response
}

pub fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if let (b'%', [high, low, after @ ..]) = (first, tail) {
            let digits = [*high, *low];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            rest = after;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap()
}
