//! The kinds that belong to a Mirror: how the planner sees each, and where its objects are kept.

use std::fmt::Debug;
use std::sync::Arc;

use fleet_api::labels;
use fleet_api::mirror::RouteKind;
use fleet_plan::{
    HttpRoute, RoutesAllowed, SeenApplied, SeenClaim, SeenJob, SeenObjects, SeenPod, SeenRoute,
    SeenSlice,
};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Change, Item, Kept, ObjectName, Place, Watches, World, item, our_selector};
use crate::error::WriteError;

/// A kind that lives in a namespace and is known when the program is built.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// A kind whose objects belong to a Mirror.
pub trait Child: Kind {
    /// What decisions need of it.
    type Seen: Clone + PartialEq + Send + Sync + 'static;

    fn seen(&self) -> Self::Seen;

    /// Which of those that carry our labels are watched: as a label selector.
    fn watched() -> String;

    /// Whether there are any to watch.
    fn presence(allowed: &RoutesAllowed) -> Presence;

    fn kept(children: &Children) -> &Arc<Kept<Self::Seen>>;

    /// The object under `mirror`, whatever its labels say.
    fn under(&self, mirror: &ObjectName) -> Option<Item<Self::Seen>> {
        item(mirror.clone(), self, self.seen())
    }

    /// The object under the Mirror that its labels name.
    fn labelled(self) -> Option<Item<Self::Seen>> {
        self.under(&ObjectName::new(
            self.namespace()?,
            self.labels().get(labels::MIRROR)?,
        ))
    }

    /// Whether its labels say that it is ours, of this Mirror.
    fn belongs_to(&self, mirror: &ObjectName) -> bool {
        let label = |key| self.labels().get(key).map(String::as_str);
        label(labels::MANAGED_BY) == Some(labels::MANAGED_BY_VALUE)
            && label(labels::MIRROR) == Some(&mirror.name)
    }
}

/// Whether a kind is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Always,
    /// The installation makes none and grants no right to look.
    Never,
    /// As soon as the cluster has the kind, and as long as it does.
    WhereServed,
}

macro_rules! children {
    ($($kind:ty: $field:ident -> $seen:ty, $change:ident = $view:expr $(, only $more:literal)? $(, where $presence:expr)?;)+) => {
        /// The objects of Mirrors, by kind.
        pub struct Children {
            $($field: Arc<Kept<$seen>>,)+
        }

        impl Default for Children {
            fn default() -> Self {
                Children {
                    $($field: Arc::new(Kept::new(PartialEq::ne)),)+
                }
            }
        }

        impl Children {
            /// Adds what is known for one Mirror to `objects`.
            pub fn add_to(&self, objects: &mut SeenObjects, mirror: &ObjectName) {
                // Without `..`: a kind that is not listed below does not compile.
                let SeenObjects { $($field,)+ warnings: _ } = objects;
                $(add($field, &self.$field, mirror);)+
            }

            /// Whether anything is known for a Mirror.
            pub fn any(&self, mirror: &ObjectName) -> bool {
                false $(|| self.$field.has(mirror))+
            }
        }

        impl Watches {
            /// Starts to watch every kind.
            pub(super) fn all_children(&mut self, place: Place<'_>, world: &World, allowed: &RoutesAllowed) {
                $(self.children::<$kind>(place, |_| Change::$change, world, allowed);)+
            }
        }

        /// Looks again at the strangers that stand in a Mirror's way: only a person can have removed one.
        pub async fn recheck_strangers(client: &Client, world: &World, mirror: &ObjectName) {
            $(recheck::<$kind>(client, world, mirror).await;)+
        }

        $(impl Child for $kind {
            type Seen = $seen;
            fn seen(&self) -> $seen {
                let view: fn(&$kind) -> $seen = $view;
                view(self)
            }
            fn watched() -> String {
                format!("{}{}", our_selector(), concat!($($more)?))
            }
            fn presence(allowed: &RoutesAllowed) -> Presence {
                let told: &[fn(&RoutesAllowed) -> Presence] = &[$($presence)?];
                told.first().map_or(Presence::Always, |told| told(allowed))
            }
            fn kept(children: &Children) -> &Arc<Kept<$seen>> {
                &children.$field
            }
        })+
    };
}

children! {
    PersistentVolumeClaim: claims -> SeenClaim, Object = |claim| SeenClaim::from(claim);
    StatefulSet: stateful_sets -> SeenApplied, Object = |set| SeenApplied::from(set);
    Service: services -> SeenApplied, Object = |service| SeenApplied::of(&service.metadata, &service.spec);
    PodDisruptionBudget: disruption_budgets -> SeenApplied, Object = |budget| SeenApplied::of(&budget.metadata, &budget.spec);
    Ingress: ingresses -> SeenRoute, Object = |ingress| SeenRoute::from(ingress), where ingresses;
    HttpRoute: http_routes -> SeenRoute, Object = |route| SeenRoute::from(route), where http_routes;
    Job: jobs -> SeenJob, Job = |job| SeenJob::from(job);
    Pod: pods -> SeenPod, Pod = |pod| SeenPod::from(pod);
    EndpointSlice: slices -> SeenSlice, Object = |slice| SeenSlice::from(slice), only ",mirrorfleet.dev/awaited";
}

fn ingresses(allowed: &RoutesAllowed) -> Presence {
    match allowed.allows(RouteKind::Ingress) {
        true => Presence::Always,
        false => Presence::Never,
    }
}

fn http_routes(allowed: &RoutesAllowed) -> Presence {
    match allowed.allows(RouteKind::HTTPRoute) {
        true => Presence::WhereServed,
        false => Presence::Never,
    }
}

impl Children {
    /// The Mirror that a claim, StatefulSet or Job belongs to.
    pub fn mirror_of(&self, object: &ObjectName) -> Option<ObjectName> {
        let set = || self.stateful_sets.group_of(object);
        let job = || self.jobs.group_of(object);
        self.claims.group_of(object).or_else(set).or_else(job)
    }

    pub fn jobs(&self) -> &Kept<SeenJob> {
        &self.jobs
    }

    pub fn pods(&self) -> &Kept<SeenPod> {
        &self.pods
    }
}

fn add<T: Clone>(list: &mut Vec<T>, kept: &Kept<T>, mirror: &ObjectName) {
    list.extend(kept.group(mirror).iter().map(|value| T::clone(value)));
}

/// Asks the API server for one object.
pub async fn find<K: Kind>(api: &Api<K>, name: &str) -> Result<Option<K>, WriteError> {
    api.get_opt(name)
        .await
        .map_err(|error| WriteError::of(&K::kind(&()), name, &error))
}

/// Looks again at the objects of one kind that are not ours and stand where we want to create something. No watch of ours
/// shows them.
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
