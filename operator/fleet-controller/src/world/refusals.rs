//! Evictions that the API server refused. No watch tells of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use fleet_plan::{Refusal, SeenPod};
use fleet_types::lock;
use jiff::SignedDuration;

/// By the pod's uid, the newest of each.
#[derive(Default)]
pub struct Refusals(Mutex<HashMap<String, Refusal>>);

/// A pod that is asked for is asked for again long before.
const KEPT: SignedDuration = SignedDuration::from_hours(1);

impl Refusals {
    pub fn note(&self, uid: &str, refusal: Refusal) {
        let mut all = lock(&self.0);
        let now = refusal.at;
        all.retain(|_, known| now.duration_since(known.at) < KEPT);
        all.insert(uid.to_owned(), refusal);
    }

    /// Those of these pods.
    pub fn of(&self, pods: &[SeenPod]) -> BTreeMap<String, Refusal> {
        let all = lock(&self.0);
        let known = |pod: &SeenPod| Some((pod.meta.uid.clone(), all.get(&pod.meta.uid)?.clone()));
        pods.iter().filter_map(known).collect()
    }
}
