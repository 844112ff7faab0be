//! Objects that are not ours and stand where we want to create something. No watch of ours shows them, so while there is
//! one it is looked at again now and then.

use kube::{Api, Client};

use crate::world::{Child, ObjectName, World};
use crate::write::find;

/// Looks again at those of one kind.
pub async fn recheck<K: Child>(client: &Client, world: &World, mirror: &ObjectName) {
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
