//! The places of a listener, and who gives one up when all are taken: whoever holds one without getting anything done.
//!
//! A connection says when it begins to wait for its client and when it has something to do: one store into its own
//! memory each, and no lock. Only when a new connection finds no place are the others looked at.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A connection with something to do that got nothing done for so long counts as idle too.
const STUCK: Duration = Duration::from_secs(10);
/// Whoever was asked to leave may take so long before another one is asked.
const LEAVING: Duration = Duration::from_millis(100);
/// At most so many leave at once, so that a crowd of newcomers does not have everybody looked at for each of them.
const MAX_LEAVE: usize = 32;

/// All places of one listener. Owned by whoever accepts.
pub struct Seats {
    places: usize,
    free: Arc<Semaphore>,
    /// Those that have left are still in it for a while.
    occupants: Vec<Arc<Occupant>>,
    start: Instant,
    /// Cancelled when the listener ends.
    shutdown: CancellationToken,
}

/// One place, held by one connection until it is dropped.
pub struct Seat {
    mark: Mark,
    shutdown: CancellationToken,
    leaving: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: OwnedSemaphorePermit,
}

/// By which a connection says what it does; for those parts of it that live in other tasks.
#[derive(Clone)]
pub struct Mark(Arc<Occupant>);

struct Occupant {
    start: Instant,
    /// Milliseconds since `start` at which it began to be idle, or last got something done; the lowest bit tells which.
    since: AtomicU64,
    /// A child of the listener's token, so that one wait covers both.
    leave: CancellationToken,
}

const BUSY: u64 = 1;

impl Seats {
    /// `places` connections at once until `shutdown`.
    pub fn new(places: usize, shutdown: CancellationToken) -> Seats {
        Seats {
            places,
            free: Arc::new(Semaphore::new(places)),
            occupants: Vec::new(),
            start: Instant::now(),
            shutdown,
        }
    }

    /// A place for one more connection: a free one, or that of whoever has been idle for longest, or that of whoever is
    /// stuck. Waits where all are busy. None once the listener ends.
    pub async fn take(&mut self) -> Option<Seat> {
        let place = loop {
            if self.shutdown.is_cancelled() {
                return None;
            }
            if let Ok(place) = self.free.clone().try_acquire_owned() {
                break place;
            }
            self.make_room();
            let waiting = tokio::time::timeout(LEAVING, self.free.clone().acquire_owned());
            tokio::select! {
                () = self.shutdown.cancelled() => return None,
                place = waiting => if let Ok(Ok(place)) = place {
                    break place;
                },
            }
        };
        if self.occupants.len() >= self.places.saturating_mul(2) {
            self.forget_the_gone();
        }
        let occupant = Arc::new(Occupant {
            start: self.start,
            since: AtomicU64::new(millis(self.start, Instant::now()) << 1),
            leave: self.shutdown.child_token(),
        });
        self.occupants.push(occupant.clone());
        Some(Seat {
            leaving: Box::pin(occupant.leave.clone().cancelled_owned()),
            mark: Mark(occupant),
            shutdown: self.shutdown.clone(),
            _place: place,
        })
    }

    fn make_room(&mut self) {
        self.forget_the_gone();
        let now = millis(self.start, Instant::now());
        let stuck = u64::try_from(STUCK.as_millis()).unwrap_or(u64::MAX);
        let mut idle = Vec::new();
        let mut slowest: Option<(u64, usize)> = None;
        for (index, occupant) in self.occupants.iter().enumerate() {
            let word = occupant.since.load(Ordering::Relaxed);
            let since = word >> 1;
            if occupant.leave.is_cancelled() {
                continue;
            }
            if word & BUSY == 0 {
                idle.push((since, index));
            } else if now.saturating_sub(since) >= stuck && slowest.is_none_or(|s| since < s.0) {
                slowest = Some((since, index));
            }
        }
        let wanted = (self.places / 64).clamp(1, MAX_LEAVE);
        if idle.len() > wanted {
            idle.select_nth_unstable(wanted);
            idle.truncate(wanted);
        }
        let leave = match idle.is_empty() {
            true => slowest.into_iter().collect(),
            false => idle,
        };
        for occupant in leave
            .iter()
            .filter_map(|(_, index)| self.occupants.get(*index))
        {
            occupant.leave.cancel();
        }
    }

    /// Whoever has gone holds nothing any more.
    fn forget_the_gone(&mut self) {
        self.occupants
            .retain(|occupant| Arc::strong_count(occupant) > 1);
    }
}

impl Seat {
    pub fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Whether no further request is to be taken: somebody needs the place, or the listener ends.
    pub fn is_leaving(&self) -> bool {
        self.mark.0.leave.is_cancelled()
    }

    /// Whether somebody needs the place: then nothing is waited for any more.
    pub fn is_evicted(&self) -> bool {
        self.is_leaving() && !self.shutdown.is_cancelled()
    }

    /// Ready, and wakes the task, once [`is_leaving`](Self::is_leaving).
    pub fn poll_leaving(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.leaving.as_mut().poll(context)
    }

    /// Ready once [`is_leaving`](Self::is_leaving).
    pub async fn leaving(&mut self) {
        self.leaving.as_mut().await;
    }

    /// Ready once [`is_evicted`](Self::is_evicted); never when the listener ends first.
    pub async fn evicted(&mut self) {
        self.leaving().await;
        if !self.is_evicted() {
            std::future::pending::<()>().await;
        }
    }
}

impl Mark {
    /// Nothing is being answered since `now`: the client has to say something.
    pub fn idle(&self, now: Instant) {
        self.0
            .since
            .store(millis(self.0.start, now) << 1, Ordering::Relaxed);
    }

    /// A request has come, or its client has taken something.
    pub fn busy(&self, now: Instant) {
        self.0
            .since
            .store((millis(self.0.start, now) << 1) | BUSY, Ordering::Relaxed);
    }
}

fn millis(start: Instant, now: Instant) -> u64 {
    // Enough for some 290 million years, the lowest bit left out.
    now.saturating_duration_since(start).as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn full(places: usize) -> (Seats, Vec<Seat>, CancellationToken) {
        let shutdown = CancellationToken::new();
        let mut seats = Seats::new(places, shutdown.clone());
        let mut taken = Vec::new();
        for _ in 0..places {
            taken.push(seats.take().await.unwrap());
        }
        (seats, taken, shutdown)
    }

    /// Takes one more place while whoever is asked to leave does so; says which that was.
    async fn gives_way(seats: &mut Seats, mut taken: Vec<Seat>) -> usize {
        let leaver = async {
            loop {
                if let Some(index) = taken.iter().position(Seat::is_evicted) {
                    taken.remove(index);
                    return index;
                }
                tokio::task::yield_now().await;
            }
        };
        let (seat, index) = tokio::join!(seats.take(), leaver);
        assert!(seat.is_some());
        index
    }

    #[tokio::test]
    async fn whoever_is_idle_for_longest_gives_way() {
        let (mut seats, taken, _shutdown) = full(4).await;
        let now = Instant::now() + Duration::from_secs(60);
        let second = Duration::from_secs(1);
        taken[0].mark().busy(now - 9 * second);
        taken[1].mark().idle(now - 2 * second);
        taken[2].mark().idle(now - 3 * second);
        taken[3].mark().idle(now - second);
        assert_eq!(gives_way(&mut seats, taken).await, 2);
    }

    #[tokio::test]
    async fn where_nobody_is_idle_whoever_is_stuck_gives_way() {
        let (mut seats, taken, _shutdown) = full(3).await;
        // As if they had started long ago.
        seats.start = Instant::now() - Duration::from_secs(100);
        let now = millis(seats.start, Instant::now());
        for (seat, age) in taken.iter().zip([9_000, 30_000, 20_000]) {
            let word = ((now - age) << 1) | BUSY;
            seat.mark().0.since.store(word, Ordering::Relaxed);
        }
        assert_eq!(gives_way(&mut seats, taken).await, 1);
    }

    #[tokio::test]
    async fn who_is_served_keeps_the_place_and_the_newcomer_waits() {
        let (mut seats, mut taken, shutdown) = full(2).await;
        taken
            .iter()
            .for_each(|seat| seat.mark().busy(Instant::now()));
        let waiting = tokio::time::timeout(3 * LEAVING, seats.take()).await;
        assert!(waiting.is_err() && !taken.iter().any(Seat::is_leaving));
        taken.pop();
        assert!(seats.take().await.is_some());
        shutdown.cancel();
        assert!(seats.take().await.is_none() && taken[0].is_leaving() && !taken[0].is_evicted());
    }

    #[tokio::test]
    async fn nobody_is_remembered_for_ever() {
        let (mut seats, taken, _shutdown) = full(2).await;
        drop(taken);
        for _ in 0..100 {
            seats.take().await.unwrap();
        }
        assert!(seats.occupants.len() <= 4);
    }
}
