//! Jobs that ask Upstreams.

use k8s_openapi::api::batch::v1::Job;
use kube::api::PropagationPolicy;
use kube::{Api, ResourceExt};

use super::{Made, Writer, kind};
use crate::error::WriteError;
use crate::world::{ObjectName, World, probers};

impl Writer {
    /// Creates a Job that asks an Upstream. One of that name that does is as good; a stranger's is left alone.
    pub async fn begin_probe(
        &self,
        world: &World,
        upstream: &ObjectName,
        wanted: &Job,
    ) -> Result<(), WriteError> {
        let api: Api<Job> = Api::namespaced(self.client.clone(), &upstream.namespace);
        let job = match self.made(&api, wanted).await? {
            Made::New(created) => created,
            Made::Found(found) if probers::asks(&found, upstream) => found,
            Made::Found(found) => {
                return Err(WriteError::NameConflict {
                    kind: kind::<Job>(),
                    name: found.name_any(),
                });
            }
        };
        probers::job(job).map(|item| world.probers.jobs.put(item));
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
        let policy = PropagationPolicy::Background;
        let leaving = self.leaving(&api, (name, uid), policy).await?;
        match leaving.and_then(probers::job) {
            Some(leaving) => drop(world.probers.jobs.put(leaving)),
            None => world.probers.jobs.remove(upstream, name, uid),
        }
        Ok(())
    }
}
