//! Which files an audit looks at: as good as drawn by lot, and the same ones for the same seed.

use std::collections::{BTreeSet, BinaryHeap};

use fleet_store::RunSorter;
use fleet_types::{RepoPath, Sha256};
use sha2::Digest as _;

use super::super::fetching::Fetch;
use super::super::plan::Plan;
use super::super::preflight::addition;
use super::super::run::Ground;
use crate::Problem;
use crate::audit::Sampling;

/// The plan of a run that would fetch only what was drawn, and what brings keys.
pub(super) fn sample(ground: &Ground, plan: Plan, sampling: Sampling) -> Result<Plan, Problem> {
    let options = &ground.rules.options;
    let mut drawn = BinaryHeap::new();
    let mut transfer = RunSorter::new(&ground.stock.shelves.spill_dir());
    let mut paths = BTreeSet::new();
    for fetch in plan.transfer.iter() {
        ground.watch.stop.check()?;
        let fetch = fetch?;
        if options.format.holds_keys(&fetch.path, &options.trust) {
            paths.insert(fetch.path.clone());
            transfer.push(&fetch)?;
        } else if let Some(fetch) = bounded(fetch, sampling.max_file_bytes) {
            let lot = lot(sampling.seed, &fetch.path);
            drawn.push(Drawn(lot, fetch));
            if drawn.len() > sampling.files {
                drawn.pop();
            }
        }
    }
    for Drawn(_, fetch) in drawn {
        paths.insert(fetch.path.clone());
        transfer.push(&fetch)?;
    }
    let spill_dir = ground.stock.shelves.spill_dir();
    let signatures = plan
        .signatures
        .only(&spill_dir, |signed| paths.contains(signed))?;
    let transfer = transfer.finish()?;
    let sizes = signatures.missing.iter();
    let sizes = sizes
        .map(|signature| Ok(signature?.max_bytes))
        .collect::<Result<Vec<u64>, Problem>>()?;
    Ok(Plan {
        addition: addition(ground, &transfer, sizes.into_iter(), 0)?,
        transfer,
        signatures,
        ..plan
    })
}

/// None where it is known to be too large. Where an index gives no size, that shows when it comes.
fn bounded(mut fetch: Fetch, max_bytes: u64) -> Option<Fetch> {
    let size = &mut fetch.expected.size;
    if !fetch.exact {
        *size = max_bytes.min(*size);
    }
    (*size <= max_bytes).then_some(fetch)
}

/// A file and its lot: the lowest are drawn.
struct Drawn(Sha256, Fetch);

impl Ord for Drawn {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0.0, &self.1.path).cmp(&(other.0.0, &other.1.path))
    }
}

impl PartialOrd for Drawn {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Drawn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Drawn {}

/// As good as a random number, and the same each time.
fn lot(seed: u64, path: &RepoPath) -> Sha256 {
    let mut hasher = sha2::Sha256::new();
    hasher.update(seed.to_le_bytes());
    hasher.update(path.as_str());
    Sha256(hasher.finalize().into())
}
