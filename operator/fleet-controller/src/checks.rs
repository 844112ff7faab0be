//! Checks of regions, for their scores: the questions that serving pods are asked anyway, timed and summed up. Nothing is
//! asked for it and nothing is written; a new leader begins with none.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use fleet_api::{Mirror, RegionStatus, labels};
use fleet_plan::observed::PodRole;
use fleet_plan::score::{Check, Checks, PERIOD, Question, Score, last_sync};
use fleet_plan::{Answer, SeenPod};
use fleet_telemetry::ObjectKey;
use fleet_types::documents::ServedStatus;
use fleet_types::lock;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::answers::address;
use crate::context::Context;
use crate::world::{ObjectName, World};

/// What was heard longer ago is no part of a check: a pod is asked twice in this time.
const HEARD: Duration = Duration::from_secs(75);

/// The checks of all regions.
#[derive(Default)]
pub struct RegionChecks(Mutex<HashMap<ObjectName, OfMirror>>);

#[derive(Default)]
struct OfMirror {
    /// By pod.
    heard: BTreeMap<String, Heard>,
    /// By region.
    regions: BTreeMap<String, Checks>,
}

/// What a pod said last.
struct Heard {
    /// Another pod under its name has said nothing yet.
    uid: String,
    at: Instant,
    seconds: f64,
    said: Said,
}

/// As much of an answer as checks are about.
enum Said {
    Nothing,
    Unreachable,
    Serves(Box<ServedStatus>),
}

impl RegionChecks {
    /// A pod was asked, and answered in so many seconds, or did not.
    pub fn heard(&self, mirror: &ObjectName, pod: &SeenPod, answer: &Answer, seconds: f64) {
        let said = match answer {
            Answer::NotAsked => return,
            Answer::Nothing => Said::Nothing,
            Answer::Unreachable(_) => Said::Unreachable,
            Answer::Serves(served) => Said::Serves(Box::new(ServedStatus {
                snapshot: served.snapshot.clone(),
                last_sync: served.last_sync,
                confirmed_at: served.confirmed_at,
                ..ServedStatus::default()
            })),
        };
        let heard = Heard {
            uid: pod.meta.uid.clone(),
            at: Instant::now(),
            seconds,
            said,
        };
        let mut known = self.known();
        let of = known.entry(mirror.clone()).or_default();
        of.heard.insert(pod.meta.name.clone(), heard);
    }

    /// Checks each region of each Mirror at `at` by what was heard of its pods; what its checks come to, by Mirror and region.
    /// Forgets what is no longer there.
    fn check(&self, world: &World, at: Timestamp) -> Vec<(ObjectName, String, Score)> {
        let (now, at) = (Instant::now(), at.as_second());
        let mirrors = world.mirrors.named(|_| true);
        let mut known = self.known();
        let mut before = std::mem::take(&mut *known);
        let mut scores = Vec::new();
        for (name, mirror) in mirrors {
            let mut of = before.remove(&name).unwrap_or_default();
            // Of a Mirror that cannot be read nobody knows which regions it has: what is known of them stays. A registry has no
            // state of its upstream's that could be late.
            if let Ok(mirror) = &mirror.0
                && !mirror.spec.fills_itself()
            {
                let pods = world.owned.pods().group(&name);
                of.check(mirror, &pods, now, at);
                let told = of.regions.iter();
                scores.extend(
                    told.map(|(region, checks)| (name.clone(), region.clone(), checks.score(at))),
                );
            }
            known.insert(name, of);
        }
        scores
    }

    /// What the checks of a Mirror's regions come to.
    pub fn scores(&self, mirror: &ObjectName, now: Timestamp) -> BTreeMap<String, Score> {
        let known = self.known();
        let regions = known.get(mirror).into_iter().flat_map(|of| &of.regions);
        let score = |checks: &Checks| checks.score(now.as_second());
        regions
            .map(|(region, checks)| (region.clone(), score(checks)))
            .collect()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<ObjectName, OfMirror>> {
        lock(&self.0)
    }
}

impl OfMirror {
    fn check(&mut self, mirror: &Mirror, pods: &[Arc<SeenPod>], now: Instant, at: i64) {
        let lives = |name: &String| pods.iter().any(|pod| pod.meta.name == *name);
        self.heard.retain(|name, _| lives(name));
        let declared = &mirror.spec.regions;
        self.regions
            .retain(|name, _| declared.iter().any(|region| region.name == *name));
        let status = mirror.status.as_ref();
        for region in declared {
            let told = status.and_then(|status| {
                let mut regions = status.regions.iter();
                regions.find(|told| told.name == region.name)
            });
            let questions: Vec<Question> = pods
                .iter()
                .filter(|pod| is_of_clients(pod, &region.name, told))
                .map(|pod| self.question(pod, told, now))
                .collect();
            if let Some(check) = Check::of(at, &questions) {
                let checks = self.regions.entry(region.name.clone()).or_default();
                checks.note(check);
            }
        }
    }

    fn question(&self, pod: &SeenPod, region: Option<&RegionStatus>, now: Instant) -> Question {
        if address(pod).is_none() {
            return Question::Failed;
        }
        let heard = self.heard.get(&pod.meta.name);
        let heard = heard.filter(|heard| heard.uid == pod.meta.uid);
        let Some(heard) = heard.filter(|heard| now.duration_since(heard.at) <= HEARD) else {
            return Question::NotAsked;
        };
        let last_sync = match &heard.said {
            Said::Unreachable => return Question::Failed,
            Said::Nothing => None,
            Said::Serves(served) => {
                let superseded = region.and_then(|region| region.superseded_at.as_ref());
                let superseded = superseded.map(|at| at.0.as_second());
                last_sync(served, self.confirmed_at(served), superseded)
            }
        };
        Question::Answered {
            seconds: heard.seconds,
            last_sync,
        }
    }

    /// The latest that any copy knows of what this one serves: what the hub finds to be still so is so of who follows it.
    fn confirmed_at(&self, served: &ServedStatus) -> Option<i64> {
        let all = self.heard.values().filter_map(|heard| match &heard.said {
            Said::Serves(other) if other.snapshot == served.snapshot => other.confirmed_at,
            _ => None,
        });
        all.map(|at| at.0).max()
    }
}

/// Whether a pod is one that clients of a region are led to.
fn is_of_clients(pod: &SeenPod, region: &str, told: Option<&RegionStatus>) -> bool {
    if pod.role != PodRole::Serving || pod.meta.label(labels::REGION) != Some(region) {
        return false;
    }
    let replica = pod.meta.label(labels::REPLICA).unwrap_or("0");
    let replica: Option<usize> = replica.parse().ok();
    let is_left_out = told.zip(replica).is_some_and(|(told, replica)| {
        let replica = told.replicas.get(replica);
        let left_out = replica.is_some_and(|replica| replica.withdrawn_at.is_some());
        left_out && told.withdrawn_at.is_none()
    });
    !is_left_out
}

/// Checks all regions twice a minute until `stop`.
pub async fn keep(context: Arc<Context>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(Duration::from_secs(PERIOD));
    // At first nobody but those has been asked who were before anything was planned.
    ticks.tick().await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if context.answers.are_cut_off() {
            // It is this controller that reaches nobody, which says nothing of regions.
            continue;
        }
        for (name, region, score) in context.checks.check(&context.world, Timestamp::now()) {
            let key = ObjectKey::new(name.namespace, name.name);
            (context.metrics).replace_checks(&key, &region, score.gauges());
        }
    }
}

#[cfg(test)]
mod tests {
    use fleet_types::documents::UnixSeconds;
    use kube::core::DeserializeGuard;
    use serde_json::json;

    use super::*;
    use crate::world::{Item, by_itself};

    const AT: i64 = 1_767_225_600;

    fn name() -> ObjectName {
        ObjectName::new("ns", "arch")
    }

    fn world(regions: &serde_json::Value) -> World {
        let world = World::default();
        let declared = |region: &serde_json::Value| json!({"name": region["name"]});
        let declared: Vec<_> = regions.as_array().unwrap().iter().map(declared).collect();
        let mirror: Mirror = serde_json::from_value(json!({
            "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Mirror",
            "metadata": {"name": "arch", "namespace": "ns", "resourceVersion": "1", "uid": "u"},
            "spec": {"upstreamRef": {"name": "arch"}, "regions": declared,
                "content": {"arch": {"repos": ["core"], "architectures": ["x86_64"]}}},
            "status": {"observedGeneration": 1, "regions": regions},
        }))
        .unwrap();
        by_itself(DeserializeGuard(Ok(mirror))).map(|item| world.mirrors.put(item));
        world
    }

    fn pod(world: &World, region: &str, replica: u32, running: bool) -> SeenPod {
        let mut pod = SeenPod {
            role: PodRole::Serving,
            running,
            ip: Some("192.0.2.1".to_owned()),
            ..SeenPod::default()
        };
        pod.meta.name = format!("arch-{region}-{replica}");
        pod.meta.uid = format!("uid-{region}-{replica}");
        let labels = [
            (labels::REGION, region.to_owned()),
            (labels::REPLICA, replica.to_string()),
        ];
        pod.meta.labels = labels.map(|(key, value)| (key.to_owned(), value)).into();
        let item = Item {
            group: name(),
            name: pod.meta.name.clone(),
            uid: pod.meta.uid.clone(),
            version: 1,
            value: pod.clone(),
        };
        world.owned.pods().put(item);
        pod
    }

    fn serves(snapshot: &str, confirmed_at: i64) -> Answer {
        Answer::Serves(Box::new(ServedStatus {
            snapshot: Some(snapshot.to_owned()),
            confirmed_at: Some(UnixSeconds(confirmed_at)),
            ..ServedStatus::default()
        }))
    }

    fn scores(checks: &RegionChecks, world: &World) -> BTreeMap<String, Score> {
        let at = Timestamp::from_second(AT).unwrap();
        let all = checks.check(world, at).into_iter();
        all.map(|(_, region, score)| (region, score)).collect()
    }

    #[test]
    fn who_was_not_asked_is_not_judged_and_where_nobody_can_be_asked_nobody_answers() {
        let world = world(&json!([{"name": "eu"}, {"name": "us"}, {"name": "ap"}]));
        pod(&world, "eu", 0, true);
        pod(&world, "us", 0, false);
        let told = scores(&RegionChecks::default(), &world);
        assert!(!told.contains_key("eu"), "{told:?}");
        for region in ["us", "ap"] {
            let score = &told[region];
            assert_eq!((score.completion, score.value()), (Some(0.0), None));
        }
    }

    #[test]
    fn what_the_hub_confirms_is_true_of_who_serves_the_same() {
        let world = world(&json!([
            {"name": "eu"}, {"name": "us"}, {"name": "ap", "supersededAt": "2025-12-31T00:00:00Z"},
        ]));
        let checks = RegionChecks::default();
        for (region, snapshot, confirmed) in [
            ("eu", "a", AT - 10),
            ("us", "a", AT - 5000),
            ("ap", "b", AT - 20),
        ] {
            let pod = pod(&world, region, 0, true);
            checks.heard(&name(), &pod, &serves(snapshot, confirmed), 0.25);
        }
        let told = scores(&checks, &world);
        let delays = ["eu", "us", "ap"].map(|region| told[region].delay);
        assert_eq!(delays, [Some(10.0), Some(10.0), Some(86_400.0)]);
        assert_eq!(told["us"].duration_avg, Some(0.25));
        assert_eq!(
            checks.scores(&name(), Timestamp::from_second(AT).unwrap()),
            told
        );
    }

    #[test]
    fn another_pod_under_a_name_has_said_nothing_and_a_copy_that_is_left_out_does_not_count() {
        let world = world(&json!([{"name": "eu", "replicas": [
            {"ready": true}, {"ready": true, "withdrawnAt": "2025-12-31T00:00:00Z"},
        ]}]));
        let checks = RegionChecks::default();
        let mut first = pod(&world, "eu", 0, true);
        let second = pod(&world, "eu", 1, true);
        checks.heard(&name(), &second, &serves("a", AT), 0.1);
        first.meta.uid = "of the pod before".to_owned();
        checks.heard(&name(), &first, &serves("a", AT), 0.1);
        assert_eq!(scores(&checks, &world), BTreeMap::new());
        let first = pod(&world, "eu", 0, true);
        checks.heard(&name(), &first, &Answer::Unreachable(String::new()), 2.0);
        assert_eq!(scores(&checks, &world)["eu"].completion, Some(0.0));
    }

    #[test]
    fn a_mirror_that_is_gone_is_forgotten() {
        let world = world(&json!([{"name": "eu"}]));
        let checks = RegionChecks::default();
        let pod = pod(&world, "eu", 0, true);
        checks.heard(&name(), &pod, &serves("a", AT), 0.1);
        assert_eq!(scores(&checks, &world).len(), 1);
        world.mirrors.remove_name(&name(), "arch");
        assert_eq!(scores(&checks, &world), BTreeMap::new());
        assert!(checks.known().is_empty());
    }
}
