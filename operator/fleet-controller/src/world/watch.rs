//! Keeps one kind up to date by watching it.

use std::fmt::Debug;
use std::sync::Arc;

use futures::StreamExt;
use kube::Api;
use kube::core::Resource;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::{Item, Kept, ObjectName};

/// Follows a kind for ever: puts each state into `kept` and tells `touched` which groups ask for a decision, with the state
/// before where that is known. `complete` fires when the first list is complete. Errors are logged and tried again with back-off.
pub async fn follow<K, T>(
    api: Api<K>,
    config: watcher::Config,
    kept: Arc<Kept<T>>,
    view: fn(K) -> Option<Item<T>>,
    touched: impl Fn(&ObjectName, Option<Arc<T>>),
    complete: oneshot::Sender<()>,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut complete = Some(complete);
    let mut events = Box::pin(watch(api, config).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => kept.list_begins(),
            Ok(Event::InitApply(object)) => {
                view(object).into_iter().for_each(|item| kept.listed(item))
            }
            Ok(Event::InitDone) => {
                (kept.list_ends().iter()).for_each(|group| touched(group, None));
                complete.take().map(|complete| complete.send(()));
            }
            Ok(Event::Apply(object)) => {
                let Some(item) = view(object) else { continue };
                let group = item.group.clone();
                if let Some(before) = kept.replace(item) {
                    touched(&group, before);
                }
            }
            Ok(Event::Delete(object)) => {
                let Some(item) = view(object) else { continue };
                kept.remove(&item.group, &item.name, &item.uid);
                touched(&item.group, None);
            }
            Err(error) => tracing::warn!(kind = %K::kind(&()), %error, "the watch was interrupted"),
        }
    }
}
