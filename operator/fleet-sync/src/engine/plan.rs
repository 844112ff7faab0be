//! What is decided before the first byte of payload is fetched, as values.

use std::collections::BTreeMap;

use fleet_store::Sorted;
use fleet_types::UnitRevision;

use super::endorse::Arrived;
use super::fetching::{Fetch, Signatures};
use super::gather::{Gather, Stance};
use super::judge::judge;
use super::left_out::plan_leaves_out;
use super::lost::LostFiles;
use super::memory::OmittedIndex;
use super::run::Ground;
use super::shrink::shrunk;
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
    /// Fetched when somebody asks for it.
    pub on_demand: Share,
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

/// Makes a plan. `lost` is what cannot be had, `arrived` what this run fetched before.
pub(super) fn plan_once(
    ground: &Ground,
    stances: &[Stance],
    lost: &LostFiles,
    arrived: &Arrived,
) -> Result<Plan, Problem> {
    let mut gather = Gather::new(ground, lost);
    let mut refusals = Refusals::new();
    for ((number, name), stance) in ground.rules.units.iter().enumerate().zip(stances) {
        let number = number as u16;
        match gather.unit(number, name, stance) {
            Ok(()) => {}
            Err(problem) if problem.ends_the_run() || !matches!(stance, Stance::Advance(_)) => {
                return Err(problem);
            }
            Err(problem) => drop(refusals.insert(number, problem)),
        }
    }
    let advances = |unit: u16| matches!(stances.get(usize::from(unit)), Some(Stance::Advance(_)));
    let gathered = gather.finish()?;
    plan_leaves_out(ground, stances, gathered.left_out);
    let mut plan = judge(
        ground,
        (gathered.wants, gathered.omitted),
        arrived,
        &advances,
    )?;
    plan.refusals.extend(refusals);
    // With refusals there is another plan, which keeps what these units have.
    if plan.refusals.is_empty() && plan.lost.is_empty() {
        plan.refusals = shrunk(ground, stances, &plan.wants, &plan.tally)?;
    }
    Ok(plan)
}
