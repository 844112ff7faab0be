//! The obligations of a Debian suite's roots. They are discharged in this order, each with a reason of its own:
//!
//! 1. signature: by enough keys of the keyring, as the policy demands;
//! 2. pair: `InRelease` and `Release` say the same, so that every client sees one state (1 and 2 are [`super::roots`]'s);
//! 3. suite: the Release file introduces itself by the declared name;
//! 4. not from the future: or it would poison the memory that 5 relies on;
//! 5. not older than, and not another content of the same date as, what was accepted before;
//! 6. not expired;
//! 7. strong digests;
//! 8. everything that is declared is offered (7 and 8 are [`super::layout`]'s).

use fleet_types::{Reason, Sha256, UnitRevision};
use sha2::Digest as _;

use super::layout;
use super::release::Release;
use super::roots;
use super::slice::{DebianSlice, Suite};
use super::suite;
use super::unlisted;
use crate::seam::{Link, Rejected, RootContent, SignaturePolicy, Trust, UnitIndex, VerifyContext};

/// apt's own tolerance.
const FUTURE_TOLERANCE_SECONDS: i64 = 10;

pub(super) fn unit(
    slice: &DebianSlice,
    suite: &Suite<'_>,
    roots: &[RootContent],
    context: &VerifyContext<'_>,
) -> Result<UnitIndex, Rejected> {
    let named = |rejected: Rejected| {
        Rejected::new(
            rejected.reason,
            format!("suite {}: {}", suite.name, rejected.message),
        )
    };
    let believed = roots::believe(roots, context).map_err(named)?;
    let mut release = match believed.roots.is_empty() {
        true => Release::none(),
        false => Release::parse(&believed.payload).map_err(named)?,
    };
    let mut state = roots::canonical(&believed.payload);
    if context.trust.signatures == SignaturePolicy::None {
        let read = unlisted::list(&mut release, suite, roots).map_err(named)?;
        state.extend_from_slice(read.as_bytes());
    }
    let revision = UnitRevision {
        unit: suite.name.to_owned(),
        digest: sha256(&state),
        date: date(&release, context.trust).map_err(named)?,
        valid_until: valid_until(&release, context.trust),
    };
    if !believed.roots.is_empty() {
        is_the_suite(&release, suite)?;
    }
    is_in_time(&revision, context).map_err(named)?;
    let layout = layout::layout(slice, suite, &release).map_err(named)?;
    let roots = believed
        .roots
        .iter()
        .map(|root| (root.path.clone(), sha256(&root.bytes)))
        .collect();
    let (links, mut notes) = links(slice, suite, &release)?;
    notes.extend(believed.notes);
    notes.extend(release.notes);
    notes.extend(layout.notes);
    Ok(UnitIndex {
        revision,
        roots,
        groups: layout.groups,
        links,
        fixed_names: release.acquire_by_hash,
        signed_by: believed.signed_by,
        notes,
        lacks: layout.lacks,
    })
}

/// The suite's other names, as far as it bears them now: `stable` moves on, which is no reason to refuse anything.
fn links(
    slice: &DebianSlice,
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
                own_names(release)
            ));
        }
    }
    Ok((links, notes))
}

pub(super) fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

/// Where nobody signs, a state may have no date: then its digest alone tells it from others.
fn date(release: &Release, trust: &Trust) -> Result<i64, Rejected> {
    match &release.date {
        Ok(date) => Ok(*date),
        Err(_) if trust.signatures == SignaturePolicy::None => Ok(UnitRevision::NO_DATE),
        Err(why) => Err(why.clone()),
    }
}

fn valid_until(release: &Release, trust: &Trust) -> Option<i64> {
    let date = release.date.as_ref().ok();
    let limit = date.zip(trust.max_index_age);
    release
        .valid_until
        .or_else(|| limit.map(|(date, age)| date.saturating_add(age)))
}

/// Obligation 3.
fn is_the_suite(release: &Release, suite: &Suite<'_>) -> Result<(), Rejected> {
    if suite::fits(release, suite) {
        return Ok(());
    }
    Err(Rejected::new(
        Reason::SuiteMismatch,
        format!(
            "suite {}: the signed Release is of another suite: {}; declare one of these names if it is the one that you mean",
            suite.name,
            own_names(release)
        ),
    ))
}

fn own_names(release: &Release) -> String {
    let own = |name: &Option<String>| name.clone().unwrap_or_else(|| "(none)".to_owned());
    format!(
        "Suite {}, Codename {}",
        own(&release.suite),
        own(&release.codename)
    )
}

/// Obligations 4, 5 and 6.
fn is_in_time(revision: &UnitRevision, context: &VerifyContext<'_>) -> Result<(), Rejected> {
    let date = crate::instant(revision.date);
    if revision.date > context.now.saturating_add(FUTURE_TOLERANCE_SECONDS) {
        let message = format!(
            "the index is dated {date}, in the future; check this machine's clock and the upstream's"
        );
        return Err(Rejected::new(Reason::IndexFromFuture, message));
    }
    let known = context.high_water.filter(|_| revision.is_dated());
    if let Some(known) = known {
        is_not_rolled_back(revision, known, context.allow_rollback)?;
    }
    match revision.valid_until {
        Some(until) if until < context.now => Err(Rejected::new(
            Reason::IndexExpired,
            format!(
                "the index of {date} expired at {}; the upstream no longer updates it, or somebody withholds the updates",
                crate::instant(until)
            ),
        )),
        _ => Ok(()),
    }
}

fn is_not_rolled_back(
    revision: &UnitRevision,
    known: &UnitRevision,
    allow_rollback: bool,
) -> Result<(), Rejected> {
    if revision.date < known.date && !allow_rollback {
        return Err(Rejected::new(
            Reason::RollbackDetected,
            format!(
                "the upstream went back from {} to {}; if it really withdrew the newer state, set verification.rollback \
                 to Allow",
                crate::instant(known.date),
                crate::instant(revision.date)
            ),
        ));
    }
    if revision.date == known.date && revision.digest != known.digest {
        return Err(Rejected::new(
            Reason::Equivocation,
            format!(
                "two different contents are dated {}: {} was accepted before, the upstream now has {}; wait for its next \
                 update",
                crate::instant(known.date),
                known.digest,
                revision.digest
            ),
        ));
    }
    Ok(())
}
