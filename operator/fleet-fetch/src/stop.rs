//! How a run is ended before it has a result: from outside, or because its time is over.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fleet_types::{Problem, Reason};
use tokio_util::sync::CancellationToken;

/// Shared by everything that a run does. Stages look at it wherever they can end safely.
#[derive(Clone)]
pub struct Stop {
    token: CancellationToken,
    timed_out: Arc<OnceLock<Duration>>,
}

impl Stop {
    /// Stops with `cancel`, or after `total` (measured on the runtime's clock).
    pub fn new(cancel: &CancellationToken, total: Duration) -> Stop {
        let stop = Stop {
            token: cancel.child_token(),
            timed_out: Arc::new(OnceLock::new()),
        };
        let timer = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = timer.token.cancelled() => {}
                () = tokio::time::sleep(total) => {
                    timer.timed_out.get_or_init(|| total);
                    timer.token.cancel();
                }
            }
        });
        stop
    }

    /// Ends the timer of a run that is over.
    pub fn release(&self) {
        self.token.cancel();
    }

    pub async fn stopped(&self) -> Problem {
        self.token.cancelled().await;
        self.problem()
    }

    pub fn check(&self) -> Result<(), Problem> {
        if self.token.is_cancelled() {
            Err(self.problem())
        } else {
            Ok(())
        }
    }

    fn problem(&self) -> Problem {
        match self.timed_out.get() {
            Some(total) => Problem::new(
                Reason::SyncTimeout,
                format!(
                    "the run took longer than sync.timeout ({} s); what has arrived is kept and the next run continues there",
                    total.as_secs()
                ),
            ),
            None => Problem::new(
                Reason::SyncInterrupted,
                "the run was ended from outside; what has arrived is kept and the next run continues there",
            ),
        }
    }
}
