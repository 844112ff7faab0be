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
        "traceName": spec.serving.trace_name,
        "transactions": spec.serving.transactions,
        "contact": upstream.politeness.contact,
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

#[cfg(test)]
mod tests {
    use fleet_api::{Mirror, Upstream};
    use serde_json::{Value, json};

    use super::digest;

    fn of(serving: Value, politeness: Value) -> String {
        let mirror: Mirror = serde_json::from_value(json!({
            "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Mirror", "metadata": {"name": "debian"},
            "spec": {
                "upstreamRef": {"name": "debian"}, "serving": serving,
                "content": {"debian": {"suites": ["trixie"], "components": ["main"], "architectures": ["amd64"]}},
            },
        }))
        .unwrap();
        let upstream: Upstream = serde_json::from_value(json!({
            "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Upstream", "metadata": {"name": "debian"},
            "spec": {
                "type": "Debian", "authority": {"url": "https://example.org/debian/"}, "politeness": politeness,
            },
        }))
        .unwrap();
        digest(&mirror.spec, "debian", &upstream.spec)
    }

    #[test]
    fn what_a_run_writes_down_for_the_server_makes_a_run_due_and_what_only_moves_it_does_not() {
        let plain = of(json!({}), json!({}));
        for serving in [
            json!({"path": "linux"}),
            json!({"directoryListing": false}),
            json!({"traceName": "mirror.example.org"}),
            json!({"transactions": "Always"}),
        ] {
            assert_ne!(of(serving.clone(), json!({})), plain, "{serving}");
        }
        let contact = json!({"contact": "mirrors@example.org"});
        assert_ne!(of(json!({}), contact), plain);
        assert_eq!(of(json!({}), json!({"maxConnections": 2})), plain);
    }
}
