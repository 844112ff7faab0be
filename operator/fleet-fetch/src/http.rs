//! An http or https endpoint: which of the two ways a request takes, and the ordinary one, a request at a time on each of
//! several kept-alive connections.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use fleet_types::Problem;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use reqwest::header::{
    CONNECTION, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, RANGE,
};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Version};
use url::Url;

use super::budget::Target;
use super::client::authorize;
use super::line::{Endpoint, Line};
use super::pace::Pace;
use super::pipeline::{self, Alone, Dialer, Pipelining, Traffic};
use super::redirect::Way;
use super::sink::Sink;
use super::told::told;
use super::url_path::url_of;
use super::verdict::{check_length, is_settled, range_fits, re_encoded, refusal, says_close, unix};
use super::{Answer, Arrival, FailureKind, FetchError, Received, Request, Transport, Validators};

/// Requests under way for each connection where answers come one at a time.
const ONE_AT_A_TIME: usize = 2;

/// The body of a redirect that is worth reading for its connection, and the time for it.
const MOST_PASSED_OVER: usize = 64 << 10;
const PASSING_OVER: Duration = Duration::from_secs(1);

const CONNECTION_COMES_BACK: Duration = Duration::from_millis(1);

/// An http or https endpoint.
#[derive(Clone)]
pub struct HttpTransport(Arc<Endpoint>);

impl HttpTransport {
    pub(super) fn new(base: Url, line: Line) -> Result<HttpTransport, Problem> {
        Ok(HttpTransport(Arc::new(Endpoint {
            origin: base.origin().ascii_serialization().into(),
            dialer: Dialer::new(&base, line.budget.recipe(), line.credentials.as_ref())?,
            pipelining: Pipelining::default(),
            base,
            line,
        })))
    }
}

impl Transport for HttpTransport {
    fn fetch_many(&self, requests: BoxStream<'static, Request>) -> BoxStream<'static, Answer> {
        let endpoint = self.0.clone();
        let alone: Alone = Box::new(move |request| endpoint.clone().answer(request).boxed());
        Traffic::start(self.0.clone(), alone, requests).boxed()
    }

    fn open_ahead(&self, most: usize) -> BoxFuture<'static, ()> {
        pipeline::open_ahead(self.0.clone(), most).boxed()
    }

    fn appetite(&self) -> usize {
        let each = if self.0.pipelines() {
            pipeline::APPETITE
        } else {
            ONE_AT_A_TIME
        };
        self.0.line.max_connections * each
    }
}

impl Endpoint {
    /// The ordinary way.
    pub async fn answer(self: Arc<Self>, mut request: Request) -> Answer {
        let result = self.fetch(&mut request).await;
        Answer {
            id: request.id,
            result,
            sink: request.sink,
        }
    }

    async fn fetch(&self, request: &mut Request) -> Result<Arrival, FetchError> {
        let url = url_of(&self.base, &request.path)?;
        let name = self.name_of(request);
        let position = request.sink.position().await.map_err(|e| e.at(&name))?;
        if position > 0 && request.sink.promised() == Some(position) {
            // An earlier run got all of it and no further.
            return self.finish(&mut request.sink, &name, None).await;
        }
        let mut way = Way::from(url);
        loop {
            if let Some(arrival) = self.ask(&mut way, position, request, &name).await? {
                return Ok(arrival);
            }
        }
    }

    /// Asks at one place, on a connection to it. None where the way goes on.
    async fn ask(
        &self,
        way: &mut Way,
        position: u64,
        request: &mut Request,
        name: &str,
    ) -> Result<Option<Arrival>, FetchError> {
        let origin = if self.is_at(way.here()) {
            self.origin.clone()
        } else {
            way.here().origin().ascii_serialization().into()
        };
        let is_guarded = way.must_stay_outside()
            && !self.is_at(way.here())
            && !self.line.budget.recipe().is_proxied(way.here());
        let lane = self.line.budget.lane(&Target { origin, is_guarded }).await;
        let lane = lane.map_err(|problem| {
            FetchError::new(FailureKind::Local(problem.clone()), problem.message)
        })?;
        let result = self
            .ask_by(&lane.client, way, position, request, name)
            .await;
        // A client takes its connection back a moment after the end of a body; asked before, it opens another.
        tokio::time::sleep(CONNECTION_COMES_BACK).await;
        self.line.budget.give_back(lane);
        result
    }

    async fn ask_by(
        &self,
        client: &Client,
        way: &mut Way,
        position: u64,
        request: &mut Request,
        name: &str,
    ) -> Result<Option<Arrival>, FetchError> {
        let validators = request.validators.as_ref();
        let response = self
            .send(self.request(client, way.here(), position, validators), name)
            .await?;
        if self.is_at(way.here()) && keeps_the_connection(&response) {
            self.pipelining.prove();
        }
        let recipe = self.line.budget.recipe();
        let answered = response
            .remote_addr()
            .filter(|_| response.status().is_redirection() && !recipe.is_proxied(way.here()));
        if response.status().is_redirection() && !self.line.follows_redirects {
            let text = format!(
                "{name}: it answered {}, and a mirror that is followed leads nowhere else",
                response.status()
            );
            return Err(FetchError::new(FailureKind::Redirect, text));
        }
        let goes_on = way.goes_on(response.status(), response.headers(), answered);
        if goes_on
            .map_err(|text| FetchError::new(FailureKind::Redirect, format!("{name}: {text}")))?
        {
            pass_over(response).await;
            return Ok(None);
        }
        self.take_in(response, position, request, name)
            .await
            .map(Some)
    }

    /// Whether an answer from there is one of this endpoint.
    fn is_at(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    async fn take_in(
        &self,
        response: Response,
        position: u64,
        request: &mut Request,
        name: &str,
    ) -> Result<Arrival, FetchError> {
        if response.status() == StatusCode::NOT_MODIFIED && request.validators.is_some() {
            return Ok(Arrival::NotModified);
        }
        let headers = response.headers().clone();
        self.accept(&response, position, &mut request.sink, name)
            .await
            .map_err(|error| re_encoded(error, &headers))?;
        self.receive(response, &mut request.sink, name).await?;
        self.finish(&mut request.sink, name, Some(&headers))
            .await
            .map_err(|error| re_encoded(error, &headers))
    }

    fn request(
        &self,
        client: &Client,
        url: &Url,
        position: u64,
        validators: Option<&Validators>,
    ) -> RequestBuilder {
        let credentials = self.line.credentials.as_ref();
        // They are for no other origin.
        let credentials = credentials.filter(|_| self.is_at(url));
        let mut request = authorize(client.get(url.clone()), credentials);
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
        self.line.meter.asked();
        match tokio::time::timeout(self.line.stall, request.send()).await {
            Err(_) => Err(self.stalled(name)),
            Ok(Err(e)) => {
                let text = format!("{name}: {}", told(&e));
                Err(FetchError::new(FailureKind::Unreachable, text))
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
        let mut pace = Pace::new(self.line.stall);
        loop {
            let asked = Instant::now();
            let chunk = match tokio::time::timeout(pace.patience(), response.chunk()).await {
                Err(_) => return Err(self.stalled(name)),
                Ok(Err(e)) => {
                    return Err(FetchError::new(
                        FailureKind::Broken,
                        format!("{name}: the body broke off: {}", told(&e)),
                    ));
                }
                Ok(Ok(None)) => return Ok(()),
                Ok(Ok(Some(chunk))) => chunk,
            };
            let length = chunk.len();
            // Only the time that the upstream takes counts: neither our disk's nor that of our own bandwidth limit.
            pace.arrived(length, asked.elapsed());
            sink.write(chunk).await.map_err(|e| e.at(name))?;
            self.line.meter.received(length).await;
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
}

/// Reads the rest of an answer that says no more than its head, so that its connection is free for the next request.
async fn pass_over(mut response: Response) {
    let rest = async {
        let mut left = MOST_PASSED_OVER;
        while let Ok(Some(chunk)) = response.chunk().await
            && chunk.len() < left
        {
            left -= chunk.len();
        }
    };
    // The connection of one that is longer, or takes longer, is given up.
    drop(tokio::time::timeout(PASSING_OVER, rest).await);
}

/// What RFC 9112, section 9.3, promises of a connection without a word.
fn keeps_the_connection(response: &Response) -> bool {
    let closes = |value: &HeaderValue| value.to_str().map_or(true, says_close);
    let fields = response.headers().get_all(CONNECTION);
    response.version() == Version::HTTP_11 && !fields.iter().any(closes)
}
