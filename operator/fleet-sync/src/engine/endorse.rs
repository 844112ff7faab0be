//! Signatures over payload: judged when both they and what they sign are there.

use std::collections::BTreeMap;

use fleet_formats::seam::{Endorsement, Promise, Verified};
use fleet_store::{Entry, Sorted};
use fleet_types::{RepoPath, Sha256};

use super::fetching::{Fetched, Signatures};
use super::judges::{Verdict, Verdicts};
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

/// The signatures that a run has fetched so far, by path, so that another plan does not ask for them again.
#[derive(Default)]
pub(super) struct Arrived(BTreeMap<RepoPath, (Sha256, Sha256)>);

impl Arrived {
    /// Adds what a transfer brought.
    pub fn add(
        &mut self,
        signatures: &Signatures,
        fetched: &Sorted<Fetched>,
    ) -> Result<(), Problem> {
        for fetched in fetched.iter().filter(|_| !signatures.is_empty()) {
            let Fetched { path, digest, .. } = fetched?;
            if let Some(signature) = signatures.get(&path) {
                self.0.insert(path, (signature.over.sha256, digest));
            }
        }
        Ok(())
    }

    /// What came there as a signature over this content.
    pub fn over(&self, path: &RepoPath, signed: &Signed) -> Option<Sha256> {
        let (over, digest) = self.0.get(path)?;
        (*over == signed.sha256).then_some(*digest)
    }
}

/// Judges the signatures of a plan, as far as that was not done while they came.
pub(super) fn endorse(
    ground: &Ground,
    signatures: &Signatures,
    arrived: &Arrived,
    mut verdicts: Verdicts,
) -> Result<Judged, Problem> {
    // What did not count then may have been read before all of it was there.
    verdicts.retain(|_, verdict| verdict.is_ok());
    let mut judged = Judged::default();
    let mut lacking: BTreeMap<u16, Lacking> = BTreeMap::new();
    for (path, signature) in signatures {
        ground.watch.stop.check()?;
        let over = &signature.over;
        if ground.rules.is_on_demand(&over.path) {
            continue;
        }
        let Some(digest) = signature.here.or_else(|| arrived.over(path, over)) else {
            continue;
        };
        let verdict = verdicts.entry((over.sha256, digest));
        match verdict.or_insert_with(|| endorsed(ground, over, digest)) {
            Ok(endorsement) => drop(judged.good.0.insert(path.clone(), endorsement.clone())),
            Err(problem) if problem.ends_the_run() => return Err(problem.clone()),
            Err(problem) => {
                let problem = Problem {
                    message: format!("{path}: {}", problem.message),
                    ..problem.clone()
                };
                for unit in &signature.units {
                    let lacking = lacking.entry(*unit);
                    // The rule leaves out both.
                    lacking
                        .or_insert_with(|| Lacking::new(problem.clone()))
                        .add(std::slice::from_ref(&over.path));
                }
                judged
                    .lost
                    .insert(path.clone(), Lost::unfit(problem.message));
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
    if ground.rules.is_on_demand(&signed.path) {
        return true;
    }
    // Where that cannot be told, it is judged.
    let is_as_before = ground.vouching.is_as_before(ground).unwrap_or(false);
    is_as_before || endorsed(ground, signed, entry.digest).is_ok()
}

/// Judges one signature. Of one that is known to fit, who made it.
pub(super) fn endorsed(ground: &Ground, over: &Signed, signature: Sha256) -> Verdict {
    let (rules, shelves) = (&ground.rules, &ground.stock.shelves);
    let bytes = shelves.read(&signature, Promise::MAX_SIGNATURE_BYTES)?;
    let claim = Endorsement {
        signature,
        signed: over.sha256,
    };
    let (format, trust) = (&rules.options.format, ground.vouching.trust());
    if let Some(by) = ground.vouching.signers(shelves, over, &signature)? {
        return Ok(format.endorse_again(claim, &bytes, &by, &trust, rules.now)?);
    }
    let mut content = shelves.open(&over.sha256)?;
    match format.endorse(claim, &mut content, &bytes, &trust, rules.now) {
        Ok((endorsement, by)) => {
            ground.vouching.fits(over, signature, by);
            Ok(endorsement)
        }
        Err(rejected) => {
            // No signature is good over what has rotted.
            shelves.open_whole(&over.sha256)?;
            Err(rejected.into())
        }
    }
}
