//! The content block of an npm registry, and its guard.

use fleet_api::mirror::{Guard, NpmContent};
use fleet_formats::npm::{Integrity, Patterns};
use jiff::Timestamp;

pub(super) fn content(content: &NpmContent, guard: Option<&Guard>, problems: &mut Vec<String>) {
    let allow = content
        .allow
        .iter()
        .map(|pattern| ("spec.content.npm.allow", pattern));
    let deny = content
        .deny
        .iter()
        .map(|deny| ("spec.content.npm.deny[].package", &deny.package));
    let reserved = guard
        .into_iter()
        .flat_map(|guard| &guard.reserved)
        .map(|pattern| ("spec.guard.reserved", pattern));
    for (field, pattern) in allow.chain(deny).chain(reserved) {
        problems.extend(
            Patterns::new([pattern.as_str()])
                .err()
                .map(|problem| format!("{field}: {problem}")),
        );
    }
    for (index, waiver) in guard
        .into_iter()
        .flat_map(|guard| &guard.waivers)
        .enumerate()
    {
        if waiver.until.parse::<Timestamp>().is_err() {
            problems.push(format!(
                "spec.guard.waivers[{index}].until {:?} is no instant; write one like 2026-12-31T00:00:00Z",
                waiver.until
            ));
        }
    }
    for (index, mutation) in guard
        .into_iter()
        .flat_map(|guard| &guard.allow_mutations)
        .enumerate()
    {
        if Integrity::parse(&mutation.integrity).is_none() {
            problems.push(format!(
                "spec.guard.allowMutations[{index}].integrity {:?} is no digest of a tarball; write it as the refusal names it, sha512- and the digest in base64",
                mutation.integrity
            ));
        }
    }
}
