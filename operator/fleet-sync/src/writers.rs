//! A few threads that write what arrives, so that neither a small file costs a task of its own nor a slow disk holds up
//! the connections' thread.
//!
//! Threads answer a file once it is staged and its digest is right. Blobs become durable in batches; only after
//! [`Writers::flush`] is all that was answered really in the store.

mod body;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use bytes::Bytes;
use fleet_fetch::{BodyStore, OpenBody, SinkError};
use fleet_store::{Staged, StagedFile, Staging, StoreError};
use fleet_types::{Expected, Reason, Sha256};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use crate::Problem;

const THREADS: usize = 2;
/// Orders that may wait for a thread; each holds one chunk of a body.
const QUEUE: usize = 16;
/// Small files that go to one thread before the next one gets any: who is at work need not be woken.
const TOGETHER: u64 = 8;
/// Each batch waits for the disk, and so for what others have written to it too.
const BATCH_FILES: usize = 1024;
const BATCH_BYTES: u64 = 256 << 20;

/// The threads. Dropping the last handle waits for them, since they hold the store's lock.
#[derive(Debug)]
pub(crate) struct Writers {
    queues: Vec<mpsc::Sender<Order>>,
    threads: Vec<thread::JoinHandle<()>>,
    /// Large and small files so far.
    next: AtomicU64,
    next_small: AtomicU64,
    failure: Arc<OnceLock<Problem>>,
}

#[derive(Debug)]
enum Order {
    Whole {
        expected: Expected,
        body: Bytes,
        reply: oneshot::Sender<Result<Sha256, SinkError>>,
    },
    Begin {
        id: u64,
        expected: Expected,
        reply: oneshot::Sender<Result<u64, Problem>>,
    },
    Chunk {
        id: u64,
        bytes: Bytes,
    },
    Restart {
        id: u64,
    },
    Finish {
        id: u64,
        reply: oneshot::Sender<Result<Sha256, SinkError>>,
    },
    Close {
        id: u64,
    },
    Flush {
        reply: oneshot::Sender<Result<(), Problem>>,
    },
}

/// What came of an order, and who is to be told.
enum Reply {
    Done(
        oneshot::Sender<Result<Sha256, SinkError>>,
        Result<Sha256, SinkError>,
    ),
    Begun(oneshot::Sender<Result<u64, Problem>>, Result<u64, Problem>),
    Flushed(oneshot::Sender<Result<(), Problem>>, Result<(), Problem>),
}

impl Reply {
    fn send(self) {
        // That nobody waits for it any more is no error.
        match self {
            Reply::Done(to, result) => drop(to.send(result)),
            Reply::Begun(to, result) => drop(to.send(result)),
            Reply::Flushed(to, result) => drop(to.send(result)),
        }
    }
}

/// A large file that one of the threads has open. Dropping it leaves what is staged for the next run.
#[derive(Debug)]
struct OpenFile {
    id: u64,
    queue: mpsc::Sender<Order>,
    failure: Arc<OnceLock<Problem>>,
}

impl Writers {
    pub fn start(staging: &Staging) -> Result<Arc<Writers>, Problem> {
        let failure = Arc::new(OnceLock::new());
        let (mut queues, mut threads) = (Vec::with_capacity(THREADS), Vec::with_capacity(THREADS));
        for number in 0..THREADS {
            let (queue, orders) = mpsc::channel(QUEUE);
            let desk = Desk {
                staging: staging.clone(),
                open: HashMap::new(),
                batch: Vec::new(),
                batch_bytes: 0,
                failure: failure.clone(),
            };
            let thread = thread::Builder::new()
                .name(format!("writer-{number}"))
                .spawn(move || desk.run(orders))
                .map_err(|e| {
                    Problem::new(
                        Reason::StorageFailed,
                        format!("no thread can be started for writing: {e}"),
                    )
                })?;
            queues.push(queue);
            threads.push(thread);
        }
        Ok(Arc::new(Writers {
            queues,
            threads,
            next: AtomicU64::new(0),
            next_small: AtomicU64::new(0),
            failure,
        }))
    }

    /// Makes everything durable that was answered so far. Threads wait for the disk together.
    pub async fn flush(&self) -> Result<(), Problem> {
        let flush = |queue| async move {
            let (reply, answer) = oneshot::channel();
            send(queue, Order::Flush { reply }, &self.failure).await?;
            answer.await.map_err(|_| gone(&self.failure))?
        };
        let flushes = self.queues.iter().map(flush);
        futures::future::try_join_all(flushes).await.map(drop)
    }

    async fn keep_whole(&self, expected: Expected, body: Bytes) -> Result<Sha256, SinkError> {
        let (reply, answer) = oneshot::channel();
        let number = self.next_small.fetch_add(1, Ordering::Relaxed) / TOGETHER;
        let queue = self.queue(number).map_err(SinkError::Store)?;
        send(
            queue,
            Order::Whole {
                expected,
                body,
                reply,
            },
            &self.failure,
        )
        .await
        .map_err(SinkError::Store)?;
        answer
            .await
            .map_err(|_| SinkError::Store(gone(&self.failure)))?
    }

    async fn open(&self, expected: Expected) -> Result<(OpenFile, u64), Problem> {
        let (reply, answer) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let queue = self.queue(id)?;
        send(
            queue,
            Order::Begin {
                id,
                expected,
                reply,
            },
            &self.failure,
        )
        .await?;
        let file = OpenFile {
            id,
            queue: queue.clone(),
            failure: self.failure.clone(),
        };
        let written = answer.await.map_err(|_| gone(&self.failure))??;
        Ok((file, written))
    }

    /// Of one thread, in turn.
    fn queue(&self, number: u64) -> Result<&mpsc::Sender<Order>, Problem> {
        let turn = number as usize % self.queues.len().max(1);
        self.queues.get(turn).ok_or_else(|| gone(&self.failure))
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.queues.clear();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

impl BodyStore for Writers {
    fn store(&self, expected: Expected, body: Bytes) -> BoxFuture<'_, Result<Sha256, SinkError>> {
        self.keep_whole(expected, body).boxed()
    }

    fn begin(
        &self,
        expected: Expected,
    ) -> BoxFuture<'_, Result<(Box<dyn OpenBody>, u64), Problem>> {
        async move {
            let (file, written) = self.open(expected).await?;
            Ok((Box::new(file) as Box<dyn OpenBody>, written))
        }
        .boxed()
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // A full queue only means that the file stays open until the thread ends.
        let _ = self.queue.try_send(Order::Close { id: self.id });
    }
}

async fn send(
    queue: &mpsc::Sender<Order>,
    order: Order,
    failure: &OnceLock<Problem>,
) -> Result<(), Problem> {
    if let Some(problem) = failure.get() {
        return Err(problem.clone());
    }
    queue.send(order).await.map_err(|_| gone(failure))
}

fn gone(failure: &OnceLock<Problem>) -> Problem {
    let ended = || {
        Problem::new(
            Reason::StorageFailed,
            "a writer thread ended before its work was done; see the log",
        )
    };
    failure.get().cloned().unwrap_or_else(ended)
}

/// What one thread works on.
struct Desk {
    staging: Staging,
    open: HashMap<u64, StagedFile>,
    batch: Vec<Staged>,
    batch_bytes: u64,
    /// The first error of the disk, shared by all threads: nothing more is written after it.
    failure: Arc<OnceLock<Problem>>,
}

impl Desk {
    fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut burst = Vec::with_capacity(QUEUE);
        let mut replies = Vec::with_capacity(QUEUE);
        while orders.blocking_recv_many(&mut burst, QUEUE) > 0 {
            replies.extend(burst.drain(..).filter_map(|order| self.obey(order)));
            // All at once: who waits for them is woken by the first, and finds the others.
            replies.drain(..).for_each(Reply::send);
        }
        // The run was ended; what is complete need not be fetched again.
        let _ = self.commit();
    }

    fn obey(&mut self, order: Order) -> Option<Reply> {
        match order {
            Order::Whole {
                expected,
                body,
                reply,
            } => Some(Reply::Done(reply, self.whole(&expected, &body))),
            Order::Begin {
                id,
                expected,
                reply,
            } => Some(Reply::Begun(reply, self.begin(id, &expected))),
            Order::Chunk { id, bytes } => {
                self.change(id, |file| file.write(&bytes));
                None
            }
            Order::Restart { id } => {
                self.change(id, StagedFile::restart);
                None
            }
            Order::Finish { id, reply } => Some(Reply::Done(reply, self.finish(id))),
            Order::Close { id } => {
                self.open.remove(&id);
                None
            }
            Order::Flush { reply } => Some(Reply::Flushed(reply, self.commit())),
        }
    }

    fn whole(&mut self, expected: &Expected, body: &[u8]) -> Result<Sha256, SinkError> {
        let staged = self
            .staging
            .put(expected, body)
            .map_err(|e| self.refusal(e))?;
        self.keep(staged)
    }

    fn begin(&mut self, id: u64, expected: &Expected) -> Result<u64, Problem> {
        let file = self.staging.begin(expected).map_err(|e| self.failed(e))?;
        let written = file.written();
        self.open.insert(id, file);
        Ok(written)
    }

    fn change(&mut self, id: u64, change: impl FnOnce(&mut StagedFile) -> Result<(), StoreError>) {
        let Some(file) = self.open.get_mut(&id) else {
            return;
        };
        if let Err(error) = change(file) {
            self.open.remove(&id);
            self.failed(error);
        }
    }

    fn finish(&mut self, id: u64) -> Result<Sha256, SinkError> {
        let Some(file) = self.open.remove(&id) else {
            return Err(SinkError::Store(gone(&self.failure)));
        };
        let staged = file.finish().map_err(|e| self.refusal(e))?;
        self.keep(staged)
    }

    fn keep(&mut self, staged: Staged) -> Result<Sha256, SinkError> {
        let digest = staged.digest();
        self.batch_bytes += staged.size();
        self.batch.push(staged);
        if self.batch.len() >= BATCH_FILES || self.batch_bytes >= BATCH_BYTES {
            self.commit().map_err(SinkError::Store)?;
        }
        Ok(digest)
    }

    fn commit(&mut self) -> Result<(), Problem> {
        if let Some(problem) = self.failure.get() {
            return Err(problem.clone());
        }
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        self.staging.commit_batch(batch).map_err(|e| self.failed(e))
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
            other => SinkError::Store(self.failed(other)),
        }
    }

    fn failed(&self, error: StoreError) -> Problem {
        let problem = Problem::from(error);
        self.failure.get_or_init(|| problem.clone());
        problem
    }
}
