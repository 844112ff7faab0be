//! What Kubernetes' own controllers make of the objects.

use fleet_api::labels;
use fleet_plan::observed::{PodRole, VolumePhase};
use fleet_plan::{SeenApplied, SeenClaim, SeenMeta, SeenPod, SeenSlice};
use fleet_types::{Order, Sha256};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::World;

impl World {
    /// What Kubernetes' own controllers do: claims are bound, and each StatefulSet has its pod, which it makes or adopts.
    pub fn kubernetes(&mut self) {
        let lost = |claim: &&mut SeenClaim| claim.phase == VolumePhase::Lost;
        for claim in self.objects.claims.iter_mut().filter(|claim| !lost(claim)) {
            claim.phase = VolumePhase::Bound;
            claim.capacity = claim.requested;
        }
        let sets = self.objects.stateful_sets.clone();
        let lives = |owner: &String| sets.iter().any(|set| set.meta.uid == *owner);
        self.objects.pods.retain(|pod| {
            let owned = pod.meta.owners.is_empty() || pod.meta.owners.iter().any(lives);
            pod.role != PodRole::Serving || (owned && !pod.meta.deleting)
        });
        self.remove_claims();
        for set in &sets {
            self.control(set);
        }
        self.serve();
        self.route();
    }

    /// Claims that are deleted go with the last pod that has them, and what their volumes held with them.
    fn remove_claims(&mut self) {
        let pods = &self.objects.pods;
        let serves = |name: &str| pods.iter().any(|pod| pod.meta.name == format!("{name}-0"));
        let stores = &mut self.stores;
        self.objects.claims.retain(|claim| {
            let goes = claim.meta.deleting && !serves(&claim.meta.name);
            if goes {
                stores.remove(&format!("{}-0", claim.meta.name));
            }
            !goes
        });
    }

    /// Services lead to the pods that their selectors find and that are ready.
    fn route(&mut self) {
        let objects = &mut self.objects;
        let slice = |service: &SeenApplied| {
            let spec: Value = serde_json::from_str(&service.spec).unwrap();
            let selector = spec["selector"].as_object().unwrap();
            let leads = |pod: &&SeenPod| {
                let mut all = selector.iter();
                pod.ready && all.all(|(key, value)| pod.meta.label(key) == value.as_str())
            };
            let pods = objects.pods.iter().filter(leads);
            let name = (
                "kubernetes.io/service-name".to_owned(),
                service.meta.name.clone(),
            );
            SeenSlice {
                meta: SeenMeta {
                    labels: [name].into(),
                    ..SeenMeta::default()
                },
                pods: pods.map(|pod| pod.meta.name.clone()).collect(),
            }
        };
        objects.slices = objects.services.iter().map(slice).collect();
    }

    /// What servers do: they follow what their pods are told.
    fn serve(&mut self) {
        let pods = self.objects.pods.iter();
        let told = pods.filter(|pod| pod.takes_orders && pod.ready).map(|pod| {
            let text = pod.meta.annotation(labels::SERVE).unwrap_or_default();
            (pod.meta.name.clone(), Order::read(text).unwrap())
        });
        for (pod, order) in told.collect::<Vec<_>>() {
            let Some(store) = self.stores.get_mut(&pod) else {
                continue;
            };
            let keeps = |id: &Sha256| store.kept.iter().any(|kept| kept.id == *id);
            let next = Order::next(store.order, order, keeps);
            if next != store.order {
                store.order = next;
                store.snapshot = next.map(|order| order.snapshot.to_string());
                store
                    .revision
                    .clone_from(&store.last_report.as_ref().unwrap().revision);
            }
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
            ip: Some(format!("10.0.0.{}", self.uids)),
            ready: true,
            running: true,
            image: image.map(str::to_owned),
            takes_orders: !self.runs_publish
                && spec["template"]["spec"]["volumes"]
                    .as_array()
                    .is_some_and(|all| all.iter().any(|volume| volume["name"] == "orders")),
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
}
