//! Room for bytes that wait for their clients: bounded for each connection, and for all together.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of files that all h2 connections together hold beyond what each has for itself.
pub const SHARED_BYTES: usize = 64 * 1024 * 1024;
/// Bytes that one connection holds for all its streams, of what is shared.
const CONNECTION_BYTES: usize = 256 * 1024;
/// Bytes that a connection holds when others have all that is shared: so it goes on, but slowly.
const OWN_BYTES: usize = 16 * 1024;
/// The most that is given at once.
pub const PIECE_BYTES: usize = 64 * 1024;

/// What one connection may hold.
#[derive(Clone)]
pub struct Room {
    shared: Arc<Semaphore>,
    connection: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

/// Room that is taken until this is dropped.
pub struct Taken {
    pub bytes: usize,
    _connection: OwnedSemaphorePermit,
    _of: OwnedSemaphorePermit,
}

impl Room {
    /// For one more connection; `shared` counts bytes.
    pub fn new(shared: Arc<Semaphore>) -> Room {
        Room {
            shared,
            connection: Arc::new(Semaphore::new(CONNECTION_BYTES)),
            own: Arc::new(Semaphore::new(OWN_BYTES)),
        }
    }

    /// Room for some bytes, at most `wanted` and at least one of them. Waits for what this connection holds, never for
    /// others.
    pub async fn take(&self, wanted: usize) -> Option<Taken> {
        let bytes = wanted.clamp(1, PIECE_BYTES);
        let connection = permits(&self.connection, bytes).await?;
        let free = self.shared.clone();
        if let Ok(of) = free.try_acquire_many_owned(u32::try_from(bytes).ok()?) {
            return Some(Taken {
                bytes,
                _connection: connection,
                _of: of,
            });
        }
        let bytes = bytes.min(OWN_BYTES);
        Some(Taken {
            bytes,
            _of: permits(&self.own, bytes).await?,
            _connection: connection,
        })
    }
}

async fn permits(of: &Arc<Semaphore>, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let count = u32::try_from(bytes).ok()?;
    of.clone().acquire_many_owned(count).await.ok()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// What a future has at once.
    fn now<F: Future>(future: F) -> Option<F::Output> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_connection_has_its_bound_and_all_together_have_theirs() {
        let shared = Arc::new(Semaphore::new(2 * CONNECTION_BYTES));
        let greedy = Room::new(shared.clone());
        let pieces = CONNECTION_BYTES / PIECE_BYTES;
        let mut held: Vec<Taken> = (0..pieces)
            .map(|_| now(greedy.take(usize::MAX)).unwrap().unwrap())
            .collect();
        assert!(now(greedy.take(1)).is_none(), "more than a connection's");
        held.pop();
        assert!(now(greedy.take(PIECE_BYTES)).is_some());

        let others: Vec<Room> = (0..100).map(|_| Room::new(shared.clone())).collect();
        let held_by_others: Vec<Taken> = others
            .iter()
            .map(|room| now(room.take(usize::MAX)).unwrap().unwrap())
            .collect();
        let all: usize = held.iter().chain(&held_by_others).map(|t| t.bytes).sum();
        assert!(all <= 2 * CONNECTION_BYTES + others.len() * OWN_BYTES);
        assert!(held_by_others.iter().all(|taken| taken.bytes >= OWN_BYTES));
    }
}
