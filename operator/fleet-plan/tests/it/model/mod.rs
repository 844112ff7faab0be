//! A small model of a cluster: it carries out writes as the API server and the controllers of Kubernetes would, one
//! step at a time, so that a test can stop between any two.
use std::collections::BTreeMap;

use fleet_api::{Mirror, MirrorStatus, Upstream, labels};
use fleet_plan::observed::{JobEnd, PodRole, RunEnd, VolumePhase};
use fleet_plan::{
    Answer, Labelled, Object, Observed, Owned, Plan, Refusal, SeenApplied, SeenClaim, SeenJob,
    SeenMeta, SeenObjects, SeenPod, Settings, Turn, Write, plan,
};
use fleet_types::documents::{Report, RunResult, ServedStatus, Success, UnixSeconds};
use fleet_types::{Reason, Sha256, UnitRevision};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

pub const SUITE: &str = "trixie";

pub struct World {
    pub now: Timestamp,
    pub mirror: Mirror,
    pub upstream: Option<Upstream>,
    pub objects: SeenObjects,
    /// What each serving pod's volume holds, by pod name: it outlives the pod.
    pub stores: BTreeMap<String, ServedStatus>,
    pub unreachable: bool,
    /// A new leader has asked nobody yet.
    pub not_asked: bool,
    /// Why no pod may go.
    pub budget: Option<String>,
    pub refusals: BTreeMap<String, Refusal>,
    pub line: fleet_plan::Line,
    pub image: String,
    pub pods: fleet_api::mirror::PodSettings,
    pub pods_allowed: fleet_plan::PodsAllowed,
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

pub fn mirror(regions: &[&str]) -> Mirror {
    let regions: Vec<Value> = regions.iter().map(|name| json!({"name": name})).collect();
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
            not_asked: false,
            budget: None,
            refusals: BTreeMap::new(),
            line: fleet_plan::Line::default(),
            image: "mirrorfleet:1".to_owned(),
            pods: Default::default(),
            pods_allowed: Default::default(),
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
                _ if self.unreachable || !pod.ready => {
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
            refusals: self.refusals.clone(),
            line: self.line.clone(),
            rollouts_elsewhere: 0,
            settings: Settings {
                image: self.image.clone(),
                pods: self.pods.clone(),
                pods_allowed: self.pods_allowed.clone(),
                ..Settings::default()
            },
        }
    }

    pub fn plan(&self) -> Plan {
        plan(&self.mirror, &self.observe())
    }

    /// Carries out the first `steps` steps of a plan (writes, status, what follows); whether there were that many.
    pub fn apply_prefix(&mut self, plan: &Plan, steps: usize) -> bool {
        let total = plan.writes.len() + usize::from(plan.status_changed) + plan.after_status.len();
        let mut left = steps;
        for write in &plan.writes {
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

    fn write(&mut self, write: &Write) {
        let of_the_mirror = matches!(write, Write::AddFinalizer | Write::RemoveFinalizer);
        assert_eq!(write.region().is_none(), of_the_mirror, "{}", line(write));
        match write {
            Write::AddFinalizer => {
                self.mirror
                    .metadata
                    .finalizers
                    .get_or_insert_default()
                    .push(labels::CLAIM_FINALIZER.to_owned());
            }
            Write::RemoveFinalizer => self.mirror.metadata.finalizers = None,
            Write::Create(object) => self.create(object),
            Write::Apply(object) => {
                let seen = SeenApplied::of(object.meta(), &object.spec());
                self.put(object.kind(), seen);
            }
            Write::Grow { name, size, .. } => {
                let bytes = size.parse::<fleet_api::ByteQuantity>().unwrap().bytes();
                let claim = self
                    .objects
                    .claims
                    .iter_mut()
                    .find(|claim| claim.meta.name == *name)
                    .unwrap();
                claim.requested = Some(bytes);
            }
            Write::Label {
                kind,
                name,
                uid,
                labels,
                ..
            } => {
                let objects = &mut self.objects;
                let mut pods = objects.pods.iter_mut().map(|pod| &mut pod.meta);
                let mut claims = objects.claims.iter_mut().map(|claim| &mut claim.meta);
                let named = |meta: &&mut SeenMeta| meta.name == *name && meta.uid == *uid;
                let meta = match kind {
                    Labelled::Pod => pods.find(named),
                    Labelled::Claim => claims.find(named),
                };
                meta.unwrap().labels.extend(labels.clone());
            }
            Write::Orphan { name, uid, .. } => {
                for pod in &mut self.objects.pods {
                    pod.meta.owners.retain(|owner| owner != uid);
                }
                self.delete(Owned::StatefulSet, name, uid);
            }
            Write::Evict { uid, .. } => self.evict(uid),
            Write::Delete {
                kind, name, uid, ..
            } => self.delete(*kind, name, uid),
        }
    }

    /// A pod that leaves is seen leaving before it is gone.
    fn evict(&mut self, uid: &str) {
        if let Some(words) = &self.budget {
            let refusal = Refusal {
                message: words.clone(),
                at: self.now,
            };
            self.refusals.insert(uid.to_owned(), refusal);
            return;
        }
        let mut pods = self.objects.pods.iter_mut();
        let pod = pods.find(|pod| pod.meta.uid == uid).unwrap();
        assert!(!pod.meta.deleting, "evicted once");
        pod.meta.deleting = true;
        pod.ready = false;
    }

    fn create(&mut self, object: &Object) {
        match object {
            Object::Claim(claim) => {
                assert!(
                    claim.metadata.owner_references.is_none(),
                    "a claim must outlive its Mirror"
                );
                let meta = self.meta(&claim.metadata);
                self.objects.claims.push(SeenClaim {
                    meta,
                    phase: VolumePhase::Pending,
                    ..SeenClaim::from(&**claim)
                });
            }
            Object::Job(job) => self.create_job(job),
            other => panic!("{:?} is applied", other.kind()),
        }
    }

    /// The objects of a kind that is applied.
    fn applied(&mut self, kind: Owned) -> &mut Vec<SeenApplied> {
        let objects = &mut self.objects;
        match kind {
            Owned::Service => &mut objects.services,
            Owned::StatefulSet => &mut objects.stateful_sets,
            Owned::DisruptionBudget => &mut objects.disruption_budgets,
            Owned::Claim | Owned::Job => panic!("{kind:?} is created"),
        }
    }

    fn delete(&mut self, kind: Owned, name: &str, uid: &str) {
        let objects = &mut self.objects;
        match kind {
            Owned::Claim => objects.claims.retain(|seen| seen.meta.uid != uid),
            Owned::Job => {
                objects.jobs.retain(|job| job.meta.uid != uid);
                objects.pods.retain(|pod| pod.job.as_deref() != Some(name));
            }
            applied => self.applied(applied).retain(|seen| seen.meta.uid != uid),
        }
    }

    fn put(&mut self, kind: Owned, mut seen: SeenApplied) {
        let uids = self.uids + 1;
        let list = self.applied(kind);
        let known = (list.iter_mut()).find(|known| known.meta.name == seen.meta.name);
        if let Some(known) = known {
            seen.meta.uid = known.meta.uid.clone();
            *known = seen;
            return;
        }
        seen.meta.uid = format!("uid-{uids}");
        list.push(seen);
        self.uids = uids;
    }

    fn create_job(&mut self, job: &k8s_openapi::api::batch::v1::Job) {
        if self
            .objects
            .jobs
            .iter()
            .any(|known| Some(&known.meta.name) == job.metadata.name.as_ref())
        {
            return;
        }
        let running = self.objects.jobs.iter().any(|job| job.end.is_none());
        assert!(!running, "one run at a time");
        let meta = self.meta(&job.metadata);
        let template = job
            .spec
            .as_ref()
            .unwrap()
            .template
            .metadata
            .as_ref()
            .unwrap();
        let pod = SeenPod {
            meta: SeenMeta {
                name: format!("{}-pod", meta.name),
                ..SeenMeta::of(template)
            },
            role: PodRole::Sync,
            job: Some(meta.name.clone()),
            node: Some("node-1".to_owned()),
            running: true,
            ..SeenPod::default()
        };
        self.objects.jobs.push(SeenJob { meta, end: None });
        self.objects.pods.push(pod);
    }

    /// What Kubernetes' own controllers do: claims are bound, and each StatefulSet has its pod, which it makes or adopts.
    pub fn kubernetes(&mut self) {
        for claim in &mut self.objects.claims {
            claim.phase = VolumePhase::Bound;
            claim.capacity = claim.requested;
        }
        let sets = self.objects.stateful_sets.clone();
        let lives = |owner: &String| sets.iter().any(|set| set.meta.uid == *owner);
        self.objects.pods.retain(|pod| {
            let owned = pod.meta.owners.is_empty() || pod.meta.owners.iter().any(lives);
            pod.role != PodRole::Serving || (owned && !pod.meta.deleting)
        });
        for set in &sets {
            self.control(set);
        }
    }

    /// A StatefulSet's controller: it adopts what its selector finds under its name, and makes a pod only if nothing has
    /// that name. Whoever says `RollingUpdate` has a pod of another template made anew.
    fn control(&mut self, set: &SeenApplied) {
        let spec: Value = serde_json::from_str(&set.spec).unwrap();
        let name = format!("{}-0", set.meta.name);
        let template: ObjectMeta =
            serde_json::from_value(spec["template"]["metadata"].clone()).unwrap();
        let made = self.made_pod(&name, set, &spec, &template);
        let pods = &mut self.objects.pods;
        let Some(at) = pods.iter().position(|pod| pod.meta.name == name) else {
            pods.push(made);
            return;
        };
        let pod = &mut pods[at];
        if pod.meta.owners.is_empty() {
            let selector = spec["selector"]["matchLabels"].as_object().unwrap();
            let matches = |(key, value): (&String, &Value)| pod.meta.label(key) == value.as_str();
            if selector.iter().all(matches) {
                pod.meta.owners = vec![set.meta.uid.clone()];
            }
        }
        let owned = pod.meta.owners.contains(&set.meta.uid);
        let rolls = spec["updateStrategy"]["type"] == "RollingUpdate";
        if owned && rolls && pod.meta.annotations != made.meta.annotations {
            *pod = made;
        }
    }

    fn made_pod(
        &mut self,
        name: &str,
        set: &SeenApplied,
        spec: &Value,
        meta: &ObjectMeta,
    ) -> SeenPod {
        let image = spec["template"]["spec"]["containers"][0]["image"].as_str();
        SeenPod {
            meta: SeenMeta {
                name: name.to_owned(),
                owners: vec![set.meta.uid.clone()],
                ..self.meta(meta)
            },
            role: PodRole::Serving,
            node: Some("node-1".to_owned()),
            ready: true,
            running: true,
            image: image.map(str::to_owned),
            ..SeenPod::default()
        }
    }

    /// Makes a region's StatefulSet one of the version before: no replica in its selector and on nothing that it made.
    pub fn is_of_the_version_before(&mut self) {
        let objects = &mut self.objects;
        let sets = objects.stateful_sets.iter_mut();
        for set in sets {
            let mut spec: Value = serde_json::from_str(&set.spec).unwrap();
            for pointer in ["/selector/matchLabels", "/template/metadata/labels"] {
                let labels = spec.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
                labels.remove(labels::REPLICA).unwrap();
            }
            spec["updateStrategy"]["type"] = json!("RollingUpdate");
            set.spec = spec.to_string().into();
            set.meta.labels.remove(labels::REPLICA);
            set.meta
                .annotations
                .insert(labels::APPLIED.to_owned(), "before".to_owned());
        }
        let pods = objects.pods.iter_mut().map(|pod| &mut pod.meta);
        for meta in pods.chain(objects.claims.iter_mut().map(|claim| &mut claim.meta)) {
            meta.labels.remove(labels::REPLICA);
        }
    }

    pub fn report(&self, reason: &str) -> Report {
        let published = reason == "Published" || reason == "Unchanged";
        Report {
            result: match reason {
                "Published" => RunResult::Published,
                "Unchanged" => RunResult::Unchanged,
                _ => RunResult::Failed,
            },
            reason: Reason::of(reason),
            message: format!("as the test says: {reason}"),
            snapshot: published.then(|| "aa".repeat(32)),
            revision: published
                .then(|| UnitRevision {
                    unit: SUITE.to_owned(),
                    digest: digest(1),
                    date: 1_767_225_600,
                    valid_until: None,
                })
                .into_iter()
                .collect(),
            started_at: UnixSeconds(self.now.as_second()),
            finished_at: UnixSeconds(self.now.as_second()),
            ..Report::default()
        }
    }

    /// The running Job ends with a report; the store keeps it too.
    pub fn end_run(&mut self, report: &Report) {
        let mut jobs = self.objects.jobs.iter_mut();
        let job = jobs.find(|job| job.end.is_none()).expect("no Job runs");
        let region = job.meta.region().unwrap().to_owned();
        let good = report.is_good();
        job.end = Some(JobEnd {
            succeeded: good,
            at: Some(self.now),
            message: String::new(),
        });
        let name = job.meta.name.clone();
        let pod = self
            .objects
            .pods
            .iter_mut()
            .find(|pod| pod.job.as_ref() == Some(&name))
            .unwrap();
        pod.running = false;
        pod.end = Some(RunEnd {
            exit_code: i32::from(!good),
            at: Some(self.now),
            message: serde_json::to_string(report).unwrap(),
            reason: "Completed".to_owned(),
        });
        if good {
            let child = fleet_plan::names::child_name("debian", &region);
            let served = ServedStatus {
                mirror: "debian".to_owned(),
                snapshot: report.snapshot.clone(),
                revision: report.revision.clone(),
                last_report: Some(report.clone()),
                last_success: Some(Success {
                    at: UnixSeconds(self.now.as_second()),
                    snapshot: report.snapshot.clone(),
                }),
                ..ServedStatus::default()
            };
            self.stores.insert(format!("{child}-0"), served);
        }
    }

    /// Plans and applies until nothing is left to write; runs end well after ten seconds each.
    pub fn settle(&mut self) -> usize {
        for round in 0..60 {
            let plan = self.plan();
            let quiet =
                plan.writes.is_empty() && !plan.status_changed && plan.after_status.is_empty();
            self.apply(&plan);
            self.kubernetes();
            if self.objects.jobs.iter().any(|job| job.end.is_none()) {
                self.pass(10);
                let report = self.report("Published");
                self.end_run(&report);
            } else if quiet && plan.turn == Turn::Idle {
                return round;
            }
        }
        panic!("does not settle: {:#?}", self.plan());
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

/// A plan as a few lines for people.
pub fn render(plan: &Plan) -> String {
    let mut lines: Vec<String> = plan.writes.iter().map(line).collect();
    if plan.status_changed {
        lines.push("write status".to_owned());
    }
    for region in &plan.status.regions {
        let last = region.replicas[0]
            .last_attempt
            .as_ref()
            .map_or("no run yet", |last| last.reason.as_str());
        lines.push(format!("  {}: {:?}, {last}", region.name, region.state));
    }
    for found in &plan.status.conditions {
        lines.push(format!(
            "  {}={} {}: {}",
            found.type_, found.status, found.reason, found.message
        ));
    }
    lines.extend(
        plan.after_status
            .iter()
            .map(|write| format!("then {}", line(write))),
    );
    lines.extend(
        plan.events
            .iter()
            .map(|event| format!("event {}: {}", event.reason, event.message)),
    );
    lines.push(format!("turn {:?}", plan.turn));
    lines.push(
        plan.wake_at
            .map_or("sleep".to_owned(), |wake| format!("wake at {wake}")),
    );
    lines.join("\n")
}

fn line(write: &Write) -> String {
    let name = |meta: &ObjectMeta| meta.name.clone().unwrap_or_default();
    match write {
        Write::AddFinalizer => "add finalizer".to_owned(),
        Write::RemoveFinalizer => "remove finalizer".to_owned(),
        Write::Create(Object::Job(job)) => {
            let annotations = job.metadata.annotations.as_ref();
            let trigger = annotations.and_then(|all| all.get(labels::TRIGGER));
            format!(
                "create job {} ({})",
                name(&job.metadata),
                trigger.map_or("?", String::as_str)
            )
        }
        Write::Create(object) => format!("create {} {}", word(object.kind()), name(object.meta())),
        Write::Apply(object) => format!("apply {} {}", word(object.kind()), name(object.meta())),
        Write::Label { kind, name, .. } => format!("label {kind:?} {name}").to_lowercase(),
        Write::Orphan { name, .. } => format!("orphan the pods of stateful set {name}"),
        Write::Evict { name, .. } => format!("evict pod {name}"),
        Write::Grow { name, size, .. } => format!("grow claim {name} to {size}"),
        Write::Delete { kind, name, .. } => format!("delete {} {name}", word(*kind)),
    }
}

fn word(kind: Owned) -> &'static str {
    match kind {
        Owned::Claim => "claim",
        Owned::Service => "service",
        Owned::StatefulSet => "stateful set",
        Owned::DisruptionBudget => "disruption budget",
        Owned::Job => "job",
    }
}
