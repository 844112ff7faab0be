//! What the API server does with a write.

use fleet_api::labels;
use fleet_plan::observed::{PodRole, VolumePhase};
use fleet_plan::{
    Labelled, Object, Owned, Refusal, SeenApplied, SeenClaim, SeenJob, SeenMeta, SeenPod,
    SeenRoute, Write,
};

use super::World;
use super::words::line;

impl World {
    pub(super) fn write(&mut self, write: &Write) {
        let of_the_mirror = match write {
            Write::AddFinalizer | Write::RemoveFinalizer => true,
            Write::Apply(object) => {
                object.kind() == Owned::Service && object.label(labels::REGION).is_none()
            }
            _ => false,
        };
        assert_eq!(write.part().is_none(), of_the_mirror, "{}", line(write));
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
            Write::Apply(Object::Ingress(ingress)) => {
                let seen = SeenRoute::from(&**ingress);
                self.put_route(Owned::Ingress, seen);
            }
            Write::Apply(Object::HttpRoute(route)) => {
                let seen = SeenRoute::from(&**route);
                self.put_route(Owned::HttpRoute, seen);
            }
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
            Write::Order {
                name,
                uid,
                order,
                again,
                ..
            } => {
                let mut pods = self.objects.pods.iter_mut();
                let pod = pods.find(|pod| pod.meta.name == *name && pod.meta.uid == *uid);
                let annotations = &mut pod.unwrap().meta.annotations;
                annotations.insert(labels::SERVE.to_owned(), order.to_string());
                let again = again.iter();
                let again = again.map(|again| (labels::SERVE_AGAIN.to_owned(), again.clone()));
                annotations.extend(again);
            }
            Write::List {
                name, uid, list, ..
            } => {
                let mut pods = self.objects.pods.iter_mut();
                let pod = pods.find(|pod| pod.meta.name == *name && pod.meta.uid == *uid);
                let annotations = &mut pod.unwrap().meta.annotations;
                annotations.insert(labels::LIST.to_owned(), list.clone());
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
            Owned::Ingress | Owned::HttpRoute => panic!("{kind:?} is a route"),
            Owned::Claim | Owned::Job => panic!("{kind:?} is created"),
        }
    }

    fn routes(&mut self, kind: Owned) -> &mut Vec<SeenRoute> {
        match kind {
            Owned::Ingress => &mut self.objects.ingresses,
            _ => &mut self.objects.http_routes,
        }
    }

    /// An Ingress keeps its address; who serves an HTTPRoute looks at it anew.
    fn put_route(&mut self, kind: Owned, mut seen: SeenRoute) {
        let uid = format!("uid-{}", self.uids + 1);
        let routes = self.routes(kind);
        let known = routes
            .iter()
            .position(|known| known.applied.meta.name == seen.applied.meta.name);
        match known.map(|at| routes.swap_remove(at)) {
            Some(known) => {
                seen.accepted = kind == Owned::Ingress && known.accepted;
                seen.applied.meta.uid = known.applied.meta.uid;
            }
            None => seen.applied.meta.uid = uid,
        }
        routes.push(seen);
        self.uids += 1;
    }

    fn delete(&mut self, kind: Owned, name: &str, uid: &str) {
        let objects = &mut self.objects;
        match kind {
            Owned::Claim => {
                // One that a pod has stays as long as that; here only where that matters.
                let mut claims = objects.claims.iter_mut();
                let claim = claims.find(|claim| claim.meta.uid == uid).unwrap();
                match claim.phase {
                    VolumePhase::Lost => claim.meta.deleting = true,
                    _ => objects.claims.retain(|seen| seen.meta.uid != uid),
                }
            }
            Owned::Job => {
                objects.jobs.retain(|job| job.meta.uid != uid);
                objects.pods.retain(|pod| pod.job.as_deref() != Some(name));
            }
            Owned::Ingress | Owned::HttpRoute => {
                let routes = self.routes(kind);
                routes.retain(|seen| seen.applied.meta.uid != uid);
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
        let made = SeenMeta::of(&job.metadata);
        let audits = made.label(labels::COMPONENT) == Some(labels::COMPONENT_AUDIT);
        let beside = |other: &&SeenJob| {
            let fetches = |meta: &SeenMeta| meta.label(labels::UPSTREAM).is_some();
            let same =
                other.meta.region() == made.region() && other.meta.replica() == made.replica();
            let runs = !other.audits() && !audits;
            other.end.is_none() && runs && (same || fetches(&other.meta) && fetches(&made))
        };
        let running = self.objects.jobs.iter().find(beside);
        assert!(running.is_none(), "one run at a time: {running:?}");
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
            role: match audits {
                true => PodRole::Audit,
                false => PodRole::Sync,
            },
            job: Some(meta.name.clone()),
            node: Some("node-1".to_owned()),
            running: true,
            ..SeenPod::default()
        };
        self.objects.jobs.push(SeenJob { meta, end: None });
        self.objects.pods.push(pod);
    }
}
