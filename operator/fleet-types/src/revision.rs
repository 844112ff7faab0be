//! The identity of an upstream's state.

use serde::{Deserialize, Serialize};

use crate::Sha256;

/// The state of one unit of an upstream: the part that is signed, refused and carried forward on its own. For Debian
/// a unit is a suite. A revision of an upstream is the list of these, sorted by unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitRevision {
    /// The name as the manifest declares it, for example `trixie-updates` or `./`.
    pub unit: String,
    /// SHA-256 of the signed payload (not of the signature: another signature over the same payload is the same state).
    pub digest: Sha256,
    /// The upstream's own date of this state, seconds since 1970-01-01T00:00:00Z; [`UnitRevision::NO_DATE`] where it has
    /// none, which is accepted only of upstreams whose signatures are not looked at.
    pub date: i64,
    /// Until when the upstream vouches for it, in the same unit; none where neither it nor the manifest sets a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<i64>,
}

impl UnitRevision {
    pub const NO_DATE: i64 = 0;

    /// Whether it can be older or newer than another. Otherwise only its digest tells it from others.
    pub fn is_dated(&self) -> bool {
        self.date != Self::NO_DATE
    }
}
