//! Getting many files from an upstream's endpoints, each bounded and checked while it arrives.
//!
//! Leaves where bodies are kept to whoever asks ([`BodyStore`]), and what they mean too: there is no store and no format in
//! this crate. The sync engine and the filling of a store on demand both fetch by it.
//!
//! The seam is [`Transport::fetch_many`]: a transport takes a stream of requests and decides itself how many are under
//! way and how they share connections; [`HttpTransport`] pipelines small files. A transport tries each request once; [`Fetcher`] owns what happens after a failure: other names, other endpoints, waiting.

mod access;
mod ask;
mod bodies;
mod budget;
mod client;
mod endpoint;
mod fetcher;
mod file;
mod http;
mod line;
mod meter;
mod options;
mod pace;
mod pipeline;
mod redirect;
mod release;
mod retry;
mod rsync;
mod sink;
mod stop;
mod stops;
mod told;
mod url_path;
mod verdict;

use fleet_types::{Expected, Problem, Reason, RepoPath, Sha256};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

pub use access::{Access, Credentials, Endpoint};
pub use ask::{Asker, Question, Told};
pub use bodies::{Begun, BodyStore, OpenBody};
pub use client::install_crypto_provider;
pub use endpoint::EndpointSet;
pub use fetcher::{Delivery, Fetcher, Want};
pub use file::FileTransport;
pub use http::HttpTransport;
pub use meter::{Meter, Watcher};
pub use options::FetchOptions;
pub use release::{Destination, NotADestination};
pub use retry::RetryPolicy;
pub use rsync::RsyncTransport;
pub use sink::{Body, Sink, SinkError};
pub use stop::Stop;

/// Fetches from one endpoint.
pub trait Transport: Send + Sync {
    /// Answers every request exactly once, in any order, and ends after the last one. Does not repeat a request.
    fn fetch_many(&self, requests: BoxStream<'static, Request>) -> BoxStream<'static, Answer>;

    /// How many requests it can make use of at once.
    fn appetite(&self) -> usize;

    /// Does now what the first of many requests would wait for, as far as nothing has to give way and on no more than `most`
    /// connections in a run.
    fn open_ahead(&self, most: usize) -> BoxFuture<'static, ()> {
        let _ = most;
        std::future::ready(()).boxed()
    }
}

/// One file that a transport is asked for.
#[derive(Debug)]
pub struct Request {
    /// Comes back in the answer.
    pub id: u64,
    pub path: RepoPath,
    /// Answered by [`Arrival::NotModified`] where the endpoint says that its file still is the one of these.
    pub validators: Option<Validators>,
    /// See [`Want::likely_missing`].
    pub likely_missing: bool,
    /// Takes the body; knows how much of it is there already and how much there may be.
    pub sink: Sink,
}

/// What became of a request.
#[derive(Debug)]
pub struct Answer {
    pub id: u64,
    pub result: Result<Arrival, FetchError>,
    /// With what has arrived so far: the next try continues there.
    pub sink: Sink,
}

/// No more than this is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// An index promised it.
    Exactly(Expected),
    /// Nothing is known but that a file of this kind is not larger.
    AtMost(u64),
}

/// A file that is there.
#[derive(Debug, Clone)]
pub enum Arrival {
    Complete(Received),
    NotModified,
}

/// A body that passed its checks.
#[derive(Debug, Clone)]
pub struct Received {
    pub digest: Sha256,
    pub size: u64,
    /// The body of a request whose sink is [`Sink::spooled`].
    pub body: Option<Body>,
    /// What the upstream says of the file's age; seconds since 1970-01-01T00:00:00Z.
    pub modified: Option<i64>,
    pub validators: Validators,
}

/// By which an endpoint recognises that a file is unchanged. Either may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Validators {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
}

impl Validators {
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }
}

/// Why a request brought nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchError {
    pub kind: FailureKind,
    /// With the URL.
    pub message: String,
    /// Whatever the kind is: some endpoint answered that it does not have the file.
    pub missing: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureKind {
    /// 404, 410.
    NotFound,
    /// 401, 403.
    Forbidden,
    /// 429 or 503, with what Retry-After says in seconds.
    Busy { retry_after: Option<u64> },
    /// No connection, or a 5xx.
    Unreachable,
    /// A redirect that is not followed.
    Redirect,
    /// Too few bytes for the stall timeout.
    Stalled,
    /// The answer broke off or does not follow the protocol.
    Broken,
    /// The body is not what the index promised.
    Mismatch,
    /// The same, where the beginning came with an earlier answer, from here or elsewhere: which of the two is wrong
    /// cannot be told. Nothing is left of it.
    MixedMismatch,
    /// Larger than anything of its kind may be.
    TooLarge,
    /// Our side: the store.
    Local(Problem),
}

impl FetchError {
    pub fn new(kind: FailureKind, message: impl Into<String>) -> FetchError {
        FetchError {
            missing: kind == FailureKind::NotFound,
            kind,
            message: message.into(),
        }
    }

    /// Whether the same request can have another result a little later.
    pub fn is_transient(&self) -> bool {
        use FailureKind::*;
        matches!(self.kind, Busy { .. } | Unreachable | Stalled | Broken)
    }

    /// Whether it says something about the endpoint rather than about this file.
    pub(crate) fn blames_the_endpoint(&self) -> bool {
        use FailureKind::*;
        matches!(self.kind, Busy { .. } | Unreachable | Stalled | Forbidden)
    }
}

impl From<FetchError> for Problem {
    fn from(error: FetchError) -> Problem {
        let (reason, retry_after) = match error.kind {
            FailureKind::NotFound => (Reason::UpstreamIncomplete, None),
            FailureKind::Forbidden => (Reason::UpstreamForbidden, None),
            FailureKind::Busy { retry_after } => (Reason::UpstreamBusy, retry_after),
            FailureKind::Unreachable | FailureKind::Redirect | FailureKind::Broken => {
                (Reason::UpstreamUnreachable, None)
            }
            FailureKind::Stalled => (Reason::SyncStalled, None),
            FailureKind::Mismatch | FailureKind::MixedMismatch => (Reason::DigestMismatch, None),
            FailureKind::TooLarge => (Reason::TooLarge, None),
            FailureKind::Local(problem) => return problem,
        };
        Problem {
            retry_after,
            ..Problem::new(reason, error.message)
        }
    }
}
