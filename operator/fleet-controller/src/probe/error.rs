//! Why a probe failed, for the log and for everybody.

use fleet_types::Reason;

/// All that is said of what the network answered.
pub(super) const UNTOLD: &str = "the authority's state could not be read from here; why, the controller's log says, and each sync \
    reports what it met in status.regions[].replicas[].lastAttempt of its Mirror";

/// Why the authority's state is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ProbeError {
    pub reason: Reason,
    pub message: String,
}

impl ProbeError {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        ProbeError {
            reason,
            message: message.into(),
        }
    }

    /// As everybody may know it: what a manifest makes impossible, in full; what the network answered, never.
    pub(super) fn told(self) -> ProbeError {
        match self.reason {
            Reason::InvalidSpec
            | Reason::CaBundleNotFound
            | Reason::NotProbed
            | Reason::ApiError => self,
            _ => ProbeError::new(Reason::UpstreamUnreachable, UNTOLD),
        }
    }
}
