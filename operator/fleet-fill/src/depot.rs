//! Where one fetch puts its body: into the store's folder of downloads, and from there among the blobs once it is right.
//!
//! Who reads along is given a file that grows. When the fetch begins again from nothing, because what came was wrong, they are
//! told that it will never be whole, and whoever comes then is given another.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use fleet_fetch::{BodyStore, OpenBody, SinkError};
use fleet_origin::{Grower, Growing, Landing, Obtained, WHOLE_FIRST};
use fleet_store::{Inserter, StagedFile, StoreError};
use fleet_types::{Expected, Problem, Reason, Sha256, lock};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::judge::Judge;

/// One fetch's.
#[derive(Clone)]
pub struct Depot {
    inserter: Arc<Inserter>,
    /// Who is told of content that is sent while it comes.
    landing: Arc<Landing<Obtained>>,
    judge: Arc<Judge>,
    /// What of our own kept it from being stored, or who judged it did not believe.
    problem: Arc<OnceLock<Problem>>,
    /// Bytes of it that are here.
    written: Arc<AtomicU64>,
}

/// A body that grows.
struct Body {
    depot: Depot,
    size: u64,
    work: Arc<Mutex<Work>>,
}

struct Work {
    file: Option<StagedFile>,
    grower: Option<Grower>,
}

impl Depot {
    pub fn new(
        inserter: Arc<Inserter>,
        landing: Arc<Landing<Obtained>>,
        judge: Arc<Judge>,
    ) -> Depot {
        Depot {
            inserter,
            landing,
            judge,
            problem: Arc::default(),
            written: Arc::default(),
        }
    }

    /// How many bytes have come.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// What of our own went wrong, if anything did.
    pub fn problem(&self) -> Option<Problem> {
        self.problem.get().cloned()
    }

    fn failed(&self, problem: Problem) -> Problem {
        self.problem.get_or_init(|| problem).clone()
    }

    /// What is wrong with a body, or with the disk.
    fn refusal(&self, error: StoreError) -> SinkError {
        match error {
            StoreError::TooLong { expected } => SinkError::TooLong {
                limit: expected,
                exact: true,
            },
            StoreError::TooShort { expected, found } => SinkError::TooShort { expected, found },
            StoreError::WrongDigest { expected, found } => {
                SinkError::WrongDigest { expected, found }
            }
            other => SinkError::Store(self.failed(other.into())),
        }
    }

    /// Makes a whole and right body a blob, if it is believed.
    fn admit(&self, staged: &fleet_store::Staged) -> Result<Sha256, SinkError> {
        let believed = match self.judge.is_needed() {
            true => staged
                .open()
                .map_err(Problem::from)
                .and_then(|mut file| self.judge.believe(&self.inserter, &mut file)),
            false => Ok(()),
        };
        let inserted = believed.and_then(|()| Ok(self.inserter.insert(staged)?));
        match inserted {
            Ok(()) => Ok(staged.digest()),
            Err(problem) => Err(SinkError::Store(self.failed(problem))),
        }
    }

    fn put(&self, expected: &Expected, body: &[u8]) -> Result<Sha256, SinkError> {
        let staged = self.inserter.put(expected, body);
        self.admit(&staged.map_err(|error| self.refusal(error))?)
    }

    fn open(&self, expected: &Expected) -> Result<(Body, u64), Problem> {
        let begun = self.inserter.begin(expected);
        let file = begun.map_err(|error| self.failed(error.into()))?;
        let written = file.written();
        let body = Body {
            depot: self.clone(),
            size: expected.size,
            work: Arc::new(Mutex::new(Work {
                file: Some(file),
                grower: None,
            })),
        };
        body.release(&mut lock(&body.work), written);
        Ok((body, written))
    }
}

impl BodyStore for Depot {
    fn store(&self, expected: Expected, body: Bytes) -> BoxFuture<'_, Result<Sha256, SinkError>> {
        let depot = self.clone();
        off_thread(move || depot.put(&expected, &body))
            .map(|done| done.unwrap_or_else(|problem| Err(SinkError::Store(problem))))
            .boxed()
    }

    fn begin(
        &self,
        expected: Expected,
    ) -> BoxFuture<'_, Result<(Box<dyn OpenBody>, u64), Problem>> {
        let depot = self.clone();
        async move {
            let (body, written) = off_thread(move || depot.open(&expected)).await??;
            Ok((Box::new(body) as Box<dyn OpenBody>, written))
        }
        .boxed()
    }
}

impl Body {
    /// Lets who reads along have what is there.
    fn release(&self, work: &mut Work, written: u64) {
        self.depot.written.store(written, Ordering::Relaxed);
        if self.size <= WHOLE_FIRST || written == 0 {
            return;
        }
        if work.grower.is_none() {
            // Where it cannot be read along, clients wait for the whole.
            let file = work.file.as_ref().and_then(|file| file.reader().ok());
            work.grower = file.map(|file| {
                let (grower, growing) = Growing::new(Arc::new(file), self.size);
                self.depot.landing.is_read_by(grower.readers());
                self.depot.landing.tell(Obtained::Growing(growing));
                grower
            });
        }
        if let Some(grower) = &work.grower {
            grower.wrote(written);
        }
    }

    fn change(
        &self,
        change: impl FnOnce(&mut StagedFile) -> Result<(), StoreError> + Send + 'static,
    ) -> BoxFuture<'_, Result<(), Problem>> {
        let work = self.work.clone();
        async move {
            let written = off_thread(move || {
                let mut work = lock(&work);
                let Some(file) = work.file.as_mut() else {
                    return Err(gone());
                };
                let changed = change(&mut *file).map_err(Problem::from);
                if matches!(&changed, Err(problem) if problem.reason == Reason::StorageFull) {
                    // What is there of it has the room that it needs itself.
                    drop(file.restart());
                }
                changed.map(|()| file.written())
            })
            .await?;
            match written {
                Ok(written) => {
                    self.release(&mut lock(&self.work), written);
                    Ok(())
                }
                Err(problem) => Err(self.depot.failed(problem)),
            }
        }
        .boxed()
    }
}

impl OpenBody for Body {
    fn write(&self, bytes: Bytes) -> BoxFuture<'_, Result<(), Problem>> {
        self.change(move |file| file.write(&bytes))
    }

    fn restart(&self) -> BoxFuture<'_, Result<(), Problem>> {
        // Before a byte of the file is another one.
        if let Some(grower) = lock(&self.work).grower.take() {
            grower.fail("what came was not what the index promises".to_owned());
        }
        self.change(StagedFile::restart)
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Sha256, SinkError>> {
        async move {
            let (file, grower) = {
                let mut work = lock(&self.work);
                (work.file.take(), work.grower.take())
            };
            let depot = self.depot.clone();
            let finish = move || {
                let Some(file) = file else {
                    return Err(SinkError::Store(gone()));
                };
                let staged = file.finish().map_err(|error| depot.refusal(error))?;
                depot.admit(&staged)
            };
            let done = off_thread(finish).await;
            let done = done.unwrap_or_else(|problem| Err(SinkError::Store(problem)));
            match (&done, grower) {
                (Ok(_), Some(grower)) => grower.whole(),
                (Err(_), Some(grower)) => {
                    grower.fail("what came is not what the index promises".to_owned());
                }
                (_, None) => {}
            }
            done
        }
        .boxed()
    }
}

impl fmt::Debug for Depot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Depot")
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Body").field(&self.size).finish()
    }
}

fn gone() -> Problem {
    Problem::new(Reason::StorageFailed, "the download was ended before")
}

/// A slow disk must not hold up the connections' thread.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|stopped| Problem::new(Reason::StorageFailed, stopped.to_string()))
}
