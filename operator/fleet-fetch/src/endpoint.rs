//! The endpoints of a run, in the order in which they are tried, and how they have been behaving.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use fleet_types::{Problem, Reason, lock};
use url::Url;

use super::budget::Budget;
use super::client::Recipe;
use super::line::Line;
use super::options::FetchOptions;
use super::retry::RetryPolicy;
use super::url_path::{identity, shown};
use super::{
    FailureKind, FetchError, FileTransport, HttpTransport, Meter, RsyncTransport, Transport,
};
use crate::Endpoint;

/// After so many failures in a row an endpoint is left alone for a while.
const FAILURES_UNTIL_REST: u32 = 3;

/// All endpoints of a run.
pub struct EndpointSet {
    members: Vec<Member>,
    /// The first so many are fetched from; an authority that is not among them comes after.
    bulk: usize,
    authority: usize,
    retry: RetryPolicy,
}

struct Member {
    name: String,
    url: Url,
    transport: Box<dyn Transport>,
    health: Mutex<Health>,
}

#[derive(Default)]
struct Health {
    failures: u32,
    rests_until: Option<Instant>,
    /// It has given something in this run: what it refuses then is about files, as object stores say it of those that
    /// they do not have.
    has_answered: bool,
}

impl EndpointSet {
    pub fn new(options: &FetchOptions, meter: &Arc<Meter>) -> Result<EndpointSet, Problem> {
        let mut endpoints = options.endpoints.clone();
        endpoints.sort_by_key(|endpoint| endpoint.priority);
        let as_authority = || Endpoint {
            name: "authority".to_owned(),
            url: options.authority.clone(),
            priority: 0,
        };
        if endpoints.is_empty() {
            endpoints.push(as_authority());
        }
        let bulk = endpoints.len();
        let authority = endpoints
            .iter()
            .position(|endpoint| same(&endpoint.url, &options.authority))
            .unwrap_or(bulk);
        if authority == bulk {
            endpoints.push(as_authority());
        }
        let max_connections = options.max_connections.max(1);
        let line = Line {
            credentials: None,
            budget: Budget::new(max_connections, Recipe::new(options)?),
            max_connections,
            stall: options.stall,
            follows_redirects: options.follows_redirects,
            meter: meter.clone(),
        };
        let members = endpoints
            .into_iter()
            .map(|endpoint| Member::new(endpoint, options, &line))
            .collect::<Result<_, _>>()?;
        Ok(EndpointSet {
            members,
            bulk,
            authority,
            retry: options.retry,
        })
    }

    /// Those that content is fetched from, in order.
    pub fn bulk(&self) -> std::ops::Range<usize> {
        0..self.bulk
    }

    pub fn authority(&self) -> usize {
        self.authority
    }

    pub fn retry(&self) -> &RetryPolicy {
        &self.retry
    }

    /// How many files the hungriest endpoint can have under way.
    pub(super) fn appetite(&self) -> usize {
        self.transports()
            .map(|transport| transport.appetite())
            .max()
            .unwrap_or(1)
    }

    /// All of them, the authority too.
    pub fn count(&self) -> usize {
        self.members.len()
    }

    pub(super) fn transports(&self) -> impl Iterator<Item = &dyn Transport> {
        self.members.iter().map(|member| member.transport.as_ref())
    }

    /// For messages.
    pub fn name(&self, index: usize) -> &str {
        self.members.get(index).map_or("", |member| &member.name)
    }

    /// The key of what is remembered about the endpoint.
    pub fn identity(&self, index: usize) -> String {
        self.members
            .get(index)
            .map(|member| identity(&member.url))
            .unwrap_or_default()
    }

    /// For messages.
    pub fn url(&self, index: usize) -> String {
        self.members
            .get(index)
            .map(|member| shown(&member.url))
            .unwrap_or_default()
    }

    /// How much longer an endpoint is to be left alone.
    pub(super) fn rest(&self, index: usize) -> Duration {
        let until = self.health(index).and_then(|health| health.rests_until);
        until.map_or(Duration::ZERO, |until| {
            until.saturating_duration_since(Instant::now())
        })
    }

    pub(super) fn succeeded(&self, index: usize) {
        if let Some(mut health) = self.health(index) {
            *health = Health {
                has_answered: true,
                ..Health::default()
            };
        }
    }

    pub(super) fn failed(&self, index: usize, error: &FetchError) {
        let Some(mut health) = self.health(index) else {
            return;
        };
        let about_the_file = health.has_answered && error.kind == FailureKind::Forbidden;
        if about_the_file || !error.blames_the_endpoint() {
            return;
        }
        if health
            .rests_until
            .is_some_and(|until| until > Instant::now())
            && !matches!(error.kind, FailureKind::Busy { .. })
        {
            // It was under way with those that told already: that is one failure and not many.
            return;
        }
        health.failures += 1;
        let asked = match error.kind {
            FailureKind::Busy { retry_after } => retry_after.map(Duration::from_secs),
            _ => None,
        };
        let tired = (health.failures >= FAILURES_UNTIL_REST)
            .then(|| self.retry.wait(health.failures - FAILURES_UNTIL_REST));
        if let Some(rest) = asked.max(tired) {
            health.rests_until = Instant::now().checked_add(rest).max(health.rests_until);
        }
    }

    fn health(&self, index: usize) -> Option<MutexGuard<'_, Health>> {
        self.members.get(index).map(|member| lock(&member.health))
    }
}

impl Member {
    fn new(endpoint: Endpoint, options: &FetchOptions, line: &Line) -> Result<Member, Problem> {
        let Endpoint { name, url, .. } = endpoint;
        let line = &Line {
            credentials: options.access.credentials_for(&url).cloned(),
            ..line.clone()
        };
        let transport: Box<dyn Transport> = match url.scheme() {
            "http" | "https" => Box::new(HttpTransport::new(url.clone(), line.clone())?),
            "file" => Box::new(FileTransport::new(
                &url,
                line.max_connections,
                line.meter.clone(),
            )?),
            "rsync" => Box::new(RsyncTransport::new(&url, options, line)?),
            other => {
                let text = format!(
                    "endpoint {name} ({}): {other} is not supported; use http, https, rsync or file",
                    shown(&url)
                );
                return Err(Problem::new(Reason::InvalidSpec, text));
            }
        };
        Ok(Member {
            name,
            url,
            transport,
            health: Mutex::default(),
        })
    }
}

/// The same place, however the trailing slash is written.
fn same(a: &Url, b: &Url) -> bool {
    a.as_str().trim_end_matches('/') == b.as_str().trim_end_matches('/')
}
