//! What a run's result depends on: when it changes, a new run is due at once.

use fleet_api::{MirrorSpec, UpstreamSpec};
use serde_json::json;

use crate::names;

/// Digest over the declaration that a run carries out. Schedule, storage, regions, politeness and freshness are not in
/// it: they change when or where a run happens, not what comes of it. What Secrets and ConfigMaps hold is not either,
/// since the controller may not read it: the worker's own inputs digest has it.
pub fn digest(spec: &MirrorSpec, mirror: &str, upstream: &UpstreamSpec) -> String {
    let declared = json!({
        "mirror": mirror,
        "mode": spec.mode,
        "content": spec.content,
        "verification": spec.verification,
        "snapshots": spec.snapshots,
        "servingPath": spec.serving.path,
        "directoryListing": spec.serving.directory_listing,
        "type": upstream.upstream_type,
        "authority": upstream.authority,
        "endpoints": upstream.endpoints,
        "trust": upstream.trust,
        "access": upstream.access,
    });
    names::hash(&[&declared.to_string()])
        .chars()
        .take(16)
        .collect()
}

/// The identity of a store: the upstream's type, and its authority without a slash at the end.
pub fn identity(upstream: &UpstreamSpec) -> (String, String) {
    (
        upstream.upstream_type.as_str().to_owned(),
        upstream
            .authority
            .url
            .as_str()
            .trim_end_matches('/')
            .to_owned(),
    )
}
