//! One Mirror's content, fetched when it is asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_fetch::{Arrival, BodyStore, FailureKind, FetchError, Fetcher, Sink, Stop, Want};
use fleet_origin::Obtained;
use fleet_telemetry::{FetchResult, FillCounts};
use fleet_types::{Digest, Expected, Problem, Reason, RepoPath, Sha256};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::WHOLE_FIRST;
use crate::depot::Depot;
use crate::flights::{Flights, Landing};
use crate::judge::{Judge, Trusted};
use crate::memory::InMemory;
use crate::options::{FillOptions, Keep, Lines};
use crate::refusals::Refusals;
use crate::shelf::{Open, Shelf};

/// Fetches of one Mirror at once; others wait.
const AT_ONCE: usize = 128;
/// How long they do.
const PATIENCE: Duration = Duration::from_secs(30);
/// When to come back where that was not enough.
const COME_BACK: Duration = Duration::from_secs(5);
/// In which one fetch must come to its end: no client waits as long.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Content that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub path: RepoPath,
    pub digest: Sha256,
    pub size: u64,
}

/// What fills one Mirror's store.
pub struct Contents {
    is_offline: bool,
    keep: Keep,
    lines: Arc<Lines>,
    trusted: Arc<Trusted>,
    shelf: Arc<Shelf>,
    counts: Arc<FillCounts>,
    flights: Flights<Sha256, Obtained>,
    refusals: Refusals<Sha256>,
    places: Semaphore,
    stop: CancellationToken,
}

impl Contents {
    pub fn new(
        options: &FillOptions,
        shelf: Arc<Shelf>,
        counts: Arc<FillCounts>,
        runtime: Handle,
        stop: CancellationToken,
    ) -> Contents {
        Contents {
            is_offline: options.is_offline,
            keep: options.keep.clone(),
            lines: options.lines.clone(),
            trusted: Arc::new(Trusted::new(options.vouching.clone())),
            shelf,
            counts,
            flights: Flights::new(runtime),
            refusals: Refusals::new(options.negative_age),
            places: Semaphore::new(AT_ONCE),
            stop,
        }
    }

    pub fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }

    /// Fetches content, or joins who does.
    pub async fn obtain(self: Arc<Self>, wanted: Wanted) -> Obtained {
        if let Some(refusal) = self.refusals.of(&wanted.digest, Instant::now()) {
            return refusal;
        }
        let this = self.clone();
        let (is_shared, coming) = self.flights.join(wanted.digest, move |landing| async move {
            let outcome = this.fetch(&wanted, Arc::new(landing)).await;
            this.refusals
                .note(wanted.digest, &outcome.0, Instant::now());
            outcome.1.tell(outcome.0);
        });
        if is_shared {
            self.counts.shared();
        }
        let ended = || refused(Problem::new(Reason::SyncInterrupted, "the fetch was ended"));
        coming.await.unwrap_or_else(ended)
    }

    async fn fetch(
        &self,
        wanted: &Wanted,
        landing: Arc<Landing<Obtained>>,
    ) -> (Obtained, Arc<Landing<Obtained>>) {
        let obtained = self.find_or_fetch(wanted, &landing).await;
        (obtained.unwrap_or_else(refused), landing)
    }

    async fn find_or_fetch(
        &self,
        wanted: &Wanted,
        landing: &Arc<Landing<Obtained>>,
    ) -> Result<Obtained, Problem> {
        let (shelf, keep) = (self.shelf.clone(), self.keep.clone());
        let counts = self.counts.clone();
        let open = blocking(move || shelf.open(keep, counts)).await?;
        if self.is_here(&open, wanted).await? {
            return Ok(Obtained::Blob(wanted.digest));
        }
        if self.is_offline {
            let text = format!(
                "{} was never fetched, and pullThrough.offline is set: nothing is asked of the upstream",
                wanted.path
            );
            return Err(Problem::new(Reason::Offline, text));
        }
        let Ok(Ok(_place)) = tokio::time::timeout(PATIENCE, self.places.acquire()).await else {
            return Ok(Obtained::Busy(COME_BACK));
        };
        let (at, size) = (open.clone(), wanted.size);
        blocking(move || at.room.make(size)).await?;
        let obtained = match self.fetch_into(&open, wanted, landing).await {
            Err(problem) if problem.reason == Reason::StorageFull => {
                self.fetch_beside(&open, wanted, landing).await
            }
            other => other,
        };
        let result = match &obtained {
            Ok(Obtained::Blob(_) | Obtained::Bytes(_)) => FetchResult::Ok,
            Ok(Obtained::Absent) => FetchResult::Absent,
            _ => FetchResult::Failed,
        };
        self.counts.fetched(result, wanted.size);
        obtained
    }

    /// Whether the right blob is there; a wrong one goes.
    async fn is_here(&self, open: &Arc<Open>, wanted: &Wanted) -> Result<bool, Problem> {
        let (open, digest, size) = (open.clone(), wanted.digest, wanted.size);
        blocking(move || {
            let inserter = &open.inserter;
            if !inserter.store().has_blob(&digest, size) {
                return Ok(false);
            }
            if inserter.store().is_right(&digest)? {
                return Ok(true);
            }
            tracing::error!(blob = %digest, "a file that was fetched on demand has rotted; it is fetched again");
            inserter.remove(&digest)?;
            Ok(false)
        })
        .await
    }

    async fn fetch_into(
        &self,
        open: &Arc<Open>,
        wanted: &Wanted,
        landing: &Arc<Landing<Obtained>>,
    ) -> Result<Obtained, Problem> {
        let judge = Judge {
            trusted: self.trusted.clone(),
            path: wanted.path.clone(),
            digest: wanted.digest,
        };
        let inserter = open.inserter.clone();
        let depot = Depot::new(inserter, landing.clone(), Arc::new(judge));
        let came = self.ask(wanted, Arc::new(depot.clone())).await;
        match (came, depot.problem()) {
            (Ok(Arrival::Complete(_)), _) => {
                open.room.add(wanted.size);
                Ok(Obtained::Blob(wanted.digest))
            }
            (_, Some(problem)) => Err(problem),
            (Ok(Arrival::NotModified), None) => Ok(Obtained::Absent),
            (Err(error), None) => Ok(told(error)),
        }
    }

    /// The disk is full: once more after something was given up, and else, where it is small, past the disk.
    async fn fetch_beside(
        &self,
        open: &Arc<Open>,
        wanted: &Wanted,
        landing: &Arc<Landing<Obtained>>,
    ) -> Result<Obtained, Problem> {
        let (at, size) = (open.clone(), wanted.size);
        blocking(move || at.room.make_more(size)).await?;
        let again = self.fetch_into(open, wanted, landing).await;
        let is_full = matches!(&again, Err(problem) if problem.reason == Reason::StorageFull);
        let is_judged = self.trusted.judges(&wanted.path);
        if !is_full || wanted.size > WHOLE_FIRST || is_judged {
            return again;
        }
        let memory = InMemory::default();
        match self.ask(wanted, Arc::new(memory.clone())).await {
            Ok(_) => Ok(Obtained::Bytes(memory.take())),
            Err(error) => Ok(told(error)),
        }
    }

    async fn ask(&self, wanted: &Wanted, store: Arc<dyn BodyStore>) -> Result<Arrival, FetchError> {
        let stop = Stop::new(&self.stop, LONGEST);
        let expected = Expected {
            size: wanted.size,
            digest: Digest::Sha256(wanted.digest),
        };
        let want = Want {
            tag: 0,
            sources: vec![wanted.path.clone()],
            only: None,
            validators: None,
            likely_missing: false,
            sink: Sink::stored(expected, store),
        };
        let fetcher = Fetcher::new(self.lines.endpoints.clone(), stop.clone());
        let came = fetcher.fetch_one(want).await;
        stop.release();
        came.unwrap_or_else(|problem| {
            let text = problem.message.clone();
            Err(FetchError::new(FailureKind::Local(problem), text))
        })
    }
}

/// What a failure is to whoever asked.
fn told(error: FetchError) -> Obtained {
    match &error.kind {
        FailureKind::NotFound => Obtained::Absent,
        FailureKind::Busy {
            retry_after: Some(seconds),
        } => Obtained::Busy(Duration::from_secs(*seconds)),
        _ => refused(error.into()),
    }
}

fn refused(problem: Problem) -> Obtained {
    Obtained::Refused(problem.reason, problem.message)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|stopped| Err(Problem::new(Reason::StorageFailed, stopped.to_string())))
}
