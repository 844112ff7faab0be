//! A queue of keys with a handler: each key is handled by one task at a time, as soon as it is asked for or when it
//! asked to be handled again. Owned here: order and concurrency. What handling means is somebody else's business.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_types::lock;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use kube::runtime::scheduler::{ScheduleRequest, scheduler};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Asks for keys to be handled. Cheap to clone.
#[derive(Debug)]
pub struct Requests<K>(UnboundedSender<ScheduleRequest<K>>, Waiting<K>);

impl<K> Clone for Requests<K> {
    fn clone(&self) -> Self {
        Requests(self.0.clone(), self.1.clone())
    }
}

impl<K: Clone + Eq + Hash> Requests<K> {
    /// Handle `key` as soon as possible.
    pub fn now(&self, key: K) {
        self.after(key, Duration::ZERO);
    }

    /// Handle `key` after `delay`, unless it is asked for earlier.
    pub fn after(&self, key: K, delay: Duration) {
        let run_at = Instant::now() + delay;
        // First, so that it is there when the key is taken.
        self.1.add(key.clone(), run_at);
        // Without a queue there is nothing left to do: the process is ending.
        let _ = self.0.unbounded_send(ScheduleRequest {
            message: key,
            run_at,
        });
    }

    /// What waits, for metrics.
    pub fn waiting(&self) -> Waiting<K> {
        self.1.clone()
    }
}

/// What was asked for and is not handled yet, with the instant at which it is due. Cheap to clone.
#[derive(Debug)]
pub struct Waiting<K>(Arc<Mutex<HashMap<K, Instant>>>);

impl<K> Clone for Waiting<K> {
    fn clone(&self) -> Self {
        Waiting(self.0.clone())
    }
}

impl<K: Eq + Hash> Waiting<K> {
    fn add(&self, key: K, due: Instant) {
        let mut waiting = lock(&self.0);
        let known = waiting.entry(key).or_insert(due);
        *known = due.min(*known);
    }

    /// It waits no longer; for how long it was due.
    pub fn take(&self, key: &K, now: Instant) -> Duration {
        let due = lock(&self.0).remove(key);
        due.map_or(Duration::ZERO, |due| now.saturating_duration_since(due))
    }

    /// How many are due.
    pub fn due(&self, now: Instant) -> usize {
        lock(&self.0).values().filter(|due| **due <= now).count()
    }
}

/// The receiving end of [`Requests`].
pub struct Queue<K>(UnboundedReceiver<ScheduleRequest<K>>);

#[cfg(test)]
impl<K> Queue<K> {
    /// The keys that were asked for and are not handled yet, whenever they should be.
    pub fn drain(&mut self) -> Vec<K> {
        std::iter::from_fn(|| self.0.try_recv().ok())
            .map(|request| request.message)
            .collect()
    }
}

pub fn queue<K>() -> (Requests<K>, Queue<K>) {
    let (sender, receiver) = unbounded();
    let waiting = Waiting(Arc::default());
    (Requests(sender, waiting), Queue(receiver))
}

/// Whose a key is: tenants share a queue, and none gets all of it.
pub trait Tenant {
    fn tenant(&self) -> &str;
}

/// How a queue is worked off.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Keys that are handled at once. Half of them are for whoever comes; of the other half a tenant that is being worked
    /// for already gets none.
    pub concurrency: usize,
    /// Requests for one key that come within this time after the first are one with it.
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
    K: Clone + Eq + Hash + Send + Debug + Tenant + 'static,
    H: Fn(K) -> F,
    F: Future<Output = Option<Duration>> + Send + 'static,
{
    // From the first request on: where each one postponed what is due, a key that is asked for all the time, as a Mirror of many
    // regions whose Jobs end one after another, would wait until it is quiet.
    let requests = queue.0.map(move |request| ScheduleRequest {
        run_at: request.run_at + pace.debounce,
        ..request
    });
    let mut due = Box::pin(scheduler(requests));
    let mut running = Running::new(pace.concurrency);
    let mut tasks: JoinSet<(K, Option<Duration>)> = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(done) = tasks.join_next(), if !tasks.is_empty() => finished(done, &mut running, &again),
            Some(key) = async { due.as_mut().hold_unless(|key| running.has_room_for(key)).next().await }, if running.keys.len() < pace.concurrency => {
                running.insert(key.clone());
                let handling = handler(key.clone());
                tasks.spawn(async move { (key, handling.await) });
            }
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// What is being handled.
struct Running<K> {
    keys: HashSet<K>,
    by_tenant: HashMap<String, usize>,
    concurrency: usize,
}

impl<K: Eq + Hash + Tenant> Running<K> {
    fn new(concurrency: usize) -> Running<K> {
        Running {
            keys: HashSet::new(),
            by_tenant: HashMap::new(),
            concurrency,
        }
    }

    fn has_room_for(&self, key: &K) -> bool {
        let own = self.by_tenant.get(key.tenant()).copied().unwrap_or(0);
        let is_for_anybody = self.keys.len() < self.concurrency.div_ceil(2);
        !self.keys.contains(key) && (own == 0 || is_for_anybody)
    }

    fn insert(&mut self, key: K) {
        *self.by_tenant.entry(key.tenant().to_owned()).or_default() += 1;
        self.keys.insert(key);
    }

    fn remove(&mut self, key: &K) {
        if !self.keys.remove(key) {
            return;
        }
        if let Some(count) = self.by_tenant.get_mut(key.tenant()) {
            *count -= 1;
            if *count == 0 {
                self.by_tenant.remove(key.tenant());
            }
        }
    }
}

fn finished<K: Clone + Eq + Hash + Tenant>(
    done: Result<(K, Option<Duration>), tokio::task::JoinError>,
    running: &mut Running<K>,
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
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use tokio::sync::{Notify, Semaphore};

    impl Tenant for &'static str {
        fn tenant(&self) -> &str {
            self.split('/').next().unwrap_or_default()
        }
    }

    impl Tenant for u8 {
        fn tenant(&self) -> &str {
            ""
        }
    }

    #[tokio::test]
    async fn one_tenants_endless_work_leaves_room_for_another() {
        let (requests, queue) = queue();
        let entered = Arc::new(Notify::new());
        let shutdown = CancellationToken::new();
        let handler = {
            let entered = entered.clone();
            move |key: &'static str| {
                let entered = entered.clone();
                async move {
                    match key.starts_with("greedy") {
                        true => std::future::pending::<()>().await,
                        false => entered.notify_one(),
                    }
                    None
                }
            }
        };
        for key in ["greedy/1", "greedy/2", "greedy/3", "greedy/4", "greedy/5"] {
            requests.now(key);
        }
        let pace = Pace {
            concurrency: 4,
            ..PACE
        };
        let working = work(queue, requests.clone(), pace, shutdown, handler);
        let worker = tokio::spawn(working);
        tokio::time::sleep(4 * pace.debounce).await;
        for key in ["other/1", "other/2"] {
            requests.now(key);
            entered.notified().await;
        }
        worker.abort();
    }

    #[test]
    fn what_waits_is_counted_from_when_it_is_due() {
        let (requests, _queue) = queue();
        let (waiting, asked) = (requests.waiting(), Instant::now());
        requests.now("a");
        requests.after("b", Duration::from_secs(600));
        assert_eq!(waiting.due(Instant::now()), 1, "`b` is not due yet");
        let later = asked + Duration::from_secs(3600);
        assert_eq!(waiting.due(later), 2);
        requests.now("b");
        requests.after("b", Duration::from_secs(600));
        assert_eq!(waiting.due(Instant::now()), 2, "the earliest counts");
        let waited = waiting.take(&"a", later);
        assert!(waited > Duration::from_secs(3000), "{waited:?}");
        assert_eq!(waiting.due(later), 1);
        assert_eq!(waiting.take(&"a", later), Duration::ZERO, "it was taken");
    }

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
    async fn a_key_that_is_asked_for_all_the_time_is_handled_all_the_same() {
        let (requests, queue) = queue();
        let handled = Arc::new(Notify::new());
        let pace = Pace {
            debounce: Duration::from_millis(200),
            ..PACE
        };
        let handler = {
            let handled = handled.clone();
            move |_: u8| {
                handled.notify_one();
                async { None }
            }
        };
        let again = requests.clone();
        let working = work(queue, again, pace, CancellationToken::new(), handler);
        let worker = tokio::spawn(working);
        let asking = async {
            loop {
                requests.now(1);
                tokio::time::sleep(pace.debounce / 20).await;
            }
        };
        let handling = async {
            for _ in 0..3 {
                handled.notified().await;
            }
        };
        tokio::select! {
            () = asking => {}
            () = handling => {}
            () = tokio::time::sleep(100 * pace.debounce) => panic!("it waits for a pause"),
        }
        worker.abort();
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
