//! Every write to the Kubernetes API, and the rules that hold for all of them:
//!
//! - an object that is not ours is never written;
//! - what was written is known at once, before the watch tells;
//! - every successful write is counted by [`crate::faults`], the test hook that ends the process between two of them.

mod status;

use std::fmt::Debug;

use fleet_api::Mirror;
use fleet_api::labels::{CLAIM_FINALIZER, FIELD_MANAGER};
use fleet_plan::{ChildKind, Write};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::core::DeserializeGuard;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::WriteError;
use crate::faults::Faults;
use crate::ownership;
use crate::world::{Child, Kind, ObjectName, World, by_itself};

/// The one place that writes.
pub struct Writer {
    client: Client,
    faults: Faults,
}

impl Writer {
    pub fn new(client: Client) -> Self {
        Writer {
            client,
            faults: Faults::from_environment(),
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
            Write::CreateClaim(claim) => self.create(world, mirror, &**claim).await,
            Write::GrowClaim { name, size, .. } => self.grow(world, mirror, name, size).await,
            Write::ApplyService(service) => self.apply(world, mirror, &**service).await,
            Write::ApplyStatefulSet(set) => self.apply(world, mirror, &**set).await,
            Write::ApplyDisruptionBudget(budget) => self.apply(world, mirror, &**budget).await,
            Write::CreateJob(job) => self.create(world, mirror, &**job).await,
            Write::Delete {
                kind, name, uid, ..
            } => match kind {
                ChildKind::Claim => {
                    self.delete::<PersistentVolumeClaim>(world, mirror, name, uid)
                        .await
                }
                ChildKind::Service => self.delete::<Service>(world, mirror, name, uid).await,
                ChildKind::StatefulSet => {
                    self.delete::<StatefulSet>(world, mirror, name, uid).await
                }
                ChildKind::DisruptionBudget => {
                    self.delete::<PodDisruptionBudget>(world, mirror, name, uid)
                        .await
                }
                ChildKind::Job => self.delete::<Job>(world, mirror, name, uid).await,
            },
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
        let name = wanted.name_any();
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..Default::default()
        };
        match api.create(&params, wanted).await {
            Ok(created) => {
                self.faults.written();
                take_in(world, mirror, &created);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                match find(&api, &name).await? {
                    Some(found) if found.belongs_to(mirror) => {
                        take_in(world, mirror, &found);
                        Ok(())
                    }
                    Some(found) => Err(conflict(world, mirror, &found)),
                    // It was deleted in between: the next plan creates it.
                    None => Err(WriteError::Outdated {
                        kind: kind::<K>(),
                        name,
                    }),
                }
            }
            Err(error) => Err(failed(&kind::<K>(), &name, &error)),
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
        let api: Api<PersistentVolumeClaim> =
            Api::namespaced(self.client.clone(), &mirror.namespace);
        let version = PersistentVolumeClaim::kept(&world.owned).version(mirror, name);
        let body = json!({
            "metadata": {"resourceVersion": version.map(|version| version.to_string())},
            "spec": {"resources": {"requests": {"storage": size}}},
        });
        take_in(
            world,
            mirror,
            &self
                .patch(&api, name, &manager(), &Patch::Merge(body))
                .await?,
        );
        Ok(())
    }

    /// Deletes the very object that was seen. One that is gone already is as good.
    async fn delete<K: Child>(
        &self,
        world: &World,
        mirror: &ObjectName,
        name: &str,
        uid: &str,
    ) -> Result<(), WriteError> {
        let api: Api<K> = Api::namespaced(self.client.clone(), &mirror.namespace);
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..Default::default()
        };
        match api.delete(name, &params).await {
            Ok(answer) => {
                self.faults.written();
                match answer
                    .left()
                    .filter(|leaving| !leaving.finalizers().is_empty())
                {
                    Some(leaving) => take_in(world, mirror, &leaving),
                    None => K::kept(&world.owned).remove(mirror, name, uid),
                }
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => {
                K::kept(&world.owned).remove(mirror, name, uid);
                Ok(())
            }
            Err(error) => Err(failed(&kind::<K>(), name, &error)),
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
            .map_err(|error| failed(&kind::<K>(), name, &error))?;
        self.faults.written();
        Ok(written)
    }
}

pub async fn find<K: Kind>(api: &Api<K>, name: &str) -> Result<Option<K>, WriteError> {
    api.get_opt(name)
        .await
        .map_err(|error| failed(&kind::<K>(), name, &error))
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

fn failed(kind: &str, name: &str, error: &kube::Error) -> WriteError {
    let (kind, name) = (kind.to_owned(), name.to_owned());
    match error {
        kube::Error::Api(status) if status.is_conflict() || status.is_not_found() => {
            WriteError::Outdated { kind, name }
        }
        kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422) => WriteError::Refused {
            kind,
            name,
            message: status.message.clone(),
        },
        kube::Error::Api(status) => WriteError::Api {
            kind,
            name,
            message: status.message.clone(),
        },
        error => WriteError::Api {
            kind,
            name,
            message: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests;
