//! Whether a body comes fast enough to be waited for: decided without a clock.

use std::time::Duration;

/// A server that sends a byte now and then would otherwise hold a connection for as long as a run may take.
#[derive(Debug)]
pub(super) struct Pace {
    window: Duration,
    /// How long the upstream was waited for since this many bytes were awaited last.
    waited: Duration,
    bytes: usize,
}

impl Pace {
    /// Within each window. With the default window that is seven bytes a second: a line on which this is too much has
    /// no use for a mirror.
    pub const LEAST_BYTES: usize = 4096;

    pub fn new(window: Duration) -> Pace {
        Pace {
            window,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// How much longer the next bytes are waited for.
    pub fn patience(&self) -> Duration {
        self.window.saturating_sub(self.waited)
    }

    pub fn arrived(&mut self, bytes: usize, after: Duration) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.waited = self.waited.saturating_add(after);
        if self.bytes >= Self::LEAST_BYTES {
            (self.waited, self.bytes) = (Duration::ZERO, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn drops_use_up_the_patience_and_progress_restores_it() {
        let mut pace = Pace::new(10 * SECOND);
        for drop in 1..10 {
            pace.arrived(1, SECOND);
            assert_eq!(pace.patience(), (10 - drop) * SECOND);
        }
        pace.arrived(1, 2 * SECOND);
        assert_eq!(pace.patience(), Duration::ZERO);
        pace.arrived(Pace::LEAST_BYTES - 10, Duration::ZERO);
        assert_eq!(pace.patience(), 10 * SECOND);
    }
}
