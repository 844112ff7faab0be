//! A queue of keys with a handler: each key is handled by one task at a time, as soon as it is asked for or when it
//! asked to be handled again. Owned here: order and concurrency. What handling means is somebody else's business.

use std::collections::HashSet;
use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use kube::runtime::scheduler::{ScheduleRequest, debounced_scheduler};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Asks for keys to be handled. Cheap to clone.
#[derive(Debug)]
pub struct Requests<K>(UnboundedSender<ScheduleRequest<K>>);

impl<K> Clone for Requests<K> {
    fn clone(&self) -> Self {
        Requests(self.0.clone())
    }
}

impl<K> Requests<K> {
    /// Handle `key` as soon as possible.
    pub fn now(&self, key: K) {
        self.after(key, Duration::ZERO);
    }

    /// Handle `key` after `delay`, unless it is asked for earlier.
    pub fn after(&self, key: K, delay: Duration) {
        // Without a queue there is nothing left to do: the process is ending.
        let _ = self.0.unbounded_send(ScheduleRequest {
            message: key,
            run_at: Instant::now() + delay,
        });
    }
}

/// The receiving end of [`Requests`].
pub struct Queue<K>(UnboundedReceiver<ScheduleRequest<K>>);

pub fn queue<K>() -> (Requests<K>, Queue<K>) {
    let (sender, receiver) = unbounded();
    (Requests(sender), Queue(receiver))
}

/// How a queue is worked off.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Keys that are handled at once.
    pub concurrency: usize,
    /// Requests for one key that come within this time are one.
    pub debounce: Duration,
}

/// Works until `shutdown`, then lets the handlers that run come to their end. The handler says when it wants to see
/// its key again by itself; none: only when asked.
pub async fn work<K, H, F>(
    queue: Queue<K>,
    again: Requests<K>,
    pace: Pace,
    shutdown: CancellationToken,
    handler: H,
) where
    K: Clone + Eq + Hash + Send + Debug + 'static,
    H: Fn(K) -> F,
    F: Future<Output = Option<Duration>> + Send + 'static,
{
    let mut due = Box::pin(debounced_scheduler(queue.0, pace.debounce));
    let mut running: HashSet<K> = HashSet::new();
    let mut tasks: JoinSet<(K, Option<Duration>)> = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(done) = tasks.join_next(), if !tasks.is_empty() => finished(done, &mut running, &again),
            Some(key) = async { due.as_mut().hold_unless(|key| !running.contains(key)).next().await }, if running.len() < pace.concurrency => {
                running.insert(key.clone());
                let handling = handler(key.clone());
                tasks.spawn(async move { (key, handling.await) });
            }
        }
    }
    while tasks.join_next().await.is_some() {}
}

fn finished<K: Clone + Eq + Hash>(
    done: Result<(K, Option<Duration>), tokio::task::JoinError>,
    running: &mut HashSet<K>,
    again: &Requests<K>,
) {
    match done {
        Ok((key, delay)) => {
            running.remove(&key);
            if let Some(delay) = delay {
                again.after(key, delay);
            }
        }
        // A panic is a bug of ours. Going on would leave its key locked for ever, so the process starts anew.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use tokio::sync::{Notify, Semaphore};

    const PACE: Pace = Pace {
        concurrency: 2,
        debounce: Duration::from_millis(1),
    };

    #[tokio::test]
    async fn one_key_is_never_handled_twice_at_once_and_no_request_is_lost() {
        let (requests, queue) = queue();
        let (entered, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let shutdown = CancellationToken::new();
        let handler = {
            let (entered, gate) = (entered.clone(), gate.clone());
            move |_: &'static str| {
                let (entered, gate) = (entered.clone(), gate.clone());
                async move {
                    entered.add_permits(1);
                    gate.acquire().await.unwrap().forget();
                    None
                }
            }
        };
        let worker = tokio::spawn(work(
            queue,
            requests.clone(),
            PACE,
            shutdown.clone(),
            handler,
        ));
        requests.now("a");
        entered.acquire().await.unwrap().forget();
        // Asked for while it runs: handled once more, afterwards.
        requests.now("a");
        requests.now("b");
        entered.acquire().await.unwrap().forget();
        assert_eq!(entered.available_permits(), 0, "`a` ran twice at once");
        gate.add_permits(1);
        entered.acquire().await.unwrap().forget();
        gate.add_permits(2);
        shutdown.cancel();
        worker.await.unwrap();
    }

    #[tokio::test]
    async fn a_key_comes_again_when_its_handler_asks() {
        let (requests, queue) = queue();
        let (count, twice) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let shutdown = CancellationToken::new();
        let handler = {
            let (count, twice) = (count.clone(), twice.clone());
            move |_: u8| {
                let seen = count.fetch_add(1, SeqCst) + 1;
                if seen == 2 {
                    twice.notify_one();
                }
                async move { (seen < 2).then_some(Duration::from_millis(1)) }
            }
        };
        let worker = tokio::spawn(work(
            queue,
            requests.clone(),
            PACE,
            shutdown.clone(),
            handler,
        ));
        requests.now(1);
        twice.notified().await;
        shutdown.cancel();
        worker.await.unwrap();
        assert_eq!(count.load(SeqCst), 2);
    }
}
