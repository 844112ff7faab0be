//! What a run's result depends on: when it changes, a new run is due at once.

use fleet_api::mirror::Snapshots;
use fleet_api::{Attempt, MirrorSpec, UpstreamSpec};
use serde_json::{Value, json};

use crate::names;

/// The declaration that a run carries out, as digests. Schedule, storage, regions, politeness and freshness are not in
/// it: they change when or where a run happens, not what comes of it (but see [`Inputs::of_region`]). What Secrets and ConfigMaps hold is not either,
/// since the controller may not read it: the worker's own inputs digest has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// Of what a snapshot is made of.
    pub snapshot: String,
    /// Of `spec.snapshots`: how many are kept and for how long. Which one is served is nothing that a run decides.
    pub snapshots: String,
    /// Of both, as the version before noted it.
    together: String,
}

impl Inputs {
    pub fn of(spec: &MirrorSpec, mirror: &str, upstream: &UpstreamSpec) -> Inputs {
        let mut declared = declared(spec, mirror, upstream);
        let together = digest(&declared);
        let fields = declared.as_object_mut();
        fields.and_then(|fields| fields.remove("snapshots"));
        let kept = Snapshots {
            pinned: String::new(),
            skip: Vec::new(),
            ..spec.snapshots.clone()
        };
        Inputs {
            snapshot: digest(&declared),
            snapshots: digest(&json!(kept)),
            together,
        }
    }

    /// Those of a region that tells of itself under a name of its own, which only its own runs write down.
    pub fn of_region(&self, trace_name: Option<&str>) -> Inputs {
        let Some(name) = trace_name else {
            return self.clone();
        };
        let with_it = |inputs: &str| digest(&json!([inputs, name]));
        Inputs {
            snapshot: with_it(&self.snapshot),
            snapshots: self.snapshots.clone(),
            together: with_it(&self.together),
        }
    }

    /// What tells this declaration from others.
    pub fn occasion(&self) -> String {
        format!("{} {}", self.snapshot, self.snapshots)
    }

    /// Whether a run carried out this declaration.
    pub fn are_those_of(&self, run: &Attempt) -> bool {
        match run.snapshots_inputs.as_str() {
            "" => run.inputs == self.together,
            snapshots => run.inputs == self.snapshot && snapshots == self.snapshots,
        }
    }
}

fn declared(spec: &MirrorSpec, mirror: &str, upstream: &UpstreamSpec) -> Value {
    json!({
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
    })
}

fn digest(declared: &Value) -> String {
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

    use super::Inputs;

    fn of(serving: Value, politeness: Value) -> Inputs {
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
        Inputs::of(&mirror.spec, "debian", &upstream.spec)
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

    #[test]
    fn a_regions_own_name_makes_its_runs_due_and_no_others() {
        let plain = of(json!({}), json!({}));
        assert_eq!(plain.of_region(None), plain);
        let (eu, us) = (plain.of_region(Some("eu")), plain.of_region(Some("us")));
        assert_eq!(eu, plain.of_region(Some("eu")));
        let others = [&plain, &us];
        assert!(others.iter().all(|other| other.occasion() != eu.occasion()));
    }
}
