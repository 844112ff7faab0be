//! Documents that one part of us writes and another reads: in a store's `state/`, in the termination message of a run,
//! at `/.mirrorfleet/status`, in annotations of a serving pod. Both sides have the same type.
//!
//! Writer and reader may be of different versions. A field that is not known is ignored and one that is missing is
//! empty; a reason that is not known is [`Reason::Unknown`](crate::Reason::Unknown), a result [`RunResult::Failed`].

mod client_list;
mod index_pin;
mod kept;
mod left_out;
mod probe;
mod report;
mod served;
mod state;

pub use client_list::{ClientList, ListForm, ListedRegion};
pub use index_pin::{IndexPin, IndexPinError};
pub use kept::{KeptSnapshot, SnapshotChanges};
pub use left_out::LeftOut;
pub use probe::{ProbeFailure, ProbeReport, ProbedEndpoint, ProbedUnit};
pub use report::{Report, RunResult, UnitReport, cut};
pub use served::{NotKept, RegistryState, ServedStatus, StorageUse};
pub use state::{
    Damaged, HighWater, NextOwnFiles, OwnFile, OwnFiles, ScrubState, Success, UnitsMemory,
};

use std::fmt;

use serde::{Deserialize, Serialize};

/// An instant: whole seconds since 1970-01-01T00:00:00Z. For people RFC 3339 in UTC, or the bare seconds where that cannot
/// be written.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixSeconds(pub i64);

impl fmt::Display for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(at) => at.fmt(f),
            Err(_) => write!(f, "{} s", self.0),
        }
    }
}
