//! What is decided before the first byte of payload is fetched, as values.

use std::collections::BTreeMap;

use fleet_store::Sorted;
use fleet_types::UnitRevision;

use super::fetching::{Fetch, Signatures};
use super::lost::LostFiles;
use super::memory::OmittedIndex;
use super::tally::Tally;
use super::want::Want;
use crate::report::Share;
use crate::{LeftOut, Problem, Room};

/// Why units were refused, by their number.
pub(super) type Refusals = BTreeMap<u16, Problem>;

/// What has to happen so that the next snapshot is what the want-list says.
pub(super) struct Plan {
    pub wants: Sorted<Want>,
    pub transfer: Sorted<Fetch>,
    pub fetch: Share,
    pub keep: Share,
    pub remove: Share,
    /// Listed, and left out by the manifest.
    pub exclude: Share,
    /// What comes to the disk.
    pub addition: Addition,
    pub tally: Tally,
    /// Units that cannot advance, and why.
    pub refusals: Refusals,
    /// What no unit needs and cannot be copied; there is another plan without what lists it.
    pub lost: LostFiles,
    /// By unit, the indices that are left out because of what they list.
    pub omitted: Vec<(u16, OmittedIndex)>,
    /// What is to be fetched besides `transfer`, and judged when it is there.
    pub signatures: Signatures,
}

/// What is to be added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Addition {
    /// Of content, in whole blocks.
    pub bytes: u64,
    /// For the snapshot's own index, at most.
    pub index_bytes: u64,
    pub files: u64,
}

impl Addition {
    pub fn all_bytes(self) -> u64 {
        self.bytes.saturating_add(self.index_bytes)
    }
}

/// A dry run's result.
pub(super) struct Foreseen {
    pub refusals: Refusals,
    /// None where nothing is new.
    pub plan: Option<Plan>,
    pub room: Option<Room>,
    /// Why a run would end before it fetches.
    pub shortage: Option<Problem>,
    pub revision: Vec<UnitRevision>,
    /// What goes on being served where nothing new is.
    pub still: String,
    /// By unit.
    pub left_out: BTreeMap<String, LeftOut>,
}
