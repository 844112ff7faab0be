//! Evictions: a pod leaves as far as its budgets let it.

use fleet_plan::Refusal;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::core::Status;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::{Writer, take_in};
use crate::error::WriteError;
use crate::world::{Child, ObjectName, World, find};

/// What a budget answers that lets no pod go now.
const TOO_MANY_REQUESTS: u16 = 429;

impl Writer {
    /// Evicts the very pod that was seen. That it may not go yet is no failure: it is noted, and the next plan says so.
    pub(super) async fn evict(
        &self,
        world: &World,
        mirror: &ObjectName,
        name: &str,
        uid: &str,
    ) -> Result<(), WriteError> {
        let api: Api<Pod> = Api::namespaced(self.evictions.clone(), &mirror.namespace);
        // Not `Api::evict`, whose options the API server does not read (kube 5.0 writes `delete_options`).
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": name, "namespace": mirror.namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        });
        let params = PostParams::default();
        let asked = api.create_subresource::<_, Value>("eviction", name, &params, &eviction);
        match asked.await {
            Ok(_) => self.faults.written(),
            Err(kube::Error::Api(told)) if told.is_not_found() => {}
            Err(kube::Error::Api(told)) if told.code == TOO_MANY_REQUESTS => {
                world.refusals.note(uid, refusal(&told));
                return Ok(());
            }
            Err(error) => return Err(WriteError::of("Pod", name, &error)),
        }
        // The answer does not show the pod, and the next plan is made at once.
        match find(&api, name).await? {
            Some(pod) if pod.uid().as_deref() == Some(uid) => take_in(world, mirror, &pod),
            _ => Pod::kept(&world.owned).remove(mirror, name, uid),
        }
        Ok(())
    }
}

fn refusal(told: &Status) -> Refusal {
    let causes = told.details.iter().flat_map(|details| &details.causes);
    let causes = causes.map(|cause| cause.message.as_str());
    let words: Vec<&str> = [told.message.as_str()].into_iter().chain(causes).collect();
    Refusal {
        message: words.join(" "),
        at: Timestamp::now(),
    }
}
