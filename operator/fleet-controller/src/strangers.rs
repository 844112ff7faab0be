//! Objects that are not ours and stand where we want to create something. No watch of ours shows them, so while there is
//! one it is looked at again now and then.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::{Api, Client};

use crate::world::{Child, ObjectName, World};
use crate::write::find;

/// Looks again at the strangers that stand in a Mirror's way: only a person can have removed one.
pub async fn recheck_strangers(client: &Client, world: &World, mirror: &ObjectName) {
    recheck::<PersistentVolumeClaim>(client, world, mirror).await;
    recheck::<StatefulSet>(client, world, mirror).await;
    recheck::<Service>(client, world, mirror).await;
    recheck::<PodDisruptionBudget>(client, world, mirror).await;
    recheck::<Job>(client, world, mirror).await;
}

async fn recheck<K: Child>(client: &Client, world: &World, mirror: &ObjectName) {
    let strangers = K::kept(&world.strangers);
    let api: Api<K> = Api::namespaced(client.clone(), &mirror.namespace);
    for name in strangers.names(mirror) {
        match find(&api, &name).await {
            Ok(Some(found)) if !found.belongs_to(mirror) => {
                found.under(mirror).map(|item| strangers.put(item));
            }
            Ok(_) => strangers.remove_name(mirror, &name),
            Err(error) => {
                tracing::warn!(%mirror, %error, "an object that is not ours cannot be looked at")
            }
        }
    }
}
