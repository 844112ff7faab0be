//! The controller against a whole fleet in memory: an API server that keeps what is written, serving pods that are never
//! asked over a network. Counted are plans and writes, never time.

mod api;
mod regions;
mod scale;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleet_api::{Mirror, Upstream, labels};
use fleet_plan::{Answer, Settings, names};
use fleet_telemetry::{BuildInfo, ControllerMetrics, Registry};
use fleet_types::documents::{Report, RunResult, ServedStatus, UnixSeconds};
use fleet_types::{Reason, Sha256, UnitRevision};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::DeserializeGuard;
use serde_json::{Value, json};

use self::api::Api;
use crate::context::{Context, PodKey, Wishes};
use crate::options::{ControllerOptions, Intervals, LeaseOptions};
use crate::reconcile;
use crate::work::{Queue, queue};
use crate::world::{Child, ObjectName, World, by_itself};

const DIGEST: Sha256 = Sha256([1; 32]);

/// One life of a controller that leads.
struct Leader {
    api: Api,
    context: Arc<Context>,
    mirrors: Queue<ObjectName>,
    _others: (Queue<ObjectName>, Queue<PodKey>),
    /// Reconciliations of Mirrors so far.
    plans: usize,
}

fn mirror(name: &str) -> ObjectName {
    ObjectName::new("ns", name)
}

fn path(group: &str, plural: &str, name: &str) -> String {
    format!("/{group}/namespaces/ns/{plural}/{name}")
}

/// An Upstream whose authority has these units.
fn upstream(name: &str, units: &[&str]) -> Value {
    let unit = |unit: &&str| json!({"unit": unit, "digest": DIGEST.to_string(), "observedAt": "2026-01-01T00:00:00Z"});
    json!({
        "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Upstream",
        "metadata": {"name": name, "namespace": "ns", "generation": 1},
        "spec": {"type": "Debian", "authority": {"url": "https://example.org/debian/"},
            "trust": {"keyringRef": {"name": "keys", "key": "keyring.gpg"}}},
        "status": {"observedGeneration": 1, "revision": units.iter().map(unit).collect::<Vec<_>>()},
    })
}

/// A Mirror whose schedule is far away.
fn manifest(name: &str, upstream: &str, suite: &str, regions: &[&str]) -> Value {
    let regions: Vec<Value> = regions.iter().map(|name| json!({"name": name})).collect();
    json!({
        "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Mirror",
        "metadata": {"name": name, "namespace": "ns", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"upstreamRef": {"name": upstream},
            "content": {"debian": {"suites": [suite], "components": ["main"], "architectures": ["amd64"]}},
            "sync": {"schedule": "0 0 29 2 *"}, "regions": regions},
    })
}

impl Api {
    fn upstream(&self, name: &str, units: &[&str]) {
        let path = path("apis/mirrorfleet.dev/v1alpha1", "upstreams", name);
        self.put(&path, upstream(name, units));
    }

    fn mirror(&self, manifest: Value) {
        let name = manifest["metadata"]["name"].as_str().unwrap().to_owned();
        let path = path("apis/mirrorfleet.dev/v1alpha1", "mirrors", &name);
        self.put(&path, manifest);
    }

    fn status(&self, name: &str) -> Value {
        let mut mirrors = self.all("mirrors").into_iter();
        let found = mirrors.find(|mirror| mirror["metadata"]["name"] == name);
        found.unwrap()["status"].clone()
    }
}

impl Leader {
    /// Takes over a cluster as its lists bring it; every Mirror asks to be planned.
    fn new(api: &Api) -> Leader {
        crate::install_crypto();
        let (mirrors, upstreams, pods) = (queue(), queue(), queue());
        let wishes = Wishes {
            mirrors: mirrors.0,
            upstreams: upstreams.0,
            pods: pods.0,
        };
        let info = BuildInfo {
            version: String::new(),
            revision: String::new(),
            role: "controller".to_owned(),
        };
        let metrics = ControllerMetrics::register(&Registry::new(&info).unwrap()).unwrap();
        let context =
            Context::new(api.client(), api.client(), &options(), metrics, wishes).unwrap();
        let leader = Leader {
            api: api.clone(),
            context: Arc::new(context),
            mirrors: mirrors.1,
            _others: (upstreams.1, pods.1),
            plans: 0,
        };
        leader.lists();
        leader.context.remember_running_jobs();
        leader
    }

    fn lists(&self) {
        let world = &self.context.world;
        for upstream in self.api.all("upstreams") {
            let upstream: Upstream = serde_json::from_value(upstream).unwrap();
            by_itself(DeserializeGuard(Ok(upstream))).map(|item| world.upstreams.put(item));
        }
        for found in self.api.all("mirrors") {
            let found: Mirror = serde_json::from_value(found).unwrap();
            let name = mirror(found.metadata.name.as_deref().unwrap());
            by_itself(DeserializeGuard(Ok(found))).map(|item| world.mirrors.put(item));
            self.context.wishes.mirrors.now(name);
        }
        list::<PersistentVolumeClaim>(&self.api, world, "persistentvolumeclaims");
        list::<StatefulSet>(&self.api, world, "statefulsets");
        list::<Service>(&self.api, world, "services");
        list::<PodDisruptionBudget>(&self.api, world, "poddisruptionbudgets");
        list::<Job>(&self.api, world, "jobs");
        list::<Pod>(&self.api, world, "pods");
    }

    /// Plans every Mirror that asks for it until none does.
    async fn rest(&mut self) {
        loop {
            let wishes: BTreeSet<ObjectName> = self.mirrors.drain().into_iter().collect();
            if wishes.is_empty() {
                return;
            }
            for name in wishes {
                self.plans += 1;
                let again = reconcile::mirror(self.context.clone(), name.clone()).await;
                if again.is_some_and(|delay| delay.is_zero()) {
                    self.context.wishes.mirrors.now(name);
                }
            }
        }
    }

    /// What Kubernetes does with what was written: each claim is bound, each StatefulSet has its pod.
    fn kubernetes(&self) {
        for mut claim in self.api.all("persistentvolumeclaims") {
            claim["status"] = json!({"phase": "Bound"});
            self.tell::<PersistentVolumeClaim>("api/v1", "persistentvolumeclaims", claim);
        }
        for set in self.api.all("statefulsets") {
            let mut pod = set["spec"]["template"].clone();
            let name = format!("{}-0", set["metadata"]["name"].as_str().unwrap());
            let container = pod["spec"]["containers"][0]["name"].clone();
            pod["metadata"]["name"] = json!(name);
            pod["metadata"]["namespace"] = json!("ns");
            pod["spec"]["nodeName"] = json!("node-1");
            pod["status"] = json!({
                "podIP": "192.0.2.1", "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": container, "ready": true, "restartCount": 0, "image": "", "imageID": "",
                    "state": {"running": {}}}],
            });
            self.tell::<Pod>("api/v1", "pods", pod);
        }
    }

    /// An object as a watch tells of it.
    fn tell<K: Child>(&self, group: &str, plural: &str, object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let object = self.api.put(&path(group, plural, &name), object);
        let object: K = serde_json::from_value(object).unwrap();
        let Some(item) = object.labelled() else {
            return;
        };
        let group = item.group.clone();
        K::kept(&self.context.world.owned).put(item);
        self.context.wishes.mirrors.now(group);
    }

    /// Every serving pod is asked, with this result.
    fn ask(&self, answer: impl Fn() -> Answer) {
        for (mirror, pod) in self.context.world.owned.pods().named(|_| true) {
            if self.context.answers.put(&mirror, &pod, answer()) {
                self.context.wishes.mirrors.now(mirror);
            }
        }
    }

    /// The Job that runs ends well; its Mirror. No other may run.
    fn end_run(&self) -> Option<String> {
        let running = self.api.all("jobs").into_iter();
        let running: Vec<Value> = running.filter(|job| job["status"].is_null()).collect();
        assert!(running.len() <= 1, "runs beside each other");
        let mut job = running.into_iter().next()?;
        let now = Timestamp::now();
        let report = Report {
            result: RunResult::Published,
            reason: Reason::Published,
            snapshot: Some("aa".repeat(32)),
            started_at: UnixSeconds(now.as_second()),
            finished_at: UnixSeconds(now.as_second()),
            ..Report::default()
        };
        let name = job["metadata"]["name"].as_str().unwrap();
        let mut labels = job["metadata"]["labels"].clone();
        let mirror = labels[labels::MIRROR].as_str().unwrap().to_owned();
        labels["batch.kubernetes.io/job-name"] = json!(name);
        let ended = json!({"exitCode": 0, "finishedAt": now, "message": json!(report).to_string()});
        let pod = json!({
            "metadata": {"name": format!("{name}-pod"), "namespace": "ns", "labels": labels},
            "spec": {"containers": [], "nodeName": "node-1"},
            "status": {"containerStatuses": [{"name": "sync", "ready": false, "restartCount": 0, "image": "", "imageID": "",
                "state": {"terminated": ended}}]},
        });
        job["status"] = json!({"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": now}]});
        self.tell::<Pod>("api/v1", "pods", pod);
        self.tell::<Job>("apis/batch/v1", "jobs", job);
        Some(mirror)
    }
}

fn list<K: Child>(api: &Api, world: &World, plural: &str) {
    for object in api.all(plural) {
        let object: K = serde_json::from_value(object).unwrap();
        object
            .labelled()
            .map(|item| K::kept(&world.owned).put(item));
    }
}

/// A pod says that it serves what the authority has of `suite`.
fn serves(suite: &str) -> Answer {
    let unit = UnitRevision {
        unit: suite.to_owned(),
        digest: DIGEST,
        date: 1_767_225_600,
        valid_until: None,
    };
    Answer::Serves(Box::new(ServedStatus {
        snapshot: Some("aa".repeat(32)),
        revision: vec![unit],
        ..ServedStatus::default()
    }))
}

fn condition(status: &Value, kind: &str) -> String {
    let conditions = status["conditions"].as_array().unwrap().iter();
    let all: BTreeMap<&str, &str> = conditions
        .map(|found| {
            (
                found["type"].as_str().unwrap(),
                found["status"].as_str().unwrap(),
            )
        })
        .collect();
    all[kind].to_owned()
}

fn options() -> ControllerOptions {
    ControllerOptions {
        settings: Settings {
            image: "mirrorfleet:1".to_owned(),
            ..Settings::default()
        },
        namespace: None,
        metrics_listen: ([127, 0, 0, 1], 0).into(),
        status_page: None,
        push_listen: None,
        lease: LeaseOptions {
            name: "lease".to_owned(),
            namespace: "ns".to_owned(),
            identity: "a".to_owned(),
            duration: std::time::Duration::from_secs(15),
        },
        user_agent: "mirrorfleet/test".to_owned(),
        intervals: Intervals::default(),
    }
}
