//! What makes an Upstream one that cannot be used.

use fleet_api::{ConditionStatus, ConditionType};
use fleet_types::{Outcome, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::seen::{ObservedUpstream, Probe, ProbeAnswer, SeenAttempt};
use crate::verdict::{Verdict, said};

/// So many probes in a row must fail before an authority counts as one that cannot be used, or an endpoint as unreachable.
pub const PATIENCE: u32 = 3;

/// What every run needs of the Upstream's manifest and does not get, as runs found it; an edit mends it.
pub fn unusable(seen: &ObservedUpstream) -> Option<Verdict> {
    use Reason::{
        CaBundleNotFound, CredentialsNotFound, CredentialsNotReleased, KeyringInvalid,
        KeyringNotFound,
    };
    let ours = |attempt: &&SeenAttempt| {
        matches!(
            attempt.reason,
            CaBundleNotFound
                | CredentialsNotFound
                | CredentialsNotReleased
                | KeyringInvalid
                | KeyringNotFound
        )
    };
    let attempt = seen.attempts.iter().filter(ours).min()?;
    Some(Verdict::no(attempt.reason, attempt.told()))
}

/// The authority answers about no unit, and has not for a while. What was said before a restart stands until it answers.
pub fn silent(units: &[String], seen: &ObservedUpstream, before: &[Condition]) -> Option<Verdict> {
    let asked = units
        .iter()
        .filter_map(|unit| seen.probes.iter().find(|probe| probe.unit == *unit));
    let failed: Option<Vec<(&Probe, Reason, &String)>> = asked
        .map(|probe| match &probe.answer {
            ProbeAnswer::Failed { reason, message } => Some((probe, *reason, message)),
            ProbeAnswer::Has { .. } => None,
        })
        .collect();
    let failed = failed?;
    let known = said(ConditionType::Ready, before).filter(|known| {
        known.is(ConditionStatus::False) && known.reason.outcome() != Outcome::Manifest
    });
    let (probe, reason, message) = match failed.iter().min_by_key(|(probe, ..)| probe.failures) {
        Some(found) => found,
        // Nothing was asked yet.
        None => return known.filter(|_| !units.is_empty()),
    };
    (probe.failures >= PATIENCE || known.is_some()).then(|| {
        let unit = &probe.unit;
        Verdict::no(
            *reason,
            format!("the authority cannot be used: {unit}: {message}"),
        )
    })
}
