//! What all probes together may hold in memory, whoever has how many Upstreams.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// The longest root that is read for a probe. The largest of today's archives have some 300 KiB; a sync reads more.
pub const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// So much is read of each answer without asking.
pub const FIRST_BYTES: usize = 256 * 1024;
/// Answers beyond that at once.
const LONG: usize = 2;

/// Shared by all probes of the process. At most all that are under way hold [`FIRST_BYTES`], [`LONG`] of them
/// [`MAX_BYTES`], and one is being parsed, which takes a few times its length.
#[derive(Debug, Clone)]
pub struct Budget {
    long: Arc<Semaphore>,
    parse: Arc<Semaphore>,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget {
            long: Arc::new(Semaphore::new(LONG)),
            parse: Arc::new(Semaphore::new(1)),
        }
    }
}

/// Leave to hold one answer; given back with it.
#[derive(Debug, Default)]
pub struct Share {
    long: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// Waits until an answer may be longer than [`FIRST_BYTES`].
    pub async fn grow(&self, share: &mut Share) {
        if share.long.is_none() {
            // Nobody closes it.
            share.long = self.long.clone().acquire_owned().await.ok();
        }
    }

    /// Waits for the turn to parse.
    pub async fn parse(&self) -> Option<SemaphorePermit<'_>> {
        self.parse.acquire().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn only_so_many_long_answers_are_held_and_one_is_parsed() {
        let budget = Budget::default();
        let mut shares: Vec<Share> = (0..LONG + 1).map(|_| Share::default()).collect();
        let given = shares
            .iter_mut()
            .filter_map(|share| budget.grow(share).now_or_never())
            .count();
        assert_eq!(given, LONG);
        shares.remove(0);
        let last = shares
            .last_mut()
            .map(|share| budget.grow(share).now_or_never());
        assert_eq!(last, Some(Some(())));
        let parsing = budget.parse().now_or_never();
        assert!(parsing.is_some() && budget.parse().now_or_never().is_none());
    }
}
