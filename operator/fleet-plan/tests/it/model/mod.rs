//! A small model of a cluster: it carries out writes as the API server and the controllers of Kubernetes would, one
//! step at a time, so that a test can stop between any two.

mod api_server;
mod controllers;
mod runs;
mod words;

use std::collections::BTreeMap;

use fleet_api::{Mirror, MirrorStatus, Upstream, labels};
use fleet_plan::observed::PodRole;
use fleet_plan::{
    Answer, Observed, Plan, Refusal, SeenMeta, SeenObjects, SeenPod, Settings, Write, plan, stages,
};
use fleet_types::Sha256;
use fleet_types::documents::ServedStatus;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

pub use runs::INDEX;
pub use words::render;

pub const SUITE: &str = "trixie";

pub struct World {
    pub now: Timestamp,
    pub mirror: Mirror,
    pub upstream: Option<Upstream>,
    pub objects: SeenObjects,
    /// What each serving pod's volume holds, by pod name: it outlives the pod.
    pub stores: BTreeMap<String, ServedStatus>,
    pub unreachable: bool,
    /// Regions and replicas (`eu/1`) whose pods cannot be asked.
    pub away: Vec<String>,
    /// It may be the controller that cannot reach anybody.
    pub cut_off: bool,
    /// A new leader has asked nobody yet.
    pub not_asked: bool,
    /// Pods are of a version that knows no orders: what runs publish is served.
    pub runs_publish: bool,
    /// Why no pod may go.
    pub budget: Option<String>,
    pub refusals: BTreeMap<String, Refusal>,
    pub line: fleet_plan::Line,
    pub copies_elsewhere: u32,
    pub image: String,
    /// What the image reads and writes.
    pub index_version: u32,
    pub pods: fleet_api::mirror::PodSettings,
    pub pods_allowed: fleet_plan::PodsAllowed,
    /// What may go side by side goes in the other order.
    pub lanes_backwards: bool,
    pub routes_allowed: fleet_plan::RoutesAllowed,
    pub serves_http_routes: bool,
    uids: u32,
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn digest(byte: u8) -> Sha256 {
    Sha256([byte; 32])
}

pub fn upstream() -> Upstream {
    serde_json::from_value(json!({
        "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Upstream",
        "metadata": {"name": "debian", "namespace": "ns"},
        "spec": {"type": "Debian", "authority": {"url": "https://mirrors.kernel.org/debian/"},
            "trust": {"keyringRef": {"name": "keys", "key": "keyring.gpg"}}},
        "status": {"observedGeneration": 1, "revision": [
            {"unit": SUITE, "digest": digest(1).to_string(), "date": "2026-01-01T00:00:00Z", "observedAt": "2026-01-01T00:00:00Z"}]},
    }))
    .unwrap()
}

/// A region is its name, or `name<followed`; `*2` after that is its number of replicas.
pub fn regions(regions: &[&str]) -> Value {
    let region = |text: &&str| {
        let (text, replicas) = text.split_once('*').unwrap_or((text, "1"));
        let mut region = match text.split_once('<') {
            Some((name, followed)) => json!({"name": name, "follows": followed}),
            None => json!({"name": text}),
        };
        region["replicas"] = json!(replicas.parse::<u32>().unwrap());
        region
    };
    regions.iter().map(region).collect()
}

pub fn mirror(regions: &[&str]) -> Mirror {
    let regions = self::regions(regions);
    serde_json::from_value(json!({
        "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Mirror",
        "metadata": {"name": "debian", "namespace": "ns", "uid": "mirror-uid", "generation": 1,
            "creationTimestamp": "2026-01-01T10:00:00Z"},
        "spec": {"upstreamRef": {"name": "debian"},
            "content": {"debian": {"suites": [SUITE], "components": ["main"], "architectures": ["amd64"]}},
            "sync": {"schedule": "0 * * * *"}, "regions": regions},
    }))
    .unwrap()
}

impl World {
    pub fn new(regions: &[&str]) -> World {
        World {
            now: at("2026-01-01T10:00:05Z"),
            mirror: mirror(regions),
            upstream: Some(upstream()),
            objects: SeenObjects::default(),
            stores: BTreeMap::new(),
            unreachable: false,
            cut_off: false,
            not_asked: false,
            runs_publish: false,
            budget: None,
            refusals: BTreeMap::new(),
            line: fleet_plan::Line::default(),
            copies_elsewhere: 0,
            away: Vec::new(),
            lanes_backwards: false,
            image: "mirrorfleet:1".to_owned(),
            index_version: 0,
            pods: Default::default(),
            pods_allowed: Default::default(),
            routes_allowed: Default::default(),
            serves_http_routes: true,
            uids: 0,
        }
    }

    /// Changes the Mirror's spec by a JSON pointer, as `kubectl edit` would.
    pub fn edit(&mut self, pointer: &str, value: Value) {
        let mut document = serde_json::to_value(&self.mirror).unwrap();
        *document
            .pointer_mut(pointer)
            .unwrap_or_else(|| panic!("no {pointer}")) = value;
        self.mirror = serde_json::from_value(document).unwrap();
        *self.mirror.metadata.generation.get_or_insert(1) += 1;
    }

    pub fn edit_pods(&mut self, pods: Value) {
        self.mirror.spec.pods = serde_json::from_value(pods).unwrap();
        *self.mirror.metadata.generation.get_or_insert(1) += 1;
    }

    pub fn edit_upstream(&mut self, pointer: &str, value: Value) {
        let mut document = serde_json::to_value(&self.upstream).unwrap();
        *document
            .pointer_mut(pointer)
            .unwrap_or_else(|| panic!("no {pointer}")) = value;
        self.upstream = serde_json::from_value(document).unwrap();
    }

    pub fn request(&mut self, value: &str) {
        let annotations = self.mirror.metadata.annotations.get_or_insert_default();
        annotations.insert(labels::SYNC_REQUESTED_AT.to_owned(), value.to_owned());
    }

    pub fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    pub fn observe(&self) -> Observed {
        let answer = |pod: &SeenPod| {
            let store = self.stores.get(&pod.meta.name);
            let answer = match store {
                _ if self.not_asked => Answer::NotAsked,
                _ if self.unreachable || !pod.ready || self.is_away(pod) => {
                    Answer::Unreachable("connection refused".to_owned())
                }
                Some(store) => Answer::Serves(Box::new(store.clone())),
                None => Answer::Nothing,
            };
            (pod.meta.name.clone(), answer)
        };
        let serving = self
            .objects
            .pods
            .iter()
            .filter(|pod| pod.role == PodRole::Serving);
        Observed {
            now: self.now,
            upstream: self.upstream.clone(),
            upstream_error: None,
            objects: self.objects.clone(),
            answers: serving.map(answer).collect(),
            cut_off: self.cut_off,
            refusals: self.refusals.clone(),
            line: self.line.clone(),
            rollouts_elsewhere: 0,
            copies_elsewhere: self.copies_elsewhere,
            serves_http_routes: self.serves_http_routes,
            settings: Settings {
                image: self.image.clone(),
                index_version: self.index_version,
                pods: self.pods.clone(),
                pods_allowed: self.pods_allowed.clone(),
                routes_allowed: self.routes_allowed.clone(),
                ..Settings::default()
            },
        }
    }

    fn is_away(&self, pod: &SeenPod) -> bool {
        let region = pod.meta.region().unwrap_or_default();
        let replica = format!("{region}/{}", pod.meta.replica());
        let mut away = self.away.iter();
        away.any(|away| away == region || *away == replica)
    }

    pub fn plan(&self) -> Plan {
        plan(&self.mirror, &self.observe())
    }

    /// Carries out the first `steps` steps of a plan (writes, status, what follows); whether there were that many.
    pub fn apply_prefix(&mut self, plan: &Plan, steps: usize) -> bool {
        let total = plan.writes.len() + usize::from(plan.status_changed) + plan.after_status.len();
        let mut left = steps;
        for write in self.in_order(&plan.writes) {
            if left == 0 {
                return true;
            }
            left -= 1;
            self.write(write);
        }
        if plan.status_changed && left > 0 {
            left -= 1;
            self.set_status(plan.status.clone());
        } else if plan.status_changed {
            return true;
        }
        for write in plan.after_status.iter().take(left) {
            self.write(write);
        }
        steps < total
    }

    /// What may go side by side goes in the one order or in the other.
    fn in_order<'w>(&self, writes: &'w [Write]) -> Vec<&'w Write> {
        let stages = stages(writes).into_iter().flat_map(|mut lanes| {
            if self.lanes_backwards {
                lanes.reverse();
            }
            lanes
        });
        stages.flat_map(|lane| lane.writes).collect()
    }

    pub fn apply(&mut self, plan: &Plan) {
        self.apply_prefix(plan, usize::MAX);
    }

    /// Through JSON and back, as the API server would.
    /// One reconciliation.
    pub fn step(&mut self) {
        let plan = self.plan();
        self.apply(&plan);
    }

    pub fn sync_pod(&mut self) -> &mut SeenPod {
        let mut pods = self.objects.pods.iter_mut();
        pods.find(|pod| pod.job.is_some()).unwrap()
    }

    pub fn serving_pod(&mut self) -> &mut SeenPod {
        let mut pods = self.objects.pods.iter_mut();
        pods.find(|pod| pod.job.is_none()).unwrap()
    }

    /// The authority has had another state since then.
    pub fn upstream_publishes(&mut self, at: &str) {
        self.edit_upstream("/status/revision/0/digest", json!(digest(2).to_string()));
        self.edit_upstream("/status/revision/0/observedAt", json!(at));
    }

    fn set_status(&mut self, status: MirrorStatus) {
        let text = serde_json::to_string(&status).unwrap();
        self.mirror.status = Some(serde_json::from_str(&text).unwrap());
    }

    pub fn status(&self) -> MirrorStatus {
        self.mirror.status.clone().unwrap_or_default()
    }

    fn meta(&mut self, meta: &ObjectMeta) -> SeenMeta {
        self.uids += 1;
        SeenMeta {
            uid: format!("uid-{}", self.uids),
            created_at: Some(self.now),
            ..SeenMeta::of(meta)
        }
    }

    pub fn condition(&self, kind: &str) -> Option<(String, String)> {
        condition(&self.status(), kind)
    }
}

pub fn condition(status: &MirrorStatus, kind: &str) -> Option<(String, String)> {
    let found = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == kind)?;
    Some((found.status.clone(), found.reason.clone()))
}
