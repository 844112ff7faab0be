//! Many who want the same, and one who gets it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use fleet_types::lock;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// What is being got, by key. Each is got by a task of its own, which goes on when nobody waits any more.
pub struct Flights<K, T> {
    under_way: Arc<Mutex<UnderWay<K, T>>>,
    runtime: Handle,
}

type UnderWay<K, T> = HashMap<K, watch::Receiver<Option<T>>>;

/// By which a task tells what came of it: something that is on its way first, perhaps, and then the end.
pub struct Landing<T>(watch::Sender<Option<T>>);

impl<T> Landing<T> {
    /// Whoever waits has it, and whoever comes from now on.
    pub fn tell(&self, what: T) {
        self.0.send_replace(Some(what));
    }
}

/// Takes a flight out when its task is over, however it ended.
struct Entry<K: Eq + Hash, T> {
    key: K,
    under_way: Arc<Mutex<UnderWay<K, T>>>,
}

impl<K: Eq + Hash, T> Drop for Entry<K, T> {
    fn drop(&mut self) {
        lock(&self.under_way).remove(&self.key);
    }
}

impl<K, T> Flights<K, T>
where
    K: Eq + Hash + Clone + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// Tasks run on `runtime`.
    pub fn new(runtime: Handle) -> Flights<K, T> {
        Flights {
            under_way: Arc::default(),
            runtime,
        }
    }

    /// How many are under way.
    pub fn count(&self) -> usize {
        lock(&self.under_way).len()
    }

    /// Joins who is getting it, or begins. The first word of the task; none where it ended without any. True beside it where
    /// another had begun.
    pub fn join<F>(
        &self,
        key: K,
        begin: impl FnOnce(Landing<T>) -> F,
    ) -> (bool, BoxFuture<'static, Option<T>>)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut under_way = lock(&self.under_way);
        let (joined, mut told) = match under_way.get(&key) {
            Some(told) => (true, told.clone()),
            None => {
                let (landing, told) = watch::channel(None);
                under_way.insert(key.clone(), told.clone());
                let entry = Entry {
                    key,
                    under_way: self.under_way.clone(),
                };
                let task = begin(Landing(landing));
                self.runtime.spawn(async move {
                    let _entry = entry;
                    task.await;
                });
                (false, told)
            }
        };
        let waiting = async move {
            let told = told.wait_for(Option::is_some).await;
            told.ok().and_then(|told| told.clone())
        };
        (joined, waiting.boxed())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn all_who_want_the_same_get_it_from_one_task() {
        let flights = Flights::new(Handle::current());
        let (begun, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let want = |key: u8| {
            let (begun, gate) = (begun.clone(), gate.clone());
            let (_, coming) = flights.join(key, move |landing: Landing<u8>| async move {
                begun.fetch_add(1, Ordering::Relaxed);
                let _ = gate.acquire().await;
                landing.tell(key + 1);
            });
            coming
        };
        let waiting: Vec<_> = (0..64).map(|n| want(n % 2)).collect();
        gate.close();
        let got = futures::future::join_all(waiting).await;
        assert!(got.iter().zip(0..).all(|(got, n)| *got == Some(n % 2 + 1)));
        assert_eq!(begun.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn who_leaves_ends_nothing_and_who_comes_later_begins_anew() {
        let flights = Flights::new(Handle::current());
        let (ended, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let want = || {
            let (ended, gate) = (ended.clone(), gate.clone());
            let (_, coming) = flights.join((), move |landing: Landing<usize>| async move {
                drop(gate.acquire().await);
                landing.tell(ended.fetch_add(1, Ordering::Relaxed));
            });
            coming
        };
        drop(want());
        let second = want();
        gate.close();
        assert_eq!(second.await, Some(0), "the first goes on");
        while flights.count() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(want().await, Some(1));
    }

    #[tokio::test]
    async fn a_task_that_ends_without_a_word_leaves_nobody_waiting() {
        let flights = Flights::new(Handle::current());
        let (_, coming) = flights.join((), |landing: Landing<u8>| async move { drop(landing) });
        assert_eq!(coming.await, None);
    }

    proptest! {
        /// However who asks and who leaves is mixed: one task a key at a time, and everybody who stays is told by it.
        #[test]
        fn one_task_a_key_at_any_time(steps in prop::collection::vec((0..4_u8, any::<bool>()), 1..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let flights = Flights::new(Handle::current());
                let gate = Arc::new(Semaphore::new(0));
                let begun: Arc<[AtomicUsize; 4]> = Arc::default();
                let mut waiting = Vec::new();
                for (key, stays) in &steps {
                    let (gate, counts, key) = (gate.clone(), begun.clone(), *key);
                    let (_, coming) = flights.join(key, move |landing: Landing<u8>| async move {
                        counts[usize::from(key)].fetch_add(1, Ordering::Relaxed);
                        drop(gate.acquire().await);
                        landing.tell(key);
                    });
                    if *stays {
                        waiting.push((key, coming));
                    }
                }
                gate.close();
                for (key, coming) in waiting {
                    assert_eq!(coming.await, Some(key));
                }
                while flights.count() > 0 {
                    tokio::task::yield_now().await;
                }
                for key in 0..4_u8 {
                    let asked = steps.iter().any(|(asked, _)| *asked == key);
                    assert_eq!(begun[usize::from(key)].load(Ordering::Relaxed), usize::from(asked));
                }
            });
        }
    }
}
