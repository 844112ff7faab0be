//! The network: where a run fetches from, and the threads that write what comes.

use std::path::PathBuf;
use std::sync::Arc;

use fleet_fetch::{
    Arrival, Delivery, EndpointSet, FailureKind, FetchError, FetchOptions, Fetcher, Meter,
    RetryPolicy, Sink, Stop, Validators, Want,
};
use fleet_formats::seam::RootFile;
use fleet_types::{ClockReading, Reason, RepoPath, Sha256};
use tokio::sync::OnceCell;

use super::damage::Damage;
use super::shelves::Shelves;
use crate::writers::Writers;
use crate::{Problem, SyncOptions};

/// Connections that are opened before they are needed: what a small change is fetched by.
const AHEAD: usize = 2;
/// The same for a first copy: who declares a repository wants what is in it.
const AHEAD_OF_FIRST: usize = 8;
/// What lists some thirty files: a connection is worth that.
const LISTING_BYTES_PER_CONNECTION: u64 = 8 << 10;

pub(super) struct Upstream {
    pub fetcher: Fetcher,
    pub writers: Arc<Writers>,
    /// How the clock of each endpoint stands, once it was asked.
    pub(super) clocks: Vec<OnceCell<Option<ClockReading>>>,
    /// For what is too large for the memory.
    folder: PathBuf,
    /// Nobody was told who we are.
    anonymous: bool,
    /// Another mirror of ours, where content has its digest for a name.
    is_ours: bool,
}

impl Upstream {
    pub fn new(
        options: &SyncOptions,
        shelves: &Shelves,
        meter: &Arc<Meter>,
        stop: &Stop,
    ) -> Result<Upstream, Problem> {
        let endpoints = EndpointSet::new(&fetch_options(options, shelves), meter)?;
        Ok(Upstream {
            clocks: vec![OnceCell::new(); endpoints.count()],
            folder: shelves.spill_dir(),
            fetcher: Fetcher::new(Arc::new(endpoints), stop.clone()),
            writers: Writers::start(shelves.staging())?,
            anonymous: options.access.credentials.is_none(),
            is_ours: options.follow.is_some(),
        })
    }

    /// Why a copy of another mirror of ours ends when this cannot be had: all of it is needed, and nothing stands in for it.
    /// None where an upstream is asked, of which what can be had is taken.
    pub fn ends_copy(&self, error: &FetchError) -> Option<Problem> {
        self.is_ours.then(|| of_source(error.clone()))
    }

    /// Where content is asked for that snapshots name by these paths.
    pub fn sources_of<'a>(
        &self,
        digest: &Sha256,
        paths: impl Iterator<Item = &'a RepoPath>,
    ) -> Vec<RepoPath> {
        match self.is_ours {
            true => blob_path(digest).into_iter().collect(),
            false => paths.cloned().collect(),
        }
    }

    /// The outer error is final, the inner one says that there is no such file. That is also what a refusal says where
    /// nobody was told who we are: stores whose listing is private answer 403 for what they do not have.
    pub async fn fetch_root(
        &self,
        file: &RootFile,
        endpoint: usize,
        validators: Option<Validators>,
    ) -> Result<Result<Arrival, FetchError>, Problem> {
        let answer = self.ask_for_root(file, endpoint, validators).await?;
        self.there_or_not(answer)
    }

    /// What [`Upstream::fetch_root`] makes of an answer.
    pub fn there_or_not(
        &self,
        answer: Result<Arrival, FetchError>,
    ) -> Result<Result<Arrival, FetchError>, Problem> {
        match answer {
            Err(error) if !self.says_not_there(&error) => Err(error.into()),
            other => Ok(other),
        }
    }

    pub fn says_not_there(&self, error: &FetchError) -> bool {
        error.kind == FailureKind::NotFound
            || (self.anonymous && error.kind == FailureKind::Forbidden)
    }

    pub async fn ask_for_root(
        &self,
        file: &RootFile,
        endpoint: usize,
        validators: Option<Validators>,
    ) -> Result<Result<Arrival, FetchError>, Problem> {
        let sink = Sink::spooled(file.max_bytes, self.folder.clone());
        let want = Want {
            tag: 0,
            sources: vec![file.path.clone()],
            only: Some(endpoint),
            validators,
            likely_missing: false,
            sink,
        };
        self.fetcher.fetch_one(want).await
    }

    /// Connections to where content comes from, if that is this endpoint.
    pub async fn open_ahead(&self, endpoint: usize) {
        self.open_some(endpoint, AHEAD).await;
    }

    /// The same where nothing is here yet.
    pub async fn open_for_first(&self, endpoint: usize) {
        self.open_some(endpoint, AHEAD_OF_FIRST).await;
    }

    async fn open_some(&self, endpoint: usize, most: usize) {
        if self.fetcher.endpoints().bulk().start == endpoint {
            self.fetcher.open_ahead(endpoint, most).await;
        }
    }

    /// Connections for all that so large compressed indices list.
    pub async fn open_for(&self, listing_bytes: u64) {
        let wanted = usize::try_from(listing_bytes / LISTING_BYTES_PER_CONNECTION);
        let endpoint = self.fetcher.endpoints().bulk().start;
        let most = wanted.unwrap_or(usize::MAX);
        self.fetcher.open_ahead(endpoint, most).await;
    }

    /// Fetches all of this, and makes durable what came.
    pub async fn fetch_durably(
        &self,
        damage: &Damage,
        wants: Vec<Result<Want, Problem>>,
        deliver: &mut (dyn FnMut(Delivery) -> Result<(), Problem> + Send),
    ) -> Result<(), Problem> {
        let wants = futures::stream::iter(wants);
        self.fetcher.fetch_all(wants, deliver).await?;
        self.make_durable(damage).await
    }

    /// Makes everything durable that was fetched so far.
    pub async fn make_durable(&self, damage: &Damage) -> Result<(), Problem> {
        self.writers.flush().await?;
        damage.arrivals_are_durable();
        Ok(())
    }
}

/// What a failure says of a mirror of ours that is followed.
pub(super) fn of_source(error: FetchError) -> Problem {
    let reason = match &error.kind {
        FailureKind::NotFound => Reason::SnapshotGone,
        FailureKind::Unreachable
        | FailureKind::Broken
        | FailureKind::Redirect
        | FailureKind::Forbidden
        | FailureKind::Busy { .. } => Reason::SourceUnreachable,
        _ => return error.into(),
    };
    Problem {
        reason,
        ..error.into()
    }
}

/// Where content is below the folder of a mirror of ours that is followed. Digits always make a path.
pub(super) fn blob_path(digest: &Sha256) -> Option<RepoPath> {
    RepoPath::new(&format!("blobs/{digest}")).ok()
}

fn fetch_options(options: &SyncOptions, shelves: &Shelves) -> FetchOptions {
    FetchOptions {
        authority: options.authority.clone(),
        endpoints: options.endpoints.clone(),
        access: options.access.clone(),
        max_connections: options.politeness.max_connections,
        user_agent: options.user_agent.clone(),
        contact: options.politeness.contact.clone(),
        stall: options.timeouts.stall,
        connect: options.timeouts.connect,
        // Whoever is followed is named by those who named what to copy.
        follows_redirects: options.follow.is_none(),
        retry: RetryPolicy {
            limit: options.timeouts.retry_limit,
            longest_wait: options.timeouts.retry_backoff,
        },
        scratch: shelves.spill_dir(),
    }
}
