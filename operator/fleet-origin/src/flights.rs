//! Many who want the same, and one who gets it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_types::lock;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::{Readers, WHOLE_FIRST};

/// How long nobody must have waited for something before it is looked whether getting it is worth while: clients that lost
/// their connection come back sooner.
pub const ABANDONED_AFTER: Duration = Duration::from_secs(60);
/// It is looked so many times in that time whether somebody waits.
const LOOKS: u32 = 60;

/// What is being got, by key. Each is got by a task of its own, which goes on when nobody waits any more.
pub struct Flights<K, T> {
    under_way: Arc<Mutex<UnderWay<K, T>>>,
    runtime: Handle,
}

type UnderWay<K, T> = HashMap<K, watch::Receiver<Option<T>>>;

/// By which a task tells what came of it: something that is on its way first, perhaps, and then the end.
pub struct Landing<T> {
    told: watch::Sender<Option<T>>,
    /// Who reads what is on its way.
    readers: Mutex<Option<Readers>>,
}

impl<T> Landing<T> {
    /// Whoever waits has it, and whoever comes from now on.
    pub fn tell(&self, what: T) {
        self.told.send_replace(Some(what));
    }

    /// Whoever comes from now on waits again, for another word or for the end.
    pub fn take_back(&self) {
        self.told.send_replace(None);
    }

    /// From now on those wait as well who read what was told.
    pub fn is_read_by(&self, readers: Readers) {
        *lock(&self.readers) = Some(readers);
    }

    /// Ends once nobody has waited for so long without a break.
    pub async fn abandoned(&self, patience: Duration) {
        let mut since = None;
        loop {
            tokio::time::sleep(patience / LOOKS).await;
            if self.is_waited_for() {
                since = None;
            } else if since.get_or_insert_with(Instant::now).elapsed() >= patience {
                return;
            }
        }
    }

    fn is_waited_for(&self) -> bool {
        // One of each is kept here: for whoever comes.
        let reads = lock(&self.readers).as_ref().map_or(0, Readers::count);
        self.told.receiver_count() > 1 || reads > 1
    }
}

/// Whether something that nobody waits for is got to its end all the same, for who asks next: what is lacking is little, or no
/// more than what has come. `size` is none where nobody knows it.
pub fn is_worth_finishing(received: u64, size: Option<u64>) -> bool {
    size.is_some_and(|size| size.saturating_sub(received) <= received.max(WHOLE_FIRST))
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
                let task = begin(Landing {
                    told: landing,
                    readers: Mutex::default(),
                });
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

    #[test]
    fn what_is_nearly_there_or_small_is_finished() {
        const MIB: u64 = 1 << 20;
        assert!(is_worth_finishing(0, Some(8 * MIB)));
        assert!(!is_worth_finishing(0, Some(9 * MIB)));
        assert!(is_worth_finishing(50 * MIB, Some(100 * MIB)));
        assert!(!is_worth_finishing(49 * MIB, Some(100 * MIB)));
        assert!(!is_worth_finishing(49 * MIB, None));
    }

    #[tokio::test]
    async fn who_waits_or_reads_keeps_it_from_being_abandoned() {
        const PATIENCE: Duration = Duration::from_millis(60);
        let flights = Flights::new(Handle::current());
        let file = Arc::new(tempfile::tempfile().unwrap());
        let (grower, growing) = crate::Growing::new(file, 10);
        let (_, coming) = flights.join((), |landing| async move {
            landing.is_read_by(grower.readers());
            landing.tell(growing);
            landing.abandoned(PATIENCE).await;
            grower.whole();
        });
        let mut reading = coming.await.unwrap();
        tokio::time::sleep(2 * PATIENCE).await;
        assert_eq!(flights.count(), 1, "somebody reads it");
        let (joined, second) = flights.join((), |_| async { unreachable!() });
        let mut second = second.await.unwrap();
        assert!(joined);
        drop(second.beyond(0).now_or_never());
        drop(second);
        tokio::time::sleep(2 * PATIENCE).await;
        assert_eq!(flights.count(), 1, "the first one still does");
        drop(reading.beyond(0).now_or_never());
        drop(reading);
        while flights.count() > 0 {
            tokio::time::sleep(PATIENCE / 4).await;
        }
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
