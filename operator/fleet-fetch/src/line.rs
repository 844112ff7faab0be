//! What requests to one endpoint need, whichever way they take.

use std::sync::Arc;
use std::time::Duration;

use fleet_types::counted;
use url::Url;

use super::budget::Budget;
use super::meter::Meter;
use super::pace::Pace;
use super::pipeline::{Dialer, Pipelining};
use super::url_path::shown_file;
use super::{FailureKind, FetchError, Request};
use crate::Credentials;

/// An http or https endpoint.
pub(super) struct Endpoint {
    pub base: Url,
    pub origin: Arc<str>,
    pub line: Line,
    /// None where requests cannot be pipelined, because a proxy is between.
    pub dialer: Option<Dialer>,
    pub pipelining: Pipelining,
}

/// What all endpoints of a run share.
#[derive(Clone)]
pub(super) struct Line {
    pub credentials: Option<Credentials>,
    pub budget: Arc<Budget>,
    pub max_connections: usize,
    pub stall: Duration,
    /// Whether an answer may lead elsewhere.
    pub follows_redirects: bool,
    pub meter: Arc<Meter>,
}

impl Endpoint {
    pub fn pipelines(&self) -> bool {
        self.dialer.is_some() && self.pipelining.is_allowed()
    }

    /// For messages: the URL without credentials.
    pub fn name_of(&self, request: &Request) -> String {
        shown_file(&self.base, &request.path)
    }

    pub fn stalled(&self, name: &str) -> FetchError {
        FetchError::new(
            FailureKind::Stalled,
            format!(
                "{name}: fewer than {} arrived within {} s",
                counted(Pace::LEAST_BYTES, "byte"),
                self.line.stall.as_secs_f64()
            ),
        )
    }
}
