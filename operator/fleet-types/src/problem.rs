//! Why something was not done as it should: one fixed word and one sentence.

use std::fmt;

use crate::{Outcome, Reason};

/// The failure of a unit or of a whole run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub reason: Reason,
    pub message: String,
    /// When the upstream asked to come back, in seconds from now.
    pub retry_after: Option<u64>,
    /// The format's word for what an update under way explains: what is read once more may fit.
    pub unsettled: bool,
}

impl Problem {
    pub fn new(reason: Reason, message: impl Into<String>) -> Problem {
        Problem {
            reason,
            message: message.into(),
            retry_after: None,
            unsettled: false,
        }
    }

    /// Whether it concerns the whole run: no other unit could do better.
    pub fn ends_the_run(&self) -> bool {
        matches!(self.reason.outcome(), Outcome::Storage)
            || matches!(
                self.reason,
                Reason::SyncTimeout | Reason::SyncInterrupted | Reason::UpstreamBusy
            )
    }

    /// The worse of two, in the order of the exit codes; the first where they are alike.
    pub fn worst(self, other: Problem) -> Problem {
        let (a, b) = (self.reason.outcome(), other.reason.outcome());
        if a != b && a.worst(b) == b {
            other
        } else {
            self
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
