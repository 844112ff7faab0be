//! Why a role ends without having done its work.

use fleet_types::Reason;

/// A fixed word, which decides the exit code, and a sentence for people: what is wrong, where, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub reason: Reason,
    pub message: String,
}

impl Failure {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Failure {
            reason,
            message: message.into(),
        }
    }

    /// A wrong flag, file or manifest: exit 1.
    pub fn invalid(message: impl Into<String>) -> Self {
        Failure::new(Reason::InvalidSpec, message)
    }

    /// Standard output or a file of ours cannot be written: exit 4, as for every other storage problem.
    pub fn output(what: &str, error: impl std::fmt::Display) -> Self {
        Failure::new(
            Reason::StorageFailed,
            format!("{what} cannot be written: {error}"),
        )
    }
}
