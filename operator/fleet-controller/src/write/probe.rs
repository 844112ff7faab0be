//! Jobs that ask Upstreams.

use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, PostParams, Preconditions, PropagationPolicy};
use kube::{Api, ResourceExt};

use fleet_api::labels::FIELD_MANAGER;

use super::Writer;
use crate::error::WriteError;
use crate::world::{ObjectName, World, find, probers};

impl Writer {
    /// Creates a Job that asks an Upstream. One of that name that does is as good; a stranger's is left alone.
    pub async fn begin_probe(
        &self,
        world: &World,
        upstream: &ObjectName,
        wanted: &Job,
    ) -> Result<(), WriteError> {
        let api: Api<Job> = Api::namespaced(self.client.clone(), &upstream.namespace);
        let name = wanted.name_any();
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..Default::default()
        };
        let made = match api.create(&params, wanted).await {
            Ok(created) => {
                self.faults.written();
                created
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                match find(&api, &name).await? {
                    Some(found) if probers::asks(&found, upstream) => found,
                    Some(_) => {
                        let kind = "Job".to_owned();
                        return Err(WriteError::NameConflict { kind, name });
                    }
                    // It was deleted in between: the next plan creates it.
                    None => {
                        let kind = "Job".to_owned();
                        return Err(WriteError::Outdated { kind, name });
                    }
                }
            }
            Err(error) => return Err(WriteError::of("Job", &name, &error)),
        };
        probers::job(made).map(|item| world.probers.jobs.put(item));
        Ok(())
    }

    /// Deletes the very Job that was seen, with its pod. One that is gone already is as good.
    pub async fn remove_probe(
        &self,
        world: &World,
        upstream: &ObjectName,
        (name, uid): (&str, &str),
    ) -> Result<(), WriteError> {
        let api: Api<Job> = Api::namespaced(self.client.clone(), &upstream.namespace);
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
                let leaving = answer.left().filter(|it| !it.finalizers().is_empty());
                match leaving.and_then(probers::job) {
                    Some(leaving) => drop(world.probers.jobs.put(leaving)),
                    None => world.probers.jobs.remove(upstream, name, uid),
                }
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => {
                world.probers.jobs.remove(upstream, name, uid);
                Ok(())
            }
            Err(error) => Err(WriteError::of("Job", name, &error)),
        }
    }
}
