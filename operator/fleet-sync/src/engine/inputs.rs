//! What we chose ourselves, as far as it decides what a snapshot holds.

use fleet_types::{Reason, Sha256};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use sha2::Digest as _;

use crate::{Problem, SyncOptions};

/// Equal inputs and an equal upstream give an equal snapshot; a 304 ends a run only if these are equal too.
pub(super) fn digest(options: &SyncOptions) -> Sha256 {
    let mut exclude = options.exclude.clone();
    exclude.sort();
    exclude.dedup();
    let inputs = serde_json::json!({
        "upstreamType": options.upstream_type,
        "content": options.content,
        "exclude": exclude,
        "trust": options.trust_digest,
    });
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
