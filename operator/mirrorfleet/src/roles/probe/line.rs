//! How a probe asks one place: as runs do, with a login where there is one.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fleet_controller::probe::{Fetched, Fetcher, MAX_BYTES, ProbeError, Validators};
use fleet_fetch::{
    Access, Arrival, Asker, Body, EndpointSet, FailureKind, FetchError, FetchOptions, Meter,
    Question, RetryPolicy, Sink, Stop, Want,
};
use fleet_types::{Problem, Reason, RepoPath, shown_url};
use percent_encoding::percent_decode_str;
use reqwest::StatusCode;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::resolve::USER_AGENT;

const CONNECT: Duration = Duration::from_secs(10);
const STALL: Duration = Duration::from_secs(15);
/// Longer than a probe may take at any place.
const LONGEST: Duration = Duration::from_secs(60);

/// One connection at a time to a place, with the credentials that are released to it.
pub(super) enum Line {
    Http(Asker),
    Rsync(Rsync),
}

impl Line {
    pub fn to(place: &Url, access: &Access, contact: &Option<String>) -> Result<Line, Problem> {
        let options = FetchOptions {
            authority: place.clone(),
            endpoints: Vec::new(),
            access: access.clone(),
            max_connections: 1,
            user_agent: USER_AGENT.to_owned(),
            contact: contact.clone(),
            stall: STALL,
            connect: CONNECT,
            follows_redirects: true,
            retry: RetryPolicy {
                limit: 0,
                longest_wait: Duration::ZERO,
            },
            scratch: std::env::temp_dir(),
        };
        let meter = Arc::new(Meter::new(None, Arc::new(|_| {})));
        match place.scheme() {
            "rsync" => Rsync::new(place, options, &meter).map(Line::Rsync),
            _ => Asker::new(&options, &meter).map(Line::Http),
        }
    }
}

impl Fetcher for Line {
    async fn fetch(
        &self,
        url: &Url,
        max_bytes: u64,
        _: Option<&Validators>,
    ) -> Result<Fetched, ProbeError> {
        let most = max_bytes.min(MAX_BYTES);
        let body = match self {
            Line::Http(asker) => by_http(asker, url, most).await?,
            Line::Rsync(rsync) => rsync.get(url, most).await?,
        };
        Ok(match body {
            Some(body) => Fetched::Content(body, Validators::default(), Default::default()),
            None => Fetched::Absent,
        })
    }
}

/// None where there is no such file.
async fn by_http(asker: &Asker, url: &Url, most: u64) -> Result<Option<Vec<u8>>, ProbeError> {
    let question = Question {
        url,
        headers: &[],
        body: None,
    };
    let mut told = asker.ask(question).await.map_err(failed)?;
    match told.status() {
        StatusCode::OK => told.body(most).await.map(Some).map_err(failed),
        StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
        _ => Err(failed(told.refusal())),
    }
}

/// A module of a daemon, by the program rsync, which has what it fetches in a private folder for a moment.
pub(super) struct Rsync {
    place: Url,
    fetcher: fleet_fetch::Fetcher,
    scratch: PathBuf,
}

impl Rsync {
    fn new(place: &Url, options: FetchOptions, meter: &Arc<Meter>) -> Result<Rsync, Problem> {
        let endpoints = Arc::new(EndpointSet::new(&options, meter)?);
        let stop = Stop::new(&CancellationToken::new(), LONGEST);
        Ok(Rsync {
            place: place.clone(),
            fetcher: fleet_fetch::Fetcher::new(endpoints, stop),
            scratch: options.scratch,
        })
    }

    /// None where there is no such file.
    async fn get(&self, url: &Url, most: u64) -> Result<Option<Vec<u8>>, ProbeError> {
        let want = Want {
            tag: 0,
            sources: vec![self.within(url)?],
            only: None,
            validators: None,
            likely_missing: false,
            sink: Sink::spooled(most, self.scratch.clone()),
        };
        let fetched = self.fetcher.fetch_one(want).await;
        match fetched.map_err(|problem| ProbeError::new(problem.reason, problem.message))? {
            Ok(Arrival::Complete(received)) => read(received.body, received.size).map(Some),
            // Nobody asked whether it has changed.
            Ok(Arrival::NotModified) => Ok(None),
            Err(error) if error.kind == FailureKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// The name of a file of the repository whose root is the place.
    fn within(&self, url: &Url) -> Result<RepoPath, ProbeError> {
        let root = self.place.path().trim_end_matches('/');
        let path = url.path().strip_prefix(root).unwrap_or_default();
        let name = percent_decode_str(path.trim_start_matches('/')).decode_utf8();
        let name = name.ok().and_then(|name| RepoPath::new(&name).ok());
        name.ok_or_else(|| {
            let text = format!("{}: that names no file", shown_url(url.as_str()));
            ProbeError::new(Reason::InvalidSpec, text)
        })
    }
}

/// A body that is no longer than was allowed.
fn read(body: Option<Body>, size: u64) -> Result<Vec<u8>, ProbeError> {
    let file = match body {
        None => return Ok(Vec::new()),
        Some(Body::Memory(bytes)) => return Ok(bytes),
        Some(Body::File(file)) => file,
    };
    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Ok(bytes),
        Err(error) => {
            let text = format!("what was fetched cannot be read again: {error}");
            Err(ProbeError::new(Reason::StorageFailed, text))
        }
    }
}

fn failed(error: FetchError) -> ProbeError {
    let problem = Problem::from(error);
    ProbeError::new(problem.reason, problem.message)
}
