//! A Mirror's `verification`, as the engine takes it.

use std::collections::BTreeMap;

use fleet_api::mirror::{self, AllowedReason, Rule};
use fleet_formats::seam::{Allowances, AllowedState};
use fleet_sync::{AllowedMutation, Shrink, Verification};
use fleet_types::Reason;

use crate::failure::Failure;

/// What a person allows that would be refused otherwise.
pub(super) fn options(spec: &mirror::Verification) -> Result<Verification, Failure> {
    let mut allow_mutations = Vec::new();
    for allowed in &spec.allow_mutations {
        let sha256 = allowed.sha256.parse().map_err(|error| {
            Failure::invalid(format!(
                "spec.verification.allowMutations, {}: {error}",
                allowed.path
            ))
        })?;
        allow_mutations.push(AllowedMutation {
            path: allowed.path.clone(),
            sha256,
        });
    }
    Ok(Verification {
        allowances: allowances(spec)?,
        allow_mutation: spec.mutation == Rule::Allow,
        allow_mutations,
        shrink: shrink(&spec.shrink)?,
    })
}

/// By unit.
fn allowances(spec: &mirror::Verification) -> Result<BTreeMap<String, Allowances>, Failure> {
    let mut allowances: BTreeMap<String, Allowances> = BTreeMap::new();
    for allowed in &spec.allowed {
        let digest = allowed.digest.parse().map_err(|error| {
            Failure::invalid(format!(
                "spec.verification.allowed, unit {}: {error}",
                allowed.unit
            ))
        })?;
        let of_unit = allowances.entry(allowed.unit.clone()).or_default();
        of_unit.states.push(AllowedState {
            digest,
            reasons: allowed.reasons.iter().copied().map(reason).collect(),
        });
    }
    for expired in spec
        .expired
        .iter()
        .filter(|expired| expired.rule == Rule::Allow)
    {
        allowances.entry(expired.unit.clone()).or_default().expired = true;
    }
    Ok(allowances)
}

fn reason(allowed: AllowedReason) -> Reason {
    match allowed {
        AllowedReason::RollbackDetected => Reason::RollbackDetected,
        AllowedReason::IndexExpired => Reason::IndexExpired,
        AllowedReason::Equivocation => Reason::Equivocation,
        AllowedReason::ReleaseInfoChanged => Reason::ReleaseInfoChanged,
    }
}

fn shrink(spec: &mirror::Shrink) -> Result<Shrink, Failure> {
    let digest = |text: &String| {
        text.parse().map_err(|error| {
            Failure::invalid(format!("spec.verification.shrink.allowed, {text}: {error}"))
        })
    };
    Ok(Shrink {
        max_percent: u64::from(spec.max_percent),
        max_count: Some(u64::from(spec.max_count)).filter(|count| *count > 0),
        allowed: spec.allowed.iter().map(digest).collect::<Result<_, _>>()?,
    })
}
