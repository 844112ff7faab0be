//! Signatures over payload: judged when both they and what they sign are there.

use std::collections::BTreeMap;

use fleet_formats::seam::{Endorsement, Promise, Verified};
use fleet_store::{Entry, Sorted};
use fleet_types::{RepoPath, Sha256};

use super::fetching::{Fetched, Signatures};
use super::lacking::Lacking;
use super::lost::{Lost, LostFiles};
use super::plan::Refusals;
use super::run::Ground;
use super::want::{Signed, Want};
use crate::Problem;

/// What became of the signatures of a plan.
#[derive(Default)]
pub(super) struct Judged {
    pub good: Endorsed,
    /// Units with one that does not count.
    pub refusals: Refusals,
    pub lost: LostFiles,
}

/// The signatures that count, by path.
#[derive(Default)]
pub(super) struct Endorsed(BTreeMap<RepoPath, Verified<Endorsement>>);

impl Endorsed {
    /// Whether a signature may be published: nothing else is where it is promised.
    pub fn vouches_for(&self, path: &RepoPath, signature: Sha256, signed: &Signed) -> bool {
        let endorsement = self.0.get(path).map(|endorsement| **endorsement);
        let signed = signed.sha256;
        endorsement == Some(Endorsement { signature, signed })
    }
}

/// Judges the signatures of a plan that came.
pub(super) fn endorse(
    ground: &Ground,
    signatures: &Signatures,
    fetched: &[Sorted<Fetched>],
) -> Result<Judged, Problem> {
    // The latest of what came, where it was fetched more than once.
    let mut came: BTreeMap<RepoPath, Sha256> = BTreeMap::new();
    let lists = fetched.iter().filter(|_| !signatures.is_empty());
    for fetched in lists.flat_map(|list| list.iter()) {
        let Fetched { path, digest, .. } = fetched?;
        if signatures.contains_key(&path) {
            came.insert(path, digest);
        }
    }
    let mut judged = Judged::default();
    let mut lacking: BTreeMap<u16, Lacking> = BTreeMap::new();
    for (path, digest) in came {
        ground.watch.stop.check()?;
        let Some(signature) = signatures.get(&path) else {
            continue;
        };
        match endorsed(ground, &signature.over, digest) {
            Ok(endorsement) => drop(judged.good.0.insert(path, endorsement)),
            Err(problem) if problem.ends_the_run() => return Err(problem),
            Err(problem) => {
                let problem = Problem {
                    message: format!("{}: {}", path, problem.message),
                    ..problem
                };
                for unit in &signature.units {
                    let lacking = lacking.entry(*unit);
                    // The rule leaves out both.
                    lacking
                        .or_insert_with(|| Lacking::new(problem.clone()))
                        .add(std::slice::from_ref(&signature.over.path));
                }
                let lost = Lost::unfit(problem.message);
                judged.lost.insert(path, lost);
            }
        }
    }
    let refusals = lacking.into_iter();
    judged.refusals = refusals
        .map(|(unit, lacking)| (unit, lacking.problem()))
        .collect();
    Ok(judged)
}

/// Whether a signature of the base counts by what is chosen now; otherwise there may be a better one.
pub(super) fn is_endorsed_still(ground: &Ground, want: &Want, entry: &Entry) -> bool {
    let Some(signed) = &want.over else {
        return true;
    };
    let base = ground.stock.base.as_ref();
    base.is_some_and(|base| base.snapshot.meta().inputs == ground.rules.inputs)
        || endorsed(ground, signed, entry.digest).is_ok()
}

fn endorsed(
    ground: &Ground,
    over: &Signed,
    signature: Sha256,
) -> Result<Verified<Endorsement>, Problem> {
    let (rules, shelves) = (&ground.rules, &ground.stock.shelves);
    let bytes = shelves.read(&signature, Promise::MAX_SIGNATURE_BYTES)?;
    let claim = Endorsement {
        signature,
        signed: over.sha256,
    };
    let trust = &rules.options.trust;
    let mut content = shelves.open(&over.sha256)?;
    let format = &rules.options.format;
    match format.endorse(claim, &mut content, &bytes, trust, rules.now) {
        Ok(endorsement) => Ok(endorsement),
        Err(rejected) => {
            // No signature is good over what has rotted.
            shelves.open_whole(&over.sha256)?;
            Err(rejected.into())
        }
    }
}
