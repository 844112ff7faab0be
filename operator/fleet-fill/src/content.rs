//! One Mirror's content, fetched when it is asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_fetch::{Arrival, BodyStore, FailureKind, FetchError, Fetcher, Sink, Stop, Want};
use fleet_origin::{Flights, Landing, Obtained, Refusals, WHOLE_FIRST, is_worth_finishing};
use fleet_telemetry::{FetchResult, FillCounts};
use fleet_types::documents::{NotKept, UnixSeconds};
use fleet_types::{Digest, Expected, Problem, Reason, RepoPath, Sha256};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use crate::answer::{no_room, refused, told, told_again_for};
use crate::depot::Depot;
use crate::judge::{Judge, Trusted, now};
use crate::memory::InMemory;
use crate::options::{FillOptions, Keep, Lines};
use crate::passing::Passing;
use crate::shelf::{Open, Shelf};

/// Fetches of one Mirror at once; others wait.
const AT_ONCE: usize = 128;
/// How long they do.
const PATIENCE: Duration = Duration::from_secs(30);
/// When to come back where that was not enough.
const COME_BACK: Duration = Duration::from_secs(5);
/// How often is joined or begun what ends at that moment because nobody wanted it.
const TRIES: usize = 3;
const MOMENT: Duration = Duration::from_millis(10);
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
    refusals: Refusals<Sha256, Obtained>,
    /// How long it is told that there is no such file.
    negative_age: Duration,
    places: Arc<Semaphore>,
    abandoned_after: Duration,
    runtime: Handle,
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
            flights: Flights::new(runtime.clone()),
            refusals: Refusals::default(),
            negative_age: options.negative_age,
            places: Arc::new(Semaphore::new(AT_ONCE)),
            abandoned_after: options.abandoned_after,
            runtime,
            stop,
        }
    }

    pub fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }

    /// Why what is fetched cannot be kept, if it cannot.
    pub fn not_kept(&self) -> Option<NotKept> {
        let since = self.counts.keeping().full_since()?;
        let open = self.shelf.at_hand()?;
        // Where there is room again, nobody has asked since.
        (!open.room.may_have_room()).then(|| NotKept::full(UnixSeconds(since)))
    }

    /// Fetches content, or joins who does. What the volume has no room for is fetched for this one alone.
    pub async fn obtain(self: Arc<Self>, wanted: Wanted) -> Obtained {
        let obtained = match self.refusals.of(&wanted.digest, Instant::now()) {
            Some(refusal) => refusal,
            None => self.get(&wanted).await,
        };
        match obtained {
            Obtained::Refused(Reason::StorageFull, why) if wanted.size > WHOLE_FIRST => {
                self.pass(wanted, why).await
            }
            other => other,
        }
    }

    async fn get(self: &Arc<Self>, wanted: &Wanted) -> Obtained {
        for _ in 0..TRIES {
            let (this, of_flight) = (self.clone(), wanted.clone());
            let begin = move |landing| async move { this.fly(of_flight, Arc::new(landing)).await };
            let (is_shared, coming) = self.flights.join(wanted.digest, begin);
            if is_shared {
                self.counts.shared();
            }
            if let Some(obtained) = coming.await {
                return obtained;
            }
            // It was given up, or ended, just as it was asked for again, and is out of the way in a moment.
            tokio::time::sleep(MOMENT).await;
        }
        refused(Problem::new(Reason::SyncInterrupted, "the fetch was ended"))
    }

    /// Fetches, for whoever wants the same. Says nothing where it was given up because nobody did.
    async fn fly(&self, wanted: Wanted, landing: Arc<Landing<Obtained>>) {
        let given_up = self.stop.child_token();
        let fetching = self.find_or_fetch(&wanted, &landing, &given_up);
        let obtained = fetching.await.unwrap_or_else(refused);
        if given_up.is_cancelled() && !matches!(obtained, Obtained::Blob(_)) {
            return;
        }
        if let Some(age) = told_again_for(&obtained, self.negative_age) {
            let (digest, refusal) = (wanted.digest, obtained.clone());
            self.refusals.note(digest, refusal, age, Instant::now());
        }
        landing.tell(obtained);
    }

    async fn find_or_fetch(
        &self,
        wanted: &Wanted,
        landing: &Arc<Landing<Obtained>>,
        given_up: &CancellationToken,
    ) -> Result<Obtained, Problem> {
        let open = self.open().await?;
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
        let has_room = blocking(move || at.room.make(size)).await?;
        let mut obtained = match has_room {
            true => self.fetch_into(&open, wanted, landing, given_up).await,
            false => Err(no_room(wanted)),
        };
        if matches!(&obtained, Err(problem) if problem.reason == Reason::StorageFull) {
            obtained = self
                .fetch_beside(&open, wanted, landing, (has_room, given_up))
                .await;
        }
        let result = match &obtained {
            Ok(Obtained::Blob(_) | Obtained::Bytes(_)) => FetchResult::Ok,
            Ok(Obtained::Absent) => FetchResult::Absent,
            _ if given_up.is_cancelled() => FetchResult::Abandoned,
            // It is fetched for each who asks.
            Err(problem) if problem.reason == Reason::StorageFull => return obtained,
            _ => FetchResult::Failed,
        };
        self.counts.fetched(result, wanted.size);
        obtained
    }

    async fn open(&self) -> Result<Arc<Open>, Problem> {
        let (shelf, keep) = (self.shelf.clone(), self.keep.clone());
        let counts = self.counts.clone();
        blocking(move || shelf.open(keep, counts)).await
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
        given_up: &CancellationToken,
    ) -> Result<Obtained, Problem> {
        let inserter = open.inserter.clone();
        let judge = Arc::new(self.judge(wanted));
        let depot = Depot::new(inserter, landing.clone(), judge);
        let asking = self.ask(wanted, Arc::new(depot.clone()), given_up);
        let abandoned = async {
            landing.abandoned(self.abandoned_after).await;
            if is_worth_finishing(depot.written(), Some(wanted.size)) {
                std::future::pending::<()>().await;
            }
            tracing::info!(path = %wanted.path, "nobody waits for it any more, and most of it is still to come: it is not fetched to its end");
            // Whoever asks at this moment begins anew, and does not read what ends.
            landing.take_back();
            given_up.cancel();
            std::future::pending::<()>().await;
        };
        let came = tokio::select! {
            came = asking => came,
            () = abandoned => Err(FetchError::new(FailureKind::Broken, "it was given up".to_owned())),
        };
        match (came, depot.problem()) {
            (Ok(Arrival::Complete(_)), _) => {
                open.room.add(wanted.size);
                self.counts.keeping().kept(now());
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
        (seemed_to_have_room, given_up): (bool, &CancellationToken),
    ) -> Result<Obtained, Problem> {
        if seemed_to_have_room {
            let (at, size) = (open.clone(), wanted.size);
            blocking(move || at.room.make_more(size)).await?;
            let again = self.fetch_into(open, wanted, landing, given_up).await;
            if !matches!(&again, Err(problem) if problem.reason == Reason::StorageFull) {
                return again;
            }
        }
        self.counts.keeping().not_kept(now());
        if wanted.size > WHOLE_FIRST {
            return Err(no_room(wanted));
        }
        let memory = InMemory::default();
        match self.ask(wanted, Arc::new(memory.clone()), given_up).await {
            Ok(_) => {
                let (bytes, judge) = (memory.take(), self.judge(wanted));
                let (judged, inserter) = (bytes.clone(), open.inserter.clone());
                blocking(move || judge.believe(&inserter, &mut &judged[..])).await?;
                Ok(Obtained::Bytes(bytes))
            }
            Err(error) => Ok(told(error)),
        }
    }

    /// Has large content pass to the one who asked for it. Refused with `why` where nothing can pass either.
    async fn pass(self: Arc<Self>, wanted: Wanted, why: String) -> Obtained {
        let (tell, told_first) = oneshot::channel();
        let places = self.places.clone().acquire_owned();
        let Ok(Ok(place)) = tokio::time::timeout(PATIENCE, places).await else {
            return Obtained::Busy(COME_BACK);
        };
        let open = match self.open().await {
            Ok(open) => open,
            Err(problem) => return refused(problem),
        };
        let this = self.clone();
        self.runtime.spawn(async move {
            let _place = place;
            let passing = Passing::new(open.inserter.clone(), this.judge(&wanted), tell);
            let came = this
                .ask(&wanted, Arc::new(passing.clone()), &this.stop)
                .await;
            this.counts.fetched(
                match &came {
                    Ok(_) => FetchResult::Ok,
                    Err(error) if error.kind == FailureKind::NotFound => FetchResult::Absent,
                    Err(_) => FetchResult::Failed,
                },
                wanted.size,
            );
            if let Err(error) = came {
                passing.tell(told(error));
            }
        });
        let ended = || Obtained::Refused(Reason::StorageFull, why);
        told_first.await.unwrap_or_else(|_| ended())
    }

    fn judge(&self, wanted: &Wanted) -> Judge {
        Judge {
            trusted: self.trusted.clone(),
            path: wanted.path.clone(),
            digest: wanted.digest,
        }
    }

    /// Asks the upstream; ends with `until`.
    async fn ask(
        &self,
        wanted: &Wanted,
        store: Arc<dyn BodyStore>,
        until: &CancellationToken,
    ) -> Result<Arrival, FetchError> {
        let stop = Stop::new(until, LONGEST);
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

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|stopped| Err(Problem::new(Reason::StorageFailed, stopped.to_string())))
}
