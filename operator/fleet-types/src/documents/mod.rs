//! Documents that one part of us writes and another reads: in a store's `state/`, in the termination message of a run,
//! at `/.mirrorfleet/status`. Both sides have the same type.
//!
//! Writer and reader may be of different versions. A field that is not known is ignored and one that is missing is
//! empty; a reason that is not known is [`Reason::Unknown`](crate::Reason::Unknown), a result [`RunResult::Failed`].

mod left_out;
mod report;
mod served;
mod state;

pub use left_out::LeftOut;
pub use report::{Report, RunResult, UnitReport, cut};
pub use served::{ServedStatus, StorageUse};
pub use state::{Damaged, HighWater, OwnFile, OwnFiles, ScrubState, Success, UnitsMemory};

use serde::{Deserialize, Serialize};

/// An instant: whole seconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixSeconds(pub i64);
