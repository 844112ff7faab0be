//! The world as the controller knows it, from watches and from the answers to its own writes. Nothing here asks the
//! API server for anything that a watch tells.

mod child;
mod kept;
pub mod probers;
mod refusals;
mod watch;

use std::fmt;
use std::sync::Arc;

use fleet_api::mirror::RouteKind;
use fleet_api::{Mirror, Upstream, labels};
use fleet_plan::{RoutesAllowed, SeenObjects, SeenWarning, names};
use k8s_openapi::api::core::v1::Event;
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::error::ControllerError;

pub use child::{Child, Children, Kind, Presence, find, recheck_strangers};
pub use kept::{Item, Kept};
pub use probers::Probers;
pub use refusals::Refusals;
use watch::{Follower, Served};

/// Namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    pub namespace: String,
    pub name: String,
}

impl ObjectName {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        ObjectName {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One object that a person wrote; invalid ones are kept too, so that their status can say so.
pub type Guarded<K> = DeserializeGuard<K>;

/// Everything that is watched.
pub struct World {
    pub mirrors: Arc<Kept<Guarded<Mirror>>>,
    pub upstreams: Arc<Kept<Guarded<Upstream>>>,
    /// What carries our labels.
    pub owned: Children,
    /// What stands where we want to create something and is not ours, under the Mirror that wants it. It is known from
    /// refused writes only, since no watch of ours shows it.
    pub strangers: Children,
    /// What asks Upstreams that need a Secret.
    pub probers: Probers,
    /// Which pods could not be evicted when that was last tried.
    pub refusals: Refusals,
    /// Whether the cluster has HTTPRoutes.
    pub serves_http_routes: Arc<Served>,
    /// What Kubernetes says about objects that could be ours, under the object that it is about.
    pub warnings: Arc<Kept<SeenWarning>>,
}

impl Default for World {
    fn default() -> Self {
        World {
            mirrors: Arc::new(Kept::referring(decision_changed, upstream_of)),
            // Mirrors look at an Upstream's status too.
            upstreams: Arc::new(Kept::new(|a, b| {
                a.meta().resource_version != b.meta().resource_version
            })),
            owned: Children::default(),
            strangers: Children::default(),
            probers: Probers::default(),
            refusals: Refusals::default(),
            serves_http_routes: Arc::default(),
            warnings: Arc::new(Kept::new(|a, b| a.uid != b.uid || a.message != b.message)),
        }
    }
}

impl World {
    /// Everything that is known for one Mirror.
    pub fn of(&self, mirror: &ObjectName) -> SeenObjects {
        let mut objects = SeenObjects::default();
        self.owned.add_to(&mut objects, mirror);
        self.strangers.add_to(&mut objects, mirror);
        let names = objects.metas().map(|(_, meta)| &meta.name);
        let about: std::collections::BTreeSet<_> = names.collect();
        let warnings = about.into_iter().flat_map(|name| {
            self.warnings
                .group(&ObjectName::new(&mirror.namespace, name))
        });
        objects.warnings = warnings
            .map(|warning| SeenWarning::clone(&warning))
            .collect();
        objects
    }
}

/// Whether a person (or the API server on a person's behalf) changed something. Our own status writes do not count.
fn decision_changed<K: Resource>(a: &Guarded<K>, b: &Guarded<K>) -> bool
where
    Guarded<K>: Resource,
{
    let (a, b) = (a.meta(), b.meta());
    a.generation != b.generation
        || a.annotations != b.annotations
        || a.finalizers != b.finalizers
        || a.deletion_timestamp.is_some() != b.deletion_timestamp.is_some()
}

/// The Upstream that a Mirror names.
fn upstream_of(mirror: &Guarded<Mirror>) -> Option<ObjectName> {
    let mirror = mirror.0.as_ref().ok()?;
    let namespace = mirror.metadata.namespace.as_deref()?;
    Some(ObjectName::new(namespace, &mirror.spec.upstream_ref.name))
}

/// What changed about a group of objects.
#[derive(Debug)]
pub enum Change {
    Mirror,
    /// An Upstream, and what it was before, as far as that is known.
    Upstream(Option<Arc<Guarded<Upstream>>>),
    /// A claim, StatefulSet, Service, PodDisruptionBudget or route of a Mirror.
    Object,
    /// A sync Job of a Mirror.
    Job,
    /// A pod of a Mirror.
    Pod,
    /// What asks an Upstream.
    Prober,
    /// What Kubernetes says about an object; the group is the object, not its Mirror.
    Warning,
}

/// Told about each group of objects that asks for a decision.
pub type Listener = Arc<dyn Fn(Change, &ObjectName) + Send + Sync>;

/// What it is called that an object of one kind changed, given its state before.
type Called<T> = fn(Option<Arc<T>>) -> Change;

/// Where to watch, and whom to tell.
type Place<'a> = (&'a Client, Option<&'a str>, &'a Listener);

/// The watches, running.
pub struct Watches {
    tasks: JoinSet<()>,
    complete: Vec<oneshot::Receiver<()>>,
}

impl Watches {
    /// Starts to watch everything, in one namespace or in all, but routes that are not made here.
    pub fn start(
        client: &Client,
        namespace: Option<&str>,
        world: &World,
        allowed: &RoutesAllowed,
        listener: &Listener,
    ) -> Watches {
        let mut watches = Watches::of_manifests(client, namespace, world, listener);
        let place = (client, namespace, listener);
        let all = watcher::Config::default;
        watches.all_children(place, world, allowed);
        let asking = || all().labels(&probers::selector());
        let Probers { jobs, pods } = &world.probers;
        watches.add(place, |_| Change::Prober, asking(), jobs, probers::job);
        watches.add(place, |_| Change::Prober, asking(), pods, probers::pod);
        let told = all().fields(TELLING_EVENTS);
        watches.add(place, |_| Change::Warning, told, &world.warnings, warning);
        watches
    }

    /// Starts to watch only what people write.
    pub fn of_manifests(
        client: &Client,
        namespace: Option<&str>,
        world: &World,
        listener: &Listener,
    ) -> Watches {
        let mut watches = Watches {
            tasks: JoinSet::new(),
            complete: Vec::new(),
        };
        let place = (client, namespace, listener);
        let all = watcher::Config::default;
        watches.add(place, |_| Change::Mirror, all(), &world.mirrors, by_itself);
        watches.add(place, Change::Upstream, all(), &world.upstreams, by_itself);
        watches
    }

    fn children<K: Child>(
        &mut self,
        place: Place<'_>,
        called: Called<K::Seen>,
        world: &World,
        allowed: &RoutesAllowed,
    ) {
        let ours = watcher::Config::default().labels(&K::watched());
        let kept = K::kept(&world.owned);
        match K::presence(allowed) {
            Presence::Never => {}
            Presence::Always => self.add(place, called, ours, kept, K::labelled),
            Presence::WhereServed => {
                let (client, _, listener) = place;
                let (listener, mirrors) = (listener.clone(), world.mirrors.clone());
                // Who wants what there is only now, or is no more.
                let changed = move || {
                    for (mirror, _) in mirrors.named(wants_http_route) {
                        listener(Change::Object, &mirror);
                    }
                };
                let follower = self.follower(place, called, ours, kept, K::labelled);
                let served = world.serves_http_routes.clone();
                let follow = follower.follow_where_served(client.clone(), served, changed);
                self.tasks.spawn(follow);
            }
        }
    }

    fn add<K, T: Send + Sync + 'static>(
        &mut self,
        place: Place<'_>,
        called: Called<T>,
        config: watcher::Config,
        kept: &Arc<Kept<T>>,
        view: fn(K) -> Option<Item<T>>,
    ) where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + DeserializeOwned + fmt::Debug + Send + 'static,
    {
        let follower = self.follower(place, called, config, kept, view);
        self.tasks.spawn(follower.follow());
    }

    fn follower<K, T: Send + Sync + 'static>(
        &mut self,
        (client, namespace, listener): Place<'_>,
        called: Called<T>,
        config: watcher::Config,
        kept: &Arc<Kept<T>>,
        view: fn(K) -> Option<Item<T>>,
    ) -> Follower<K, T>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + DeserializeOwned + fmt::Debug + Send + 'static,
    {
        let api = match namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let listener = listener.clone();
        let (sender, receiver) = oneshot::channel();
        self.complete.push(receiver);
        Follower {
            api,
            config,
            kept: kept.clone(),
            view,
            touched: Box::new(move |group, before| listener(called(before), group)),
            complete: Some(sender),
            ask_again: watch::ASK_AGAIN,
        }
    }

    /// Returns when every kind is known completely.
    pub async fn complete(&mut self) -> Result<(), ControllerError> {
        for complete in self.complete.drain(..) {
            complete.await.map_err(|_| ControllerError::WatchEnded)?;
        }
        Ok(())
    }

    /// Returns when a watch ended, which none does by itself.
    pub async fn ended(&mut self) {
        let _ = self.tasks.join_next().await;
    }
}

fn wants_http_route(mirror: &Guarded<Mirror>) -> bool {
    let mirror = mirror.0.as_ref();
    let route = mirror
        .ok()
        .and_then(|mirror| mirror.spec.serving.route.as_ref());
    route.is_some_and(|route| route.kind == RouteKind::HTTPRoute)
}

fn our_selector() -> String {
    format!(
        "{}={},{}",
        labels::MANAGED_BY,
        labels::MANAGED_BY_VALUE,
        labels::MIRROR
    )
}

/// Of all Events these can say why a pod was not made or a claim gets no volume. Field selectors know no *or*; the
/// many that others' pods, nodes and ReplicaSets bring stay away.
const TELLING_EVENTS: &str = "involvedObject.kind!=Pod,involvedObject.kind!=Node,involvedObject.kind!=ReplicaSet,\
    involvedObject.kind!=Deployment,reason!=SuccessfulCreate,reason!=Completed";

/// What an Event says, under the object that it is about.
fn warning(event: Event) -> Option<Item<SeenWarning>> {
    let about = &event.involved_object;
    let group = ObjectName::new(about.namespace.clone()?, about.name.clone()?);
    if !names::could_be_ours(&group.name) {
        return None;
    }
    item(group, &event, SeenWarning::of(&event)?)
}

/// An object that is its own group, without what no decision looks at.
pub fn by_itself<K: Resource>(mut object: K) -> Option<Item<K>> {
    object.managed_fields_mut().clear();
    object
        .annotations_mut()
        .remove("kubectl.kubernetes.io/last-applied-configuration");
    let meta = object.meta();
    let group = ObjectName::new(meta.namespace.clone()?, meta.name.clone()?);
    let Item {
        group,
        name,
        uid,
        version,
        value: (),
    } = item(group, &object, ())?;
    Some(Item {
        group,
        name,
        uid,
        version,
        value: object,
    })
}

/// An object under a group of the caller's choice.
pub fn item<T>(group: ObjectName, object: &impl Resource, value: T) -> Option<Item<T>> {
    Some(Item {
        group,
        name: object.meta().name.clone()?,
        uid: object.uid().unwrap_or_default(),
        version: object
            .resource_version()
            .and_then(|version| version.parse().ok())
            .unwrap_or_default(),
        value,
    })
}
