//! Every write to the Kubernetes API, and the rules that hold for all of them:
//!
//! - an object that is not ours is never written;
//! - what was written is known at once, before the watch tells;
//! - every successful write is counted by [`crate::faults`], the test hook that ends the process between two of them.

mod evict;
mod probe;
mod status;

use std::fmt::Debug;

use fleet_api::Mirror;
use fleet_api::labels::{CLAIM_FINALIZER, FIELD_MANAGER, LIST, SERVE, SERVE_AGAIN};
use fleet_plan::{HttpRoute, Labelled, Object, Owned, Write};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::core::DeserializeGuard;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::WriteError;
use crate::faults::Faults;
use crate::ownership;
use crate::world::{Child, Kind, ObjectName, World, by_itself, find};

/// Does the same with an object of whatever kind.
macro_rules! each {
    ($object:ident => $do:expr) => {
        match $object {
            Object::Claim($object) => $do,
            Object::Service($object) => $do,
            Object::StatefulSet($object) => $do,
            Object::DisruptionBudget($object) => $do,
            Object::Ingress($object) => $do,
            Object::HttpRoute($object) => $do,
            Object::Job($object) => $do,
        }
    };
}

/// A Mirror of many regions must not take all of the API server's patience with us.
const SIDE_BY_SIDE: usize = 8;

/// The one place that writes.
pub struct Writer {
    client: Client,
    evictions: Client,
    faults: Faults,
}

impl Writer {
    /// `evictions` repeats nothing by itself: for minutes it would be what a budget refuses.
    pub fn new(client: Client, evictions: Client) -> Self {
        Writer {
            client,
            evictions,
            faults: Faults::from_environment(),
        }
    }

    /// For how many replicas of a Mirror there are writes at once: for one where writes are counted, so that the process ends
    /// after exactly those.
    pub fn side_by_side(&self) -> usize {
        match self.faults.counts() {
            true => 1,
            false => SIDE_BY_SIDE,
        }
    }

    /// Carries out one write of a plan for `mirror`.
    pub async fn carry_out(
        &self,
        world: &World,
        mirror: &ObjectName,
        write: &Write,
    ) -> Result<(), WriteError> {
        match write {
            Write::AddFinalizer => self.finalizers(world, mirror, true).await,
            Write::RemoveFinalizer => self.finalizers(world, mirror, false).await,
            Write::Create(object) => each!(object => self.create(world, mirror, &**object).await),
            Write::Apply(object) => each!(object => self.apply(world, mirror, &**object).await),
            Write::Grow { name, size, .. } => self.grow(world, mirror, name, size).await,
            Write::Label {
                kind,
                name,
                uid,
                labels,
                ..
            } => {
                let this = (world, mirror, name.as_str());
                let body = json!({"metadata": {"uid": uid, "labels": labels}});
                match kind {
                    Labelled::Claim => self.merge::<PersistentVolumeClaim>(this, body).await,
                    Labelled::Pod => self.merge::<Pod>(this, body).await,
                }
            }
            Write::Orphan { name, uid, .. } => {
                let this = (world, mirror, name.as_str(), uid.as_str());
                self.delete::<StatefulSet>(this, PropagationPolicy::Orphan)
                    .await
            }
            Write::Order {
                name,
                uid,
                order,
                again,
                ..
            } => {
                let mut annotations = json!({SERVE: order.to_string()});
                if let Some(again) = again {
                    annotations[SERVE_AGAIN] = json!(again);
                }
                let body = json!({"metadata": {"uid": uid, "annotations": annotations}});
                self.merge::<Pod>((world, mirror, name), body).await
            }
            Write::List {
                name, uid, list, ..
            } => {
                let body = json!({"metadata": {"uid": uid, "annotations": {LIST: list}}});
                self.merge::<Pod>((world, mirror, name), body).await
            }
            Write::Evict { name, uid, .. } => self.evict(world, mirror, name, uid).await,
            Write::Delete {
                kind, name, uid, ..
            } => self.delete_kind(world, mirror, *kind, name, uid).await,
        }
    }

    async fn delete_kind(
        &self,
        world: &World,
        mirror: &ObjectName,
        kind: Owned,
        name: &str,
        uid: &str,
    ) -> Result<(), WriteError> {
        let (this, policy) = ((world, mirror, name, uid), PropagationPolicy::Background);
        match kind {
            Owned::Claim => self.delete::<PersistentVolumeClaim>(this, policy).await,
            Owned::Service => self.delete::<Service>(this, policy).await,
            Owned::StatefulSet => self.delete::<StatefulSet>(this, policy).await,
            Owned::DisruptionBudget => self.delete::<PodDisruptionBudget>(this, policy).await,
            Owned::Ingress => self.delete::<Ingress>(this, policy).await,
            Owned::HttpRoute => self.delete::<HttpRoute>(this, policy).await,
            Owned::Job => self.delete::<Job>(this, policy).await,
        }
    }

    /// Creates an object. One of that name that is ours counts as created; a stranger's is remembered and left alone.
    async fn create<K: Child>(
        &self,
        world: &World,
        mirror: &ObjectName,
        wanted: &K,
    ) -> Result<(), WriteError> {
        let api: Api<K> = Api::namespaced(self.client.clone(), &mirror.namespace);
        match self.made(&api, wanted).await? {
            Made::New(created) => take_in(world, mirror, &created),
            Made::Found(found) if found.belongs_to(mirror) => take_in(world, mirror, &found),
            Made::Found(found) => return Err(conflict(world, mirror, &found)),
        }
        Ok(())
    }

    /// Creates an object, unless one of that name is there.
    async fn made<K: Kind>(&self, api: &Api<K>, wanted: &K) -> Result<Made<K>, WriteError> {
        let name = wanted.name_any();
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..Default::default()
        };
        match api.create(&params, wanted).await {
            Ok(created) => {
                self.faults.written();
                Ok(Made::New(created))
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                // It was deleted in between: the next plan creates it.
                let gone = || WriteError::Outdated {
                    kind: kind::<K>(),
                    name: name.clone(),
                };
                let found = find(api, &name).await?;
                found.map(Made::Found).ok_or_else(gone)
            }
            Err(error) => Err(WriteError::of(&kind::<K>(), &name, &error)),
        }
    }

    /// Makes an object what we want it to be, leaving what others own. It is looked at first: only what still carries
    /// our labels is written, and only in the very version that carried them.
    async fn apply<K: Child>(
        &self,
        world: &World,
        mirror: &ObjectName,
        wanted: &K,
    ) -> Result<(), WriteError> {
        let api: Api<K> = Api::namespaced(self.client.clone(), &mirror.namespace);
        let name = wanted.name_any();
        let Some(mut live) = find(&api, &name).await? else {
            return self.create(world, mirror, wanted).await;
        };
        if !live.belongs_to(mirror) {
            return Err(conflict(world, mirror, &live));
        }
        if let Some(patch) = ownership::take_over(live.meta(), FIELD_MANAGER) {
            live = self
                .patch(&api, &name, &PatchParams::default(), &Patch::Merge(patch))
                .await?;
        }
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let body = applied(wanted, live.resource_version());
        take_in(
            world,
            mirror,
            &self
                .patch(&api, &name, &params, &Patch::Apply(body))
                .await?,
        );
        Ok(())
    }

    /// Raises a claim's request, in the very version that was seen.
    async fn grow(
        &self,
        world: &World,
        mirror: &ObjectName,
        name: &str,
        size: &str,
    ) -> Result<(), WriteError> {
        let version = PersistentVolumeClaim::kept(&world.owned).version(mirror, name);
        let body = json!({
            "metadata": {"resourceVersion": version.map(|version| version.to_string())},
            "spec": {"resources": {"requests": {"storage": size}}},
        });
        self.merge::<PersistentVolumeClaim>((world, mirror, name), body)
            .await
    }

    /// Changes the fields that `body` names, and nothing if its uid or version is not the object's.
    async fn merge<K: Child>(
        &self,
        (world, mirror, name): (&World, &ObjectName, &str),
        body: Value,
    ) -> Result<(), WriteError> {
        let api: Api<K> = Api::namespaced(self.client.clone(), &mirror.namespace);
        let (params, patch) = (manager(), Patch::Merge(body));
        let written = self.patch(&api, name, &params, &patch).await?;
        take_in(world, mirror, &written);
        Ok(())
    }

    /// Deletes the very object that was seen. One that is gone already is as good.
    async fn delete<K: Child>(
        &self,
        (world, mirror, name, uid): (&World, &ObjectName, &str, &str),
        policy: PropagationPolicy,
    ) -> Result<(), WriteError> {
        let api: Api<K> = Api::namespaced(self.client.clone(), &mirror.namespace);
        match self.leaving(&api, (name, uid), policy).await? {
            Some(leaving) => take_in(world, mirror, &leaving),
            None => K::kept(&world.owned).remove(mirror, name, uid),
        }
        Ok(())
    }

    /// Deletes the very object that was seen. Gives it back while finalizers hold it; none where it is gone.
    async fn leaving<K: Kind>(
        &self,
        api: &Api<K>,
        (name, uid): (&str, &str),
        policy: PropagationPolicy,
    ) -> Result<Option<K>, WriteError> {
        let params = DeleteParams {
            propagation_policy: Some(policy),
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..Default::default()
        };
        match api.delete(name, &params).await {
            Ok(answer) => {
                self.faults.written();
                let left = answer.left();
                Ok(left.filter(|leaving| !leaving.finalizers().is_empty()))
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
            Err(error) => Err(WriteError::of(&kind::<K>(), name, &error)),
        }
    }

    /// Puts our finalizer on a Mirror or takes it off, in the very version that was seen.
    async fn finalizers(
        &self,
        world: &World,
        mirror: &ObjectName,
        wanted: bool,
    ) -> Result<(), WriteError> {
        let unknown = || WriteError::Outdated {
            kind: "Mirror".to_owned(),
            name: mirror.name.clone(),
        };
        let known = world
            .mirrors
            .get(mirror, &mirror.name)
            .ok_or_else(unknown)?;
        let others = known
            .finalizers()
            .iter()
            .filter(|finalizer| *finalizer != CLAIM_FINALIZER)
            .cloned();
        let finalizers: Vec<String> = others
            .chain(wanted.then(|| CLAIM_FINALIZER.to_owned()))
            .collect();
        let api: Api<Mirror> = Api::namespaced(self.client.clone(), &mirror.namespace);
        let body = json!({"metadata": {"resourceVersion": known.resource_version(), "finalizers": finalizers}});
        let written = self
            .patch(&api, &mirror.name, &manager(), &Patch::Merge(body))
            .await?;
        if written.meta().deletion_timestamp.is_some() && written.finalizers().is_empty() {
            world
                .mirrors
                .remove(mirror, &mirror.name, &written.uid().unwrap_or_default());
        } else {
            by_itself(DeserializeGuard(Ok(written))).map(|item| world.mirrors.put(item));
        }
        Ok(())
    }

    async fn patch<K: Kind, P: Serialize + Debug>(
        &self,
        api: &Api<K>,
        name: &str,
        params: &PatchParams,
        patch: &Patch<P>,
    ) -> Result<K, WriteError> {
        let written = api
            .patch(name, params, patch)
            .await
            .map_err(|error| WriteError::of(&kind::<K>(), name, &error))?;
        self.faults.written();
        Ok(written)
    }
}

/// What came of creating an object.
enum Made<K> {
    New(K),
    /// One of that name was there: whose it is has to be seen.
    Found(K),
}

/// Notes an object of ours as the API server answered it.
fn take_in<K: Child>(world: &World, mirror: &ObjectName, object: &K) {
    object
        .under(mirror)
        .map(|item| K::kept(&world.owned).put(item));
    K::kept(&world.strangers).remove_name(mirror, &object.name_any());
}

/// Notes an object that is not ours.
fn conflict<K: Child>(world: &World, mirror: &ObjectName, found: &K) -> WriteError {
    found
        .under(mirror)
        .map(|item| K::kept(&world.strangers).put(item));
    WriteError::NameConflict {
        kind: kind::<K>(),
        name: found.name_any(),
    }
}

/// What is sent to apply `wanted` to exactly the version `version`.
fn applied<K: Kind>(wanted: &K, version: Option<String>) -> Value {
    let mut object = wanted.clone();
    object.meta_mut().resource_version = version;
    json!(object)
}

fn manager() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..Default::default()
    }
}

fn kind<K: Kind>() -> String {
    K::kind(&()).into_owned()
}

#[cfg(test)]
mod tests;
