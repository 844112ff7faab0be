//! Reads Mirrors and what belongs to them. What a person may not read is left out of the picture, Mirrors apart.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::{Mirror, Upstream};
use fleet_plan::summary::{Known, MirrorSummary, Progress, summary};
use jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::progress;
use super::refusal::failure;
use crate::failure::Failure;

/// Which Mirrors are meant.
#[derive(Debug, Clone)]
pub enum Scope {
    Everywhere,
    Namespace(String),
    Named(String, Vec<String>),
}

impl Scope {
    /// The objects of a kind that may be meant.
    pub fn api(&self, client: &Client, kind: &ApiResource) -> Api<DynamicObject> {
        match self {
            Scope::Everywhere => Api::all_with(client.clone(), kind),
            Scope::Namespace(namespace) | Scope::Named(namespace, _) => {
                Api::namespaced_with(client.clone(), namespace, kind)
            }
        }
    }

    /// Whether a Mirror is meant.
    pub fn covers(&self, mirror: &Mirror) -> bool {
        match self {
            Scope::Named(_, names) => names.contains(&mirror.name_any()),
            Scope::Everywhere | Scope::Namespace(_) => true,
        }
    }

    /// The Mirrors that are meant; one that is named and does not exist is told in the API server's words.
    pub async fn mirrors(&self, client: &Client) -> Result<Vec<Mirror>, Failure> {
        let api = self.api(client, &kind::<Mirror>());
        let objects = match self {
            Scope::Named(_, names) => {
                let mut objects = Vec::new();
                for name in names {
                    objects.push(api.get(name).await.map_err(failure)?);
                }
                objects
            }
            Scope::Everywhere | Scope::Namespace(_) => {
                let list = api.list(&ListParams::default()).await;
                list.map_err(failure)?.items
            }
        };
        Ok(objects.into_iter().filter_map(mirror).collect())
    }
}

pub fn kind<K: kube::Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

/// What stands beside Mirrors: their Upstreams and the progress of their runs.
#[derive(Debug, Default)]
pub struct Beside {
    upstreams: BTreeMap<(String, String), Upstream>,
    /// By namespace and Job.
    pub progress: BTreeMap<String, BTreeMap<String, Progress>>,
}

impl Beside {
    pub async fn read<'m>(
        client: &Client,
        scope: &Scope,
        mirrors: impl IntoIterator<Item = &'m Mirror>,
    ) -> Beside {
        let mut beside = Beside::default();
        beside.read_upstreams(client, scope).await;
        beside.read_progress(client, mirrors).await;
        beside
    }

    async fn read_upstreams(&mut self, client: &Client, scope: &Scope) {
        let api = scope.api(client, &kind::<Upstream>());
        let list = api.list(&ListParams::default()).await;
        for object in list.map(|list| list.items).unwrap_or_default() {
            let key = (object.namespace().unwrap_or_default(), object.name_any());
            let read = serde_json::to_value(object).and_then(serde_json::from_value);
            if let Ok(upstream) = read {
                self.upstreams.insert(key, upstream);
            }
        }
    }

    /// Asks the runs that go on how far they are.
    pub async fn read_progress<'m>(
        &mut self,
        client: &Client,
        mirrors: impl IntoIterator<Item = &'m Mirror>,
    ) {
        let runs = |mirror: &&Mirror| {
            let status = mirror.status.as_ref();
            status.is_some_and(|status| {
                let mut replicas = status.replicas();
                replicas.any(|(_, replica)| replica.current_run.is_some())
            })
        };
        let namespaces: BTreeSet<String> = (mirrors.into_iter().filter(runs))
            .filter_map(ResourceExt::namespace)
            .collect();
        self.progress = progress::of_runs(client, namespaces).await;
    }

    pub fn summary(&self, mirror: &Mirror, now: Timestamp) -> MirrorSummary {
        self.known(mirror, now, summary)
    }

    pub fn known<T>(&self, mirror: &Mirror, now: Timestamp, tell: impl Fn(&Known) -> T) -> T {
        let namespace = mirror.namespace().unwrap_or_default();
        let nothing = BTreeMap::new();
        let progress = self.progress.get(&namespace).unwrap_or(&nothing);
        let name = mirror.spec.upstream_ref.name.clone();
        tell(&Known {
            mirror,
            upstream: self.upstreams.get(&(namespace, name)),
            progress,
            now,
        })
    }
}

/// A Mirror as it was read; of one whose manifest cannot be read, what its status says.
pub fn mirror(object: DynamicObject) -> Option<Mirror> {
    let mut value = serde_json::to_value(object).ok()?;
    if let Ok(mirror) = serde_json::from_value(value.clone()) {
        return Some(mirror);
    }
    let upstream = value.pointer("/spec/upstreamRef/name");
    let upstream = upstream.and_then(Value::as_str).unwrap_or_default();
    value["spec"] = json!({"upstreamRef": {"name": upstream}, "content": {}});
    serde_json::from_value(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(spec: Value) -> DynamicObject {
        let value = json!({
            "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Mirror",
            "metadata": {"name": "debian", "namespace": "ns"}, "spec": spec,
            "status": {"observedGeneration": 1, "conditions": [{"type": "Stalled", "status": "True", "reason": "InvalidSpec",
                "message": "cannot be read", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_manifest_that_cannot_be_read_is_shown_by_its_status() {
        let good = json!({"upstreamRef": {"name": "u"}, "content": {"debian": {"suites": ["s"]}}});
        let read = mirror(object(good)).unwrap();
        assert_eq!(read.spec.content.units(), ["s"]);
        let bad = json!({"upstreamRef": {"name": "u"}, "content": {}, "storage": {"size": "much"}});
        let read = mirror(object(bad)).unwrap();
        assert_eq!(read.spec.upstream_ref.name, "u");
        let told = Beside::default().summary(&read, Timestamp::UNIX_EPOCH);
        assert_eq!(told.problems[0].message, "cannot be read");
        assert_eq!((told.well, told.exit_code), (false, 1));
    }
}
