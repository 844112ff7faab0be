//! What we chose ourselves, as far as it decides what a snapshot holds.

use fleet_types::{Reason, Sha256};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use sha2::Digest as _;

use crate::{Payload, Problem, SyncOptions};

/// Equal inputs and an equal upstream give an equal snapshot; a 304 ends a run only if these are equal too.
pub(super) fn digest(options: &SyncOptions) -> Sha256 {
    let mut exclude = options.exclude.clone();
    exclude.sort();
    exclude.dedup();
    let mut inputs = serde_json::json!({
        "upstreamType": options.upstream_type,
        "content": options.content,
        "exclude": exclude,
        "trust": options.trust_digest,
    });
    if options.payload == Payload::OnDemand {
        inputs["payload"] = "onDemand".into();
    }
    // serde_json keeps the keys of objects sorted, so that equal values have equal texts.
    Sha256(sha2::Sha256::digest(inputs.to_string()).into())
}

/// The paths that a person does not want. `*` does not cross a `/`, `**` does.
pub(super) fn exclude(patterns: &[String]) -> Result<GlobSet, Problem> {
    let bad = |what: String| Problem::new(Reason::InvalidSpec, format!("content.exclude: {what}"));
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern)
            .literal_separator(true)
            .build()
            .map_err(|e| bad(e.to_string()))?;
        set.add(glob);
    }
    set.build().map_err(|e| bad(e.to_string()))
}

/// The rule that leaves these paths out and nothing else, as it is pasted into a manifest.
pub(super) fn exclude_rule(paths: &[&str]) -> String {
    // A text of JSON is one of YAML too.
    let quoted = |path: &&str| serde_json::Value::from(escaped(path)).to_string();
    let patterns: Vec<String> = paths.iter().map(quoted).collect();
    format!("content.exclude: [{}]", patterns.join(", "))
}

/// A pattern that matches the path only.
fn escaped(path: &str) -> String {
    path.chars()
        .fold(String::with_capacity(path.len()), |mut pattern, c| {
            match c {
                '?' | '*' | '[' | ']' | '{' | '}' => pattern.extend(['[', c, ']']),
                c => pattern.push(c),
            }
            pattern
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_rule_that_is_printed_leaves_out_what_it_names_and_nothing_else(
            paths in prop::collection::vec("[a-z*?{}\\[\\]!,^\"' :#~+-]{1,6}(/[a-z*?{}\\[\\]!,^\"' :#-]{1,6}){0,2}", 1..4),
            other in "[a-z*?{}\\[\\]!/]{1,6}",
        ) {
            let names: Vec<&str> = paths.iter().map(String::as_str).collect();
            let rule = exclude_rule(&names);
            let list = rule.strip_prefix("content.exclude: ").unwrap();
            let pasted: Vec<String> = serde_json::from_str(list).unwrap();
            let set = exclude(&pasted).unwrap();
            for path in &paths {
                prop_assert!(set.is_match(path), "{} for {}", rule, path);
            }
            prop_assert_eq!(set.is_match(&other), paths.contains(&other));
        }
    }
}
