//! The kinds that belong to a Mirror: how the planner sees each, and where its objects are kept.

use std::fmt::Debug;
use std::sync::Arc;

use fleet_api::labels;
use fleet_plan::{SeenApplied, SeenClaim, SeenJob, SeenObjects, SeenPod};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Item, Kept, ObjectName, item};

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

/// The objects of Mirrors, by kind.
pub struct Children {
    claims: Arc<Kept<SeenClaim>>,
    stateful_sets: Arc<Kept<SeenApplied>>,
    services: Arc<Kept<SeenApplied>>,
    disruption_budgets: Arc<Kept<SeenApplied>>,
    jobs: Arc<Kept<SeenJob>>,
    pods: Arc<Kept<SeenPod>>,
}

impl Default for Children {
    fn default() -> Self {
        Children {
            claims: Arc::new(Kept::new(PartialEq::ne)),
            stateful_sets: Arc::new(Kept::new(PartialEq::ne)),
            services: Arc::new(Kept::new(PartialEq::ne)),
            disruption_budgets: Arc::new(Kept::new(PartialEq::ne)),
            jobs: Arc::new(Kept::new(PartialEq::ne)),
            pods: Arc::new(Kept::new(PartialEq::ne)),
        }
    }
}

impl Children {
    /// Adds what is known for one Mirror to `objects`.
    pub fn add_to(&self, objects: &mut SeenObjects, mirror: &ObjectName) {
        add(&mut objects.claims, &self.claims, mirror);
        add(&mut objects.stateful_sets, &self.stateful_sets, mirror);
        add(&mut objects.services, &self.services, mirror);
        add(
            &mut objects.disruption_budgets,
            &self.disruption_budgets,
            mirror,
        );
        add(&mut objects.jobs, &self.jobs, mirror);
        add(&mut objects.pods, &self.pods, mirror);
    }

    /// Whether anything is known for a Mirror.
    pub fn any(&self, mirror: &ObjectName) -> bool {
        self.claims.has(mirror)
            || self.stateful_sets.has(mirror)
            || self.services.has(mirror)
            || self.disruption_budgets.has(mirror)
            || self.jobs.has(mirror)
            || self.pods.has(mirror)
    }

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

macro_rules! children {
    ($($kind:ty: $field:ident -> $seen:ty = $view:expr;)+) => {
        $(impl Child for $kind {
            type Seen = $seen;
            fn seen(&self) -> $seen {
                let view: fn(&$kind) -> $seen = $view;
                view(self)
            }
            fn kept(children: &Children) -> &Arc<Kept<$seen>> {
                &children.$field
            }
        })+
    };
}

children! {
    PersistentVolumeClaim: claims -> SeenClaim = |claim| SeenClaim::from(claim);
    StatefulSet: stateful_sets -> SeenApplied = |set| SeenApplied::of(&set.metadata, &set.spec);
    Service: services -> SeenApplied = |service| SeenApplied::of(&service.metadata, &service.spec);
    PodDisruptionBudget: disruption_budgets -> SeenApplied = |budget| SeenApplied::of(&budget.metadata, &budget.spec);
    Job: jobs -> SeenJob = |job| SeenJob::from(job);
    Pod: pods -> SeenPod = |pod| SeenPod::from(pod);
}
