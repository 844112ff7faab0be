//! Keeps one kind up to date by watching it.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use kube::core::Resource;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::{Item, Kept, ObjectName};

/// How often it is asked whether the cluster has come to have a kind.
pub const ASK_AGAIN: Duration = Duration::from_secs(15);
/// The same where nobody could tell.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// Whether the cluster has a kind that it need not have.
#[derive(Debug, Default)]
pub struct Served(AtomicBool);

impl Served {
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self, served: bool) {
        self.0.store(served, Ordering::Release);
    }
}

/// Told which groups ask for a decision, with the state before where that is known.
type Touched<T> = Box<dyn Fn(&ObjectName, Option<Arc<T>>) + Send + Sync>;

/// Puts each state of a kind into `kept`.
pub struct Follower<K, T> {
    pub api: Api<K>,
    pub config: watcher::Config,
    pub kept: Arc<Kept<T>>,
    pub view: fn(K) -> Option<Item<T>>,
    pub touched: Touched<T>,
    /// Fires when the first list is complete.
    pub complete: Option<oneshot::Sender<()>>,
    /// How often it is asked whether the cluster has come to have the kind, where that need not be.
    pub ask_again: Duration,
}

impl<K, T> Follower<K, T>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    /// For ever. Errors are logged and tried again with back-off.
    pub async fn follow(mut self) {
        self.follow_until(|_| false).await;
    }

    /// As long as the cluster has the kind, and again when it has it again: what is not there is not watched for, but asked
    /// for now and then. `changed` is told when that has changed.
    pub async fn follow_where_served(
        mut self,
        client: Client,
        served: Arc<Served>,
        changed: impl Fn(),
    ) {
        loop {
            match is_served::<K>(&client).await {
                Ok(true) => {
                    tracing::info!(kind = %K::kind(&()), "the cluster has this kind");
                    served.set(true);
                    changed();
                    self.follow_until(is_gone).await;
                    tracing::info!(kind = %K::kind(&()), "the cluster has this kind no more");
                    served.set(false);
                    self.kept.list_begins();
                    self.list_ends();
                    changed();
                }
                Ok(false) => self.completed(),
                Err(error) => {
                    tracing::warn!(kind = %K::kind(&()), %error, "nobody tells whether the cluster has this kind");
                    tokio::time::sleep(TRY_AGAIN).await;
                    continue;
                }
            }
            tokio::time::sleep(self.ask_again).await;
        }
    }

    async fn follow_until(&mut self, ends: fn(&watcher::Error) -> bool) {
        let mut events = Box::pin(watch(self.api.clone(), self.config.clone()).default_backoff());
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => self.kept.list_begins(),
                Ok(Event::InitApply(object)) => (self.view)(object)
                    .into_iter()
                    .for_each(|item| self.kept.listed(item)),
                Ok(Event::InitDone) => {
                    self.list_ends();
                    self.completed();
                }
                Ok(Event::Apply(object)) => {
                    let Some(item) = (self.view)(object) else {
                        continue;
                    };
                    let group = item.group.clone();
                    if let Some(before) = self.kept.replace(item) {
                        (self.touched)(&group, before);
                    }
                }
                Ok(Event::Delete(object)) => {
                    let Some(item) = (self.view)(object) else {
                        continue;
                    };
                    self.kept.remove(&item.group, &item.name, &item.uid);
                    (self.touched)(&item.group, None);
                }
                Err(error) if ends(&error) => return,
                Err(error) => {
                    tracing::warn!(kind = %K::kind(&()), %error, "the watch was interrupted")
                }
            }
        }
    }

    fn list_ends(&self) {
        (self.kept.list_ends().iter()).for_each(|group| (self.touched)(group, None));
    }

    fn completed(&mut self) {
        // Nobody waits any more: the process is ending.
        let _ = self.complete.take().map(|complete| complete.send(()));
    }
}

/// Whether the API server knows the kind, by what it tells to everybody.
async fn is_served<K: Resource<DynamicType = ()>>(client: &Client) -> Result<bool, kube::Error> {
    let version = K::api_version(&());
    match client.list_api_group_resources(&version).await {
        Ok(list) => Ok(list
            .resources
            .iter()
            .any(|known| known.kind == K::kind(&()))),
        Err(kube::Error::Api(status)) if is_unknown(&status) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the API server knows the kind no more.
fn is_gone(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => is_unknown(status),
        _ => false,
    }
}

/// What the API server answers where there is no such path: `404` with a line of text, and so without a Status' reason.
fn is_unknown(status: &kube::core::Status) -> bool {
    status.code == 404
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;

    use fleet_plan::{HttpRoute, SeenRoute};
    use fleet_types::lock;
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;
    use tokio::sync::Notify;

    use super::*;
    use crate::world::Child;

    /// What the cluster is asked.
    #[derive(Default)]
    struct Cluster {
        asked: Mutex<Vec<&'static str>>,
        /// Each lasts for one question, the last one for ever.
        has_the_kind: Mutex<Vec<bool>>,
    }

    impl Cluster {
        /// As a real API server answers: of what it does not know it says so in plain text.
        fn answer(&self, uri: &http::Uri) -> (u16, String) {
            let (what, is_there) = {
                let mut has = lock(&self.has_the_kind);
                let is_there = has.first().copied().unwrap_or_default();
                let is_watch = uri
                    .query()
                    .is_some_and(|query| query.contains("watch=true"));
                let what = match (uri.path().ends_with("/httproutes"), is_watch) {
                    (true, true) => "watch",
                    (true, false) => "list",
                    (false, _) => "discovery",
                };
                if what != "list" && has.len() > 1 {
                    has.remove(0);
                }
                (what, is_there)
            };
            lock(&self.asked).push(what);
            let route = json!({"metadata": {"name": "a", "namespace": "ns", "uid": "u", "resourceVersion": "5",
                "labels": {"mirrorfleet.dev/mirror": "debian"}}, "spec": {}});
            let found = match (what, is_there) {
                ("discovery", true) => Some(
                    json!({"groupVersion": "gateway.networking.k8s.io/v1", "resources": [
                        {"name": "httproutes", "singularName": "", "namespaced": true, "kind": "HTTPRoute", "verbs": []}]}),
                ),
                ("list", true) => {
                    Some(json!({"metadata": {"resourceVersion": "5"}, "items": [route]}))
                }
                _ => None,
            };
            found.map_or((404, "404 page not found\n".to_owned()), |found| {
                (200, found.to_string())
            })
        }
    }

    fn client(cluster: &Arc<Cluster>) -> Client {
        let cluster = cluster.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (code, answer) = cluster.answer(request.uri());
            let body = Body::from(answer.into_bytes());
            let answer = Response::builder().status(code).body(body).unwrap();
            async move { Ok::<_, Infallible>(answer) }
        });
        Client::new(service, "ns")
    }

    #[tokio::test]
    async fn a_kind_that_the_cluster_lacks_is_asked_for_and_watched_only_while_it_is_there() {
        // Not there; there, listed, and gone when it is to be watched; not there any more.
        let cluster = Arc::new(Cluster {
            has_the_kind: Mutex::new(vec![false, true, true, false, false]),
            ..Cluster::default()
        });
        let client = client(&cluster);
        let (sender, complete) = oneshot::channel();
        let kept: Arc<Kept<SeenRoute>> = Arc::new(Kept::new(PartialEq::ne));
        let follower = Follower {
            api: Api::<HttpRoute>::all(client.clone()),
            config: watcher::Config::default(),
            kept: kept.clone(),
            view: HttpRoute::labelled,
            touched: Box::new(|_, _| {}),
            complete: Some(sender),
            ask_again: Duration::from_millis(1),
        };
        let (served, told) = (Arc::new(Served::default()), Arc::new(Notify::new()));
        let states = Arc::new(Mutex::new(Vec::new()));
        let (changed, noted, of) = (told.clone(), states.clone(), served.clone());
        let mirror = ObjectName::new("ns", "debian");
        let (known, group) = (kept.clone(), mirror.clone());
        let follow = follower.follow_where_served(client, served.clone(), move || {
            lock(&noted).push((of.get(), known.has(&group)));
            changed.notify_one();
        });
        let task = tokio::spawn(follow);
        complete.await.unwrap();
        assert!(!served.get());
        while lock(&states).len() < 2 {
            told.notified().await;
        }
        assert_eq!(*lock(&states), [(true, false), (false, false)]);
        assert!(!kept.has(&mirror), "what was there is gone with its kind");
        // It goes on to ask, and nothing else.
        let count = || lock(&cluster.asked).len();
        let before = count();
        while count() < before + 10 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        task.abort();
        let asked = lock(&cluster.asked).clone();
        let watching = asked.iter().filter(|what| **what != "discovery").copied();
        assert_eq!(watching.collect::<Vec<_>>(), ["list", "watch"], "{asked:?}");
        assert!(asked.ends_with(&["discovery"; 5]), "{asked:?}");
    }
}
