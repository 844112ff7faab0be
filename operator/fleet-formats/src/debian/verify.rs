//! The obligations of a Debian suite's roots. They are discharged in this order, each with a reason of its own:
//!
//! 1. signature: by enough keys of the keyring, as the policy demands;
//! 2. pair: `InRelease` and `Release` say the same, so that every client sees one state (1 and 2 are [`super::roots`]'s);
//! 3. suite: the Release file introduces itself by the declared name;
//! 4. not from the future: or it would poison the memory that 5 relies on;
//! 5. not older than, not another content of the same date as, and not of another origin than what was accepted before;
//! 6. not expired (4 to 6 are [`super::time`]'s);
//! 7. strong digests;
//! 8. everything that is declared is offered (7 and 8 are [`super::layout`]'s).

use std::collections::BTreeMap;

use fleet_types::{Reason, Sha256, UnitRevision};
use sha2::Digest as _;

use super::layout;
use super::release::Release;
use super::roots;
use super::slice::{Slice, Suite};
use super::suite;
use super::time;
use super::unlisted;
use crate::seam::{
    Allowances, Link, Rejected, RootContent, SignaturePolicy, Trust, UnitIndex, VerifyContext,
};

/// Nothing is demanded.
const AS_SAID: VerifyContext<'static> = VerifyContext {
    now: 0,
    trust: &Trust::nothing_is_judged(),
    accepted: None,
    allowances: Allowances::NONE,
    settled: true,
};

/// Without a judge, what the roots say of the suite: they need only speak of it.
pub(super) fn unit(
    slice: &Slice,
    suite: &Suite<'_>,
    roots: &[RootContent],
    judge: Option<&VerifyContext<'_>>,
) -> Result<UnitIndex, Rejected> {
    let context = judge.unwrap_or(&AS_SAID);
    let named = |rejected: Rejected| rejected.at(format_args!("suite {}", suite.name));
    let believed = roots::believe(roots, context).map_err(named)?;
    let mut release = match believed.roots.is_empty() {
        true => Release::none(),
        false => Release::parse(&believed.payload).map_err(named)?,
    };
    let mut state = roots::canonical(&believed.payload);
    let rests_on_nothing = context.trust.signatures == SignaturePolicy::None;
    if rests_on_nothing {
        let read = unlisted::list(&mut release, suite, roots).map_err(named)?;
        state.extend_from_slice(read.as_bytes());
    }
    let mut notes = Vec::new();
    if !believed.roots.is_empty() {
        notes.extend(suite::is_the_one(&release, slice, suite)?);
    }
    let limit = context.trust.max_index_age;
    let times = time::read(&release, !rests_on_nothing, limit).map_err(named)?;
    notes.extend(times.notes);
    let revision = UnitRevision {
        unit: suite.name.to_owned(),
        digest: sha256(&state),
        date: times.date.unwrap_or(UnitRevision::NO_DATE),
        valid_until: times.valid_until,
    };
    let identity = match believed.roots.is_empty() {
        true => BTreeMap::new(),
        false => time::identity(&release),
    };
    let allowed = match judge {
        Some(context) => time::judge(&revision, &identity, times.date.is_some(), context),
        None => Ok(Vec::new()),
    }
    .map_err(named)?;
    notes.extend(time::notes(&revision, &allowed));
    if !rests_on_nothing && !release.has_strong_sums() {
        let message = "the Release lists nothing with SHA-256 or SHA-512, and apt refuses it; the upstream must list its indices";
        return Err(named(Rejected::new(Reason::WeakHash, message)));
    }
    let layout = layout::layout(slice, suite, &release).map_err(named)?;
    let roots = believed
        .roots
        .iter()
        .map(|root| (root.path.clone(), root.sha256))
        .collect();
    let (links, of_links) = links(slice, suite, &release)?;
    notes.extend(of_links.into_iter().chain(believed.notes));
    notes.extend(release.notes);
    notes.extend(layout.notes);
    Ok(UnitIndex {
        revision,
        identity,
        allowed,
        roots,
        groups: layout.groups,
        links,
        fixed_names: release.acquire_by_hash,
        signed_by: believed.signers.keys,
        vouched_until: believed.signers.until,
        notes,
        lacks: layout.lacks,
    })
}

/// The suite's other names, as far as it bears them now: `stable` moves on, which is no reason to refuse anything.
fn links(
    slice: &Slice,
    suite: &Suite<'_>,
    release: &Release,
) -> Result<(Vec<Link>, Vec<String>), Rejected> {
    let (mut links, mut notes) = (Vec::new(), Vec::new());
    for alias in slice.aliases_of(suite.name) {
        let alias = Suite::new(alias)?;
        if suite::fits(release, &alias) {
            links.push((alias.root()?, suite.root()?));
        } else {
            notes.push(format!(
                "the alias {} is not served: the signed Release calls itself {}; take it out of debian.aliases, or let it \
                 stand for the suite that bears the name now",
                alias.name,
                suite::own_names(release)
            ));
        }
    }
    Ok((links, notes))
}

pub(super) fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}
