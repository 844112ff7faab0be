//! What a run costs the upstream: counted, and held to the bandwidth budget.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
/// Told of bytes of bodies as they arrive, whether they are believed later or not; must not block.
pub type Watcher = Arc<dyn Fn(u64) + Send + Sync>;

/// Shared by all transports of a run.
pub struct Meter {
    requests: AtomicU64,
    bytes: AtomicU64,
    bucket: Option<Bucket>,
    watcher: Watcher,
}

struct Bucket {
    rate: NonZeroU32,
    limiter: DefaultDirectRateLimiter,
    burst: NonZeroU32,
}

impl Meter {
    /// `bandwidth` in bytes a second.
    pub fn new(bandwidth: Option<u64>, watcher: Watcher) -> Meter {
        let bucket = bandwidth.map(|rate| {
            let rate =
                NonZeroU32::new(u32::try_from(rate).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN);
            // A quarter of a second's worth may come at once, so that small files are not held up.
            let burst = NonZeroU32::new(rate.get() / 4).unwrap_or(NonZeroU32::MIN);
            Bucket {
                rate,
                limiter: RateLimiter::direct(Quota::per_second(rate).allow_burst(burst)),
                burst,
            }
        });
        Meter {
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            bucket,
            watcher,
        }
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes of bodies.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The budget in bytes a second.
    pub(crate) fn bandwidth(&self) -> Option<u64> {
        self.bucket
            .as_ref()
            .map(|bucket| u64::from(bucket.rate.get()))
    }

    pub(crate) fn asked(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts bytes that arrived, and waits until the budget has room for the next ones: not reading from a connection
    /// is what slows the sender down.
    pub(crate) async fn received(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        (self.watcher)(bytes as u64);
        let Some(bucket) = &self.bucket else { return };
        let mut left = bytes as u64;
        while left > 0 {
            let step = left.min(u64::from(bucket.burst.get()));
            if let Some(step) = u32::try_from(step).ok().and_then(NonZeroU32::new) {
                // The error is "more than the bucket holds", which a step never is.
                let _ = bucket.limiter.until_n_ready(step).await;
            }
            left -= step;
        }
    }
}
