//! Why something is not believed.

use fleet_types::{Problem, Reason};

/// Why something that an upstream said is not believed. The message says what is wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejected {
    pub reason: Reason,
    pub message: String,
    /// What does not fit together may be an update in the middle of which we came: reading it once more can help.
    pub unsettled: bool,
}

impl Rejected {
    /// The message may quote what an upstream wrote: control characters, which terminals obey, are written as escapes.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Rejected {
            reason,
            message: printable(message.into()),
            unsettled: false,
        }
    }

    /// As [`Rejected::new`], of what may fit when it is read again.
    pub fn unsettled(reason: Reason, message: impl Into<String>) -> Self {
        Rejected {
            unsettled: true,
            ..Rejected::new(reason, message)
        }
    }

    /// With the place where that is.
    pub fn at(self, place: impl std::fmt::Display) -> Self {
        Rejected {
            message: format!("{place}: {}", self.message),
            ..self
        }
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

pub(super) fn printable(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let shown = |c: char| match c {
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.chars().map(shown).collect()
}
