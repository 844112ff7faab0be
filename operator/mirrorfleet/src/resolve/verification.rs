//! A Mirror's `verification`, as the engine takes it.

use fleet_api::mirror::{self, Rule};
use fleet_sync::{AllowedMutation, Shrink, Verification};

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
        allow_rollback: spec.rollback == Rule::Allow,
        allow_mutation: spec.mutation == Rule::Allow,
        allow_mutations,
        shrink: shrink(&spec.shrink)?,
    })
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
