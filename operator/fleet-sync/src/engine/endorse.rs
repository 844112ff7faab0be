//! Signatures over payload: judged when both they and what they sign are there.

use std::collections::{BTreeMap, HashSet};

use fleet_formats::seam::{Endorsement, Promise, SignaturePolicy, Verified};
use fleet_store::{Entry, Sorted};
use fleet_types::{RepoPath, Sha256};

use super::fetching::{Fetched, Signature, with_arrivals};
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

impl Judged {
    /// Whether all that was judged counts.
    pub fn is_good(&self) -> bool {
        self.refusals.is_empty() && self.lost.is_empty()
    }
}

/// The signatures that count.
#[derive(Default)]
pub(super) struct Endorsed {
    good: HashSet<Verified<Endorsement>>,
    /// By the manifest, nobody looks at them: all count.
    is_unjudged: bool,
}

impl Endorsed {
    pub fn add(&mut self, endorsement: Verified<Endorsement>) {
        self.good.insert(endorsement);
    }

    /// Whether a signature may be published: nothing else is where it is promised.
    pub fn vouches_for(&self, signature: Sha256, signed: &Signed) -> bool {
        let signed = signed.sha256;
        self.is_unjudged || self.good.contains(&Endorsement { signature, signed })
    }
}

/// The signatures that a run has fetched so far, by path, so that another plan does not ask for them again.
#[derive(Default)]
pub(super) struct Arrived(BTreeMap<RepoPath, (Sha256, Sha256)>);

impl Arrived {
    /// Adds what a transfer brought.
    pub fn add(
        &mut self,
        signatures: &Sorted<Signature>,
        fetched: &Sorted<Fetched>,
    ) -> Result<(), Problem> {
        for signature in with_arrivals(signatures, fetched) {
            let Signature {
                path, over, here, ..
            } = signature?;
            if let Some(digest) = here {
                self.0.insert(path, (over.sha256, digest));
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

/// Judges the signatures of a plan that are here, as far as they were not found to be good while they came. What did not
/// count then may have been read before all of it was there.
pub(super) fn endorse(
    ground: &Ground,
    signatures: &Sorted<Signature>,
    fetched: &Sorted<Fetched>,
    good: Endorsed,
) -> Result<Judged, Problem> {
    let is_unjudged = ground.vouching.trust().signatures == SignaturePolicy::None;
    let mut judged = Judged {
        good: Endorsed {
            is_unjudged,
            ..good
        },
        ..Judged::default()
    };
    if is_unjudged {
        return Ok(judged);
    }
    let mut lacking: BTreeMap<u16, Lacking> = BTreeMap::new();
    for signature in with_arrivals(signatures, fetched) {
        ground.watch.stop.check()?;
        let Signature {
            path,
            over,
            units,
            here,
        } = signature?;
        let Some(digest) = here.filter(|_| !ground.rules.is_on_demand(&over.path)) else {
            continue;
        };
        if judged.good.vouches_for(digest, &over) {
            continue;
        }
        match endorsed(ground, &over, digest) {
            Ok(endorsement) => judged.good.add(endorsement),
            Err(problem) if problem.ends_the_run() => return Err(problem),
            Err(problem) => {
                let problem = Problem {
                    message: format!("{path}: {}", problem.message),
                    ..problem
                };
                for unit in units {
                    let lacking = lacking.entry(unit);
                    // The rule leaves out both.
                    lacking
                        .or_insert_with(|| Lacking::new(problem.clone()))
                        .add(std::slice::from_ref(&over.path));
                }
                judged.lost.insert(path, Lost::unfit(problem.message));
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
pub(super) fn endorsed(
    ground: &Ground,
    over: &Signed,
    signature: Sha256,
) -> Result<Verified<Endorsement>, Problem> {
    let (rules, shelves) = (&ground.rules, &ground.stock.shelves);
    let claim = Endorsement {
        signature,
        signed: over.sha256,
    };
    let (format, trust) = (&rules.options.format, ground.vouching.trust());
    let bytes = shelves.read(&signature, Promise::MAX_SIGNATURE_BYTES)?;
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
