//! How far one endpoint can be pipelined.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Requests on the way on one connection, once the endpoint has shown that it keeps connections.
pub(super) const DEPTH: usize = 128;
/// Requests worth having for each connection: those on the way, and as many again as leave together.
pub(crate) const APPETITE: usize = DEPTH + DEPTH / 4;
/// A connection that carried so many answers was worth opening, also where it ends without notice.
const WORTHWHILE: usize = 64;
/// So many odd events end pipelining.
const MAX_STRIKES: usize = 3;

/// How far one endpoint is to be pipelined, by what was seen of it in this run.
#[derive(Debug, Default)]
pub(crate) struct Pipelining {
    stopped: AtomicBool,
    /// It has answered a request, in whichever way, and kept the connection.
    proven: AtomicBool,
    strikes: AtomicUsize,
    /// Connections that were opened before they were needed.
    opened_ahead: AtomicUsize,
    /// How many requests it answers on one connection; 0 where that is not known.
    answers_per_connection: AtomicUsize,
}

impl Pipelining {
    pub fn is_allowed(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed)
    }

    pub fn depth(&self) -> usize {
        if self.proven.load(Ordering::Relaxed) {
            DEPTH
        } else {
            1
        }
    }

    /// How many to open before they are needed, so that there were `most` of them in this run.
    pub fn opens_ahead(&self, most: usize) -> usize {
        most.saturating_sub(self.opened_ahead.fetch_max(most, Ordering::Relaxed))
    }

    pub fn prove(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }

    /// How many requests to send on one connection.
    pub fn answers_per_connection(&self) -> usize {
        match self.answers_per_connection.load(Ordering::Relaxed) {
            0 => usize::MAX,
            known => known,
        }
    }

    pub fn stop(&self, why: &str) {
        if !self.stopped.swap(true, Ordering::Relaxed) {
            tracing::debug!(why, "requests are not pipelined any more");
        }
    }

    pub fn strike(&self, why: &str) {
        if self.strikes.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_STRIKES {
            self.stop(why);
        }
    }

    /// The server ended a connection after so many answers.
    pub fn ended_after(&self, answers: usize) {
        match answers {
            0 => self.strike("a connection ended before the first answer"),
            1 => self.stop("connections are not kept"),
            few if few < WORTHWHILE => self.strike("connections end after a few answers"),
            _ => {
                let fewest = |known| (known == 0 || answers < known).then_some(answers);
                // An error means that a smaller number is known.
                let _ = self.answers_per_connection.fetch_update(
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                    fewest,
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_opened_ahead_once() {
        let pipelining = Pipelining::default();
        let opened = [2, 2, 5, 1].map(|most| pipelining.opens_ahead(most));
        assert_eq!(opened, [2, 0, 3, 0]);
    }

    #[test]
    fn depth_comes_with_proof() {
        let pipelining = Pipelining::default();
        assert_eq!((pipelining.depth(), pipelining.is_allowed()), (1, true));
        pipelining.prove();
        assert_eq!(pipelining.depth(), DEPTH);
    }

    #[test]
    fn an_endpoint_that_ends_connections_is_judged_by_when() {
        let after = |answers: &[usize]| {
            let pipelining = Pipelining::default();
            answers.iter().for_each(|n| pipelining.ended_after(*n));
            (pipelining.is_allowed(), pipelining.answers_per_connection())
        };
        assert_eq!(after(&[1]), (false, usize::MAX));
        assert_eq!(after(&[20, 20]), (true, usize::MAX));
        assert_eq!(after(&[20, 20, 0]), (false, usize::MAX));
        assert_eq!(after(&[1000, 100, 1000]), (true, 100));
    }
}
