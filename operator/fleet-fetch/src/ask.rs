//! Questions to an upstream that is more than a tree of files: with headers and a body of the asker's own, one answer each.
//! They have the manners of everything here: one budget of connections and bytes, judged redirects, credentials for the
//! upstream's own origin alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fleet_types::{Problem, counted};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, StatusCode};
use url::Url;

use crate::budget::{Budget, Lane, Target};
use crate::client::{Recipe, authorize};
use crate::line::Line;
use crate::pace::Pace;
use crate::redirect::Way;
use crate::told::told;
use crate::url_path::shown;
use crate::verdict::refusal;
use crate::{FailureKind, FetchError, FetchOptions, Meter};

/// A client takes its connection back a moment after the end of a body; asked before, it opens another.
const CONNECTION_COMES_BACK: Duration = Duration::from_millis(1);

/// Who asks one upstream, at its authority.
pub struct Asker {
    base: Url,
    line: Line,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    pub url: &'q Url,
    pub headers: &'q [(HeaderName, HeaderValue)],
    /// With one it is a POST.
    pub body: Option<&'q Bytes>,
}

/// The head of an answer, whatever its status is, and its body as it comes.
pub struct Told {
    response: Response,
    name: String,
    pace: Pace,
    stall: Duration,
    meter: Arc<Meter>,
    budget: Arc<Budget>,
    /// Given back at the end of the body. Dropped before, the connection is closed.
    lane: Option<Lane>,
}

impl Asker {
    /// Of `options` the authority counts, and no other endpoint.
    pub fn new(options: &FetchOptions, meter: &Arc<Meter>) -> Result<Asker, Problem> {
        let max_connections = options.max_connections.max(1);
        Ok(Asker {
            base: options.authority.clone(),
            line: Line {
                credentials: options.access.credentials_for(&options.authority).cloned(),
                budget: Budget::new(max_connections, Recipe::new(options)?),
                max_connections,
                stall: options.stall,
                follows_redirects: options.follows_redirects,
                meter: meter.clone(),
            },
        })
    }

    /// Asks, and goes where redirects lead. Errors are those of the line: an answer of any status is one.
    pub async fn ask(&self, question: Question<'_>) -> Result<Told, FetchError> {
        let way = Way::from(question.url.clone());
        let lane = self.lane(&way).await?;
        self.ask_by(lane, way, question).await
    }

    /// The same where nobody has to wait for the connection that it takes; none where all are in use.
    pub async fn ask_if_free(&self, question: Question<'_>) -> Option<Result<Told, FetchError>> {
        let way = Way::from(question.url.clone());
        let told = match self.line.budget.free_lane(&self.target(&way))? {
            Ok(lane) => self.ask_by(lane, way, question).await,
            Err(problem) => Err(local(problem)),
        };
        Some(told)
    }

    async fn ask_by(
        &self,
        mut lane: Lane,
        mut way: Way,
        question: Question<'_>,
    ) -> Result<Told, FetchError> {
        let name = shown(question.url);
        loop {
            let response = self.send(&lane, &way, question, &name).await?;
            let answered = response.remote_addr().filter(|_| {
                response.status().is_redirection()
                    && !self.line.budget.recipe().is_proxied(way.here())
            });
            let goes_on = question.body.is_none()
                && self.line.follows_redirects
                && way
                    .goes_on(response.status(), response.headers(), answered)
                    .map_err(|text| {
                        FetchError::new(FailureKind::Redirect, format!("{name}: {text}"))
                    })?;
            if !goes_on {
                return Ok(Told {
                    response,
                    name,
                    pace: Pace::new(self.line.stall),
                    stall: self.line.stall,
                    meter: self.line.meter.clone(),
                    budget: self.line.budget.clone(),
                    lane: Some(lane),
                });
            }
            // Nobody waits for a connection and has one.
            drop((response, lane));
            lane = self.lane(&way).await?;
        }
    }

    async fn lane(&self, way: &Way) -> Result<Lane, FetchError> {
        let lane = self.line.budget.lane(&self.target(way)).await;
        lane.map_err(local)
    }

    fn target(&self, way: &Way) -> Target {
        Target {
            is_guarded: way.must_stay_outside()
                && !self.is_at(way.here())
                && !self.line.budget.recipe().is_proxied(way.here()),
            origin: way.here().origin().ascii_serialization().into(),
        }
    }

    async fn send(
        &self,
        lane: &Lane,
        way: &Way,
        question: Question<'_>,
        name: &str,
    ) -> Result<Response, FetchError> {
        let url = way.here().clone();
        let request = match question.body {
            Some(body) => lane.client.post(url).body(body.clone()),
            None => lane.client.get(url),
        };
        // They are for no other origin.
        let credentials = self
            .line
            .credentials
            .as_ref()
            .filter(|_| self.is_at(way.here()));
        let mut request = authorize(request, credentials);
        for (header, value) in question.headers {
            request = request.header(header, value);
        }
        self.line.meter.asked();
        match tokio::time::timeout(self.line.stall, request.send()).await {
            Err(_) => Err(stalled(name, self.line.stall)),
            Ok(Err(error)) => Err(FetchError::new(
                FailureKind::Unreachable,
                format!("{name}: {}", told(&error)),
            )),
            Ok(Ok(response)) => Ok(response),
        }
    }

    fn is_at(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }
}

impl Told {
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// What a status that is no success means, with what Retry-After says.
    pub fn refusal(&self) -> FetchError {
        refusal(self.status(), self.headers(), &self.name)
    }

    /// The next bytes of the body; none at its end. A body that comes too slowly, or is shorter than it was said to be, is an
    /// error.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        let asked = Instant::now();
        let chunk = match tokio::time::timeout(self.pace.patience(), self.response.chunk()).await {
            Err(_) => return Err(stalled(&self.name, self.stall)),
            Ok(Err(error)) => {
                let text = format!("{}: the body broke off: {}", self.name, told(&error));
                return Err(FetchError::new(FailureKind::Broken, text));
            }
            Ok(Ok(chunk)) => chunk,
        };
        match &chunk {
            Some(bytes) => {
                self.pace.arrived(bytes.len(), asked.elapsed());
                self.meter.received(bytes.len()).await;
            }
            None => {
                if let Some(lane) = self.lane.take() {
                    let budget = self.budget.clone();
                    // Who has the whole body does not wait for that.
                    tokio::spawn(async move {
                        tokio::time::sleep(CONNECTION_COMES_BACK).await;
                        budget.give_back(lane);
                    });
                }
            }
        }
        Ok(chunk)
    }

    /// The whole body, which may have so many bytes.
    pub async fn body(&mut self, limit: u64) -> Result<Vec<u8>, FetchError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if (body.len() + chunk.len()) as u64 > limit {
                let text = format!("{}: it has more than {}", self.name, counted(limit, "byte"));
                return Err(FetchError::new(FailureKind::TooLarge, text));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn local(problem: Problem) -> FetchError {
    FetchError::new(FailureKind::Local(problem.clone()), problem.message)
}

fn stalled(name: &str, stall: Duration) -> FetchError {
    let text = format!(
        "{name}: fewer than {} arrived within {} s",
        counted(Pace::LEAST_BYTES, "byte"),
        stall.as_secs_f64()
    );
    FetchError::new(FailureKind::Stalled, text)
}
