//! Statuses: each is applied by its only owner.

use std::fmt::Debug;

use fleet_api::labels::STATUS_FIELD_MANAGER;
use fleet_api::{Mirror, MirrorStatus, Upstream, UpstreamStatus};
use fleet_plan::{conditions_of_unreadable, state_of_stalled};
use fleet_types::Reason;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Writer;
use crate::error::WriteError;
use crate::world::{Guarded, World, by_itself};

impl Writer {
    /// Writes the status of a Mirror.
    pub async fn mirror_status(
        &self,
        world: &World,
        mirror: &Mirror,
        status: &MirrorStatus,
    ) -> Result<(), WriteError> {
        let written = self
            .status::<Guarded<Mirror>>(mirror.meta(), status)
            .await?;
        by_itself(written).map(|item| world.mirrors.put(item));
        Ok(())
    }

    /// Writes the status of an Upstream.
    pub async fn upstream_status(
        &self,
        world: &World,
        upstream: &Upstream,
        status: &UpstreamStatus,
    ) -> Result<(), WriteError> {
        let written = self
            .status::<Guarded<Upstream>>(upstream.meta(), status)
            .await?;
        by_itself(written).map(|item| world.upstreams.put(item));
        Ok(())
    }

    /// Says in the conditions of an object that cannot be read that it cannot. All else in its status stays: the
    /// high-water marks are in it. Whether that was news.
    pub async fn unreadable(
        &self,
        kind: &ApiResource,
        meta: &ObjectMeta,
        error: &str,
        now: Timestamp,
    ) -> Result<bool, WriteError> {
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let name = meta.name.as_deref().unwrap_or_default();
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, kind);
        let found = api.get_opt(name).await;
        let Some(found) = found.map_err(|error| WriteError::of(&kind.kind, name, &error))? else {
            return Ok(false);
        };
        let before = found.data["status"].clone();
        let known = serde_json::from_value(before["conditions"].clone()).unwrap_or_default();
        let known: Vec<Condition> = known;
        let generation = meta.generation.unwrap_or(0);
        let conditions = conditions_of_unreadable(&known, error, generation, now);
        let mut status = before.as_object().cloned().unwrap_or_default();
        status.insert("observedGeneration".to_owned(), json!(generation));
        if kind.kind == Mirror::kind(&()) {
            status.insert(
                "state".to_owned(),
                json!(state_of_stalled(&conditions, Reason::InvalidSpec)),
            );
        }
        status.insert("conditions".to_owned(), json!(conditions));
        if before == Value::Object(status.clone()) {
            return Ok(false);
        }
        let meta = ObjectMeta {
            resource_version: found.metadata.resource_version,
            ..meta.clone()
        };
        self.apply_status(&api, kind, &meta, &status).await?;
        Ok(true)
    }

    async fn status<K>(&self, meta: &ObjectMeta, status: &impl Serialize) -> Result<K, WriteError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        self.apply_status(&api, &ApiResource::erase::<K>(&()), meta, status)
            .await
    }

    /// As its only owner: what is not in `status` is taken away. The uid keeps it from a successor, the version from what a
    /// newer leader says.
    async fn apply_status<K>(
        &self,
        api: &Api<K>,
        kind: &ApiResource,
        meta: &ObjectMeta,
        status: &impl Serialize,
    ) -> Result<K, WriteError>
    where
        K: Clone + Debug + DeserializeOwned,
    {
        let name = meta.name.as_deref().unwrap_or_default();
        let body = json!({
            "apiVersion": kind.api_version, "kind": kind.kind,
            "metadata": {"name": name, "uid": meta.uid, "resourceVersion": meta.resource_version},
            "status": status,
        });
        let params = PatchParams::apply(STATUS_FIELD_MANAGER).force();
        let written = api.patch_status(name, &params, &Patch::Apply(body)).await;
        let written = written.map_err(|error| WriteError::of(&kind.kind, name, &error))?;
        self.faults.written();
        Ok(written)
    }
}
