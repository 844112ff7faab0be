//! One request at a time on each of several kept-alive connections.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::StreamExt;
use futures::stream::BoxStream;
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use tokio::sync::Semaphore;
use url::Url;

use super::client::{authorize, chain};
use super::meter::Meter;
use super::pace::Pace;
use super::retry::parse_retry_after;
use super::sink::Sink;
use super::url_path::{shown, shown_target, url_of};
use super::{Answer, Arrival, FailureKind, FetchError, Received, Request, Transport, Validators};
use crate::Credentials;

/// Longer than the clocks of two machines are apart, usually.
const SETTLING_TIME: Duration = Duration::from_secs(10);

/// An http or https endpoint.
#[derive(Clone)]
pub struct HttpTransport(Arc<Endpoint>);

struct Endpoint {
    base: Url,
    client: Client,
    credentials: Option<Credentials>,
    /// Shared by all endpoints of a run.
    connections: Arc<Semaphore>,
    max_connections: usize,
    stall: Duration,
    meter: Arc<Meter>,
}

/// What all endpoints of a run share.
#[derive(Clone)]
pub(super) struct Line {
    pub client: Client,
    pub credentials: Option<Credentials>,
    pub connections: Arc<Semaphore>,
    pub max_connections: usize,
    pub stall: Duration,
    pub meter: Arc<Meter>,
}

impl HttpTransport {
    pub(super) fn new(base: Url, line: Line) -> HttpTransport {
        let Line {
            client,
            credentials,
            connections,
            max_connections,
            stall,
            meter,
        } = line;
        HttpTransport(Arc::new(Endpoint {
            base,
            client,
            credentials,
            connections,
            max_connections,
            stall,
            meter,
        }))
    }
}

impl Transport for HttpTransport {
    fn fetch_many(&self, requests: BoxStream<'static, Request>) -> BoxStream<'static, Answer> {
        let endpoint = self.0.clone();
        let limit = endpoint.max_connections;
        requests
            .map(move |request| endpoint.clone().answer(request))
            .buffer_unordered(limit)
            .boxed()
    }

    fn appetite(&self) -> usize {
        self.0.max_connections * 2
    }
}

impl Endpoint {
    async fn answer(self: Arc<Self>, mut request: Request) -> Answer {
        let result = self.fetch(&mut request).await;
        Answer {
            id: request.id,
            result,
            sink: request.sink,
        }
    }

    async fn fetch(&self, request: &mut Request) -> Result<Arrival, FetchError> {
        let url = url_of(&self.base, &request.path)?;
        let name = shown(&url);
        let position = request.sink.position().await.map_err(|e| e.at(&name))?;
        if position > 0 && request.sink.promised() == Some(position) {
            // An earlier run got all of it and no further.
            return self.finish(&mut request.sink, &name, None).await;
        }
        // Never closed, so never an error; without a permit the budget would not hold.
        let _permit = self.connections.acquire().await;
        let response = self
            .send(
                self.request(url, position, request.validators.as_ref()),
                &name,
            )
            .await?;
        if response.status() == StatusCode::NOT_MODIFIED && request.validators.is_some() {
            return Ok(Arrival::NotModified);
        }
        let headers = response.headers().clone();
        self.accept(&response, position, &mut request.sink, &name)
            .await
            .map_err(|error| re_encoded(error, &headers))?;
        self.receive(response, &mut request.sink, &name).await?;
        self.finish(&mut request.sink, &name, Some(&headers))
            .await
            .map_err(|error| re_encoded(error, &headers))
    }

    fn request(&self, url: Url, position: u64, validators: Option<&Validators>) -> RequestBuilder {
        let mut request = authorize(self.client.get(url), self.credentials.as_ref());
        if position > 0 {
            request = request.header(RANGE, format!("bytes={position}-"));
        }
        if let Some(validators) = validators {
            if let Some(etag) = &validators.etag {
                request = request.header(IF_NONE_MATCH, etag);
            }
            if let Some(date) = &validators.last_modified {
                request = request.header(IF_MODIFIED_SINCE, date);
            }
        }
        request
    }

    async fn send(&self, request: RequestBuilder, name: &str) -> Result<Response, FetchError> {
        self.meter.asked();
        match tokio::time::timeout(self.stall, request.send()).await {
            Err(_) => Err(self.stalled(name)),
            Ok(Err(e)) => {
                let kind = if e.is_redirect() {
                    FailureKind::Redirect
                } else {
                    FailureKind::Unreachable
                };
                Err(FetchError::new(kind, format!("{name}: {}", chain(&e))))
            }
            Ok(Ok(response)) => Ok(response),
        }
    }

    /// Decides by status and headers whether the body is one to read, and from where.
    async fn accept(
        &self,
        response: &Response,
        position: u64,
        sink: &mut Sink,
        name: &str,
    ) -> Result<(), FetchError> {
        let status = response.status();
        let start = match status {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if position > 0 => position,
            StatusCode::RANGE_NOT_SATISFIABLE => {
                sink.restart().await.map_err(|e| e.at(name))?;
                return Err(FetchError::new(
                    FailureKind::Broken,
                    format!("{name}: the upstream's file ends before byte {position}"),
                ));
            }
            _ => return Err(refusal(status, response.headers(), name)),
        };
        if start > 0 && !range_fits(response.headers(), start, sink.promised()) {
            sink.restart().await.map_err(|e| e.at(name))?;
            return Err(FetchError::new(
                FailureKind::Broken,
                format!("{name}: the answer's Content-Range is not the part that was asked for"),
            ));
        }
        if start == 0 && position > 0 {
            // Ranges are not supported here: the whole file comes again.
            sink.restart().await.map_err(|e| e.at(name))?;
        }
        let length = response.content_length();
        if start == 0 && !sink.settle(length).await.map_err(|e| e.at(name))? {
            return Err(FetchError::new(
                FailureKind::Broken,
                format!("{name}: neither its index nor the upstream's answer says how long it is"),
            ));
        }
        check_length(length, start, sink, name)
    }

    async fn receive(
        &self,
        mut response: Response,
        sink: &mut Sink,
        name: &str,
    ) -> Result<(), FetchError> {
        let mut pace = Pace::new(self.stall);
        loop {
            let asked = Instant::now();
            let chunk = match tokio::time::timeout(pace.patience(), response.chunk()).await {
                Err(_) => return Err(self.stalled(name)),
                Ok(Err(e)) => {
                    return Err(FetchError::new(
                        FailureKind::Broken,
                        format!("{name}: the body broke off: {}", chain(&e)),
                    ));
                }
                Ok(Ok(None)) => return Ok(()),
                Ok(Ok(Some(chunk))) => chunk,
            };
            let length = chunk.len();
            // Only the time that the upstream takes counts: neither our disk's nor that of our own bandwidth limit.
            pace.arrived(length, asked.elapsed());
            sink.write(chunk).await.map_err(|e| e.at(name))?;
            self.meter.received(length).await;
        }
    }

    async fn finish(
        &self,
        sink: &mut Sink,
        name: &str,
        headers: Option<&HeaderMap>,
    ) -> Result<Arrival, FetchError> {
        let taken = sink.finish().await.map_err(|e| e.at(name))?;
        let text = |header: HeaderName| {
            headers
                .and_then(|h| h.get(header))
                .and_then(|v| v.to_str().ok())
                .map(str::to_owned)
        };
        let last_modified = text(LAST_MODIFIED);
        let modified = last_modified
            .as_deref()
            .and_then(|text| httpdate::parse_http_date(text).ok());
        let now = SystemTime::now();
        let validators = if is_settled(modified, now) {
            Validators {
                etag: text(ETAG),
                last_modified,
            }
        } else {
            Validators::default()
        };
        // What we serve never goes back, so a date in the future would stay for as long as it is one.
        let modified = modified.filter(|modified| *modified <= now).and_then(unix);
        Ok(Arrival::Complete(Received {
            digest: taken.digest,
            size: taken.size,
            body: taken.body,
            modified,
            validators,
        }))
    }

    fn stalled(&self, name: &str) -> FetchError {
        FetchError::new(
            FailureKind::Stalled,
            format!(
                "{name}: fewer than {} bytes arrived within {} s",
                Pace::LEAST_BYTES,
                self.stall.as_secs_f64()
            ),
        )
    }
}

/// A file that changed just now can change again within the same second, and a validator made from its date (many ETags
/// are) would not tell. RFC 9110, section 8.8.2.2.
fn is_settled(modified: Option<SystemTime>, now: SystemTime) -> bool {
    let since = |modified| now.duration_since(modified).unwrap_or(Duration::ZERO);
    modified.is_none_or(|modified| since(modified) >= SETTLING_TIME)
}

pub(super) fn unix(time: SystemTime) -> Option<i64> {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
}

fn check_length(
    length: Option<u64>,
    start: u64,
    sink: &Sink,
    name: &str,
) -> Result<(), FetchError> {
    let Some(length) = length else { return Ok(()) };
    sink.announced(start, length).map_err(|e| e.at(name))?;
    match sink.promised() {
        // The server's own word is that its file is another one: no need to read it.
        Some(promised) if start.saturating_add(length) < promised => Err(FetchError::new(
            FailureKind::Mismatch,
            format!(
                "{name}: has {} bytes, its index promises {promised}",
                start.saturating_add(length)
            ),
        )),
        _ => Ok(()),
    }
}

/// `bytes START-END/TOTAL` with our start and, where both sides say it, the promised total. RFC 9110, section 14.4.
fn range_fits(headers: &HeaderMap, start: u64, promised: Option<u64>) -> bool {
    let Some(value) = headers
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let Some((range, total)) = value
        .trim()
        .strip_prefix("bytes ")
        .and_then(|rest| rest.split_once('/'))
    else {
        return false;
    };
    let Some((first, last)) = range.split_once('-') else {
        return false;
    };
    let (Ok(first), Ok(last)) = (first.trim().parse::<u64>(), last.trim().parse::<u64>()) else {
        return false;
    };
    let total_fits = match (total.trim().parse::<u64>(), promised) {
        (Ok(total), Some(promised)) => total == promised && last.checked_add(1) == Some(total),
        (Ok(total), None) => last < total,
        (Err(_), _) => total.trim() == "*",
    };
    first == start && last >= first && total_fits
}

fn refusal(status: StatusCode, headers: &HeaderMap, name: &str) -> FetchError {
    if status == StatusCode::NOT_MODIFIED {
        let text = format!("{name}: an answer 304 to a request without conditions");
        return FetchError::new(FailureKind::Broken, text);
    }
    if status.is_redirection() {
        return unfollowed(status, headers, name);
    }
    let retry_after = headers
        .get(RETRY_AFTER)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| parse_retry_after(v, SystemTime::now()));
    let kind = match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => FailureKind::NotFound,
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED => FailureKind::Forbidden,
        StatusCode::TOO_MANY_REQUESTS => FailureKind::Busy { retry_after },
        StatusCode::SERVICE_UNAVAILABLE if retry_after.is_some() => {
            FailureKind::Busy { retry_after }
        }
        status if status.is_server_error() => FailureKind::Unreachable,
        _ => FailureKind::Broken,
    };
    FetchError::new(kind, format!("{name}: the upstream answered {status}"))
}

/// What the client does not even try to follow: a redirect to another scheme, or to nowhere.
fn unfollowed(status: StatusCode, headers: &HeaderMap, name: &str) -> FetchError {
    let target = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let target = match target.map(Url::parse) {
        Some(Ok(url)) => format!("to {}", shown_target(url)),
        Some(Err(_)) | None => "without a usable target".to_owned(),
    };
    let text = format!(
        "{name}: the upstream answered {status} with a redirect {target}; only redirects to http and https are followed"
    );
    FetchError::new(FailureKind::Redirect, text)
}

/// We ask for no encoding; some servers name one for files that are compressed themselves, so only a body that does not
/// fit is suspected of it.
fn re_encoded(error: FetchError, headers: &HeaderMap) -> FetchError {
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if error.kind == FailureKind::Mismatch => FetchError {
            message: format!(
                "{}; it came with Content-Encoding {encoding:?}, which nobody asked for: a proxy in between may have changed it",
                error.message
            ),
            ..error
        },
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_range_that_was_asked_for_is_accepted() {
        let fits = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, value.parse().unwrap());
            range_fits(&headers, 10, Some(100))
        };
        assert!(fits("bytes 10-99/100") && fits("bytes 10-99/*"));
        for wrong in [
            "bytes 0-99/100",
            "bytes 10-98/100",
            "bytes 10-99/101",
            "bytes */100",
            "lines 10-99/100",
            "bytes 10-x/100",
            "bytes 10-9/*",
        ] {
            assert!(!fits(wrong), "{wrong}");
        }
        assert!(!range_fits(&HeaderMap::new(), 10, Some(100)));
    }
}
