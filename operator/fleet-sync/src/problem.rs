//! Why a stage did not do what it should: one fixed word and one sentence.

use std::fmt;

use fleet_formats::seam::Rejected;
use fleet_store::StoreError;
use fleet_types::Reason;

/// The failure of a unit or of a whole run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub reason: Reason,
    pub message: String,
    /// When the upstream asked to come back, in seconds from now.
    pub retry_after: Option<u64>,
    /// The format's word for what an update under way explains: see [`Rejected::unsettled`].
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
        use fleet_types::Outcome;
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

impl From<Rejected> for Problem {
    fn from(rejected: Rejected) -> Problem {
        Problem {
            unsettled: rejected.unsettled,
            ..Problem::new(rejected.reason, rejected.message)
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        Problem::new(error.reason(), error.to_string())
    }
}
