//! What all reconciliations of one leader share.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fleet_api::{Mirror, labels};
use fleet_plan::{Claimant, Settings, Turn, TurnBook};
use fleet_telemetry::ControllerMetrics;
use futures::StreamExt;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};

use crate::answers::{Answers, Asker, address};
use crate::options::{ControllerOptions, Intervals};
use crate::probe::{Authorities, Budget};
use crate::work::Requests;
use crate::world::{Change, Guarded, Listener, ObjectName, World};
use crate::write::Writer;

/// A Mirror's pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodKey {
    pub mirror: ObjectName,
    pub pod: String,
}

/// Where to ask for work.
#[derive(Clone)]
pub struct Wishes {
    pub mirrors: Requests<ObjectName>,
    pub upstreams: Requests<ObjectName>,
    pub pods: Requests<PodKey>,
}

/// Everything that a reconciliation uses.
pub struct Context {
    pub client: Client,
    pub world: Arc<World>,
    pub writer: Writer,
    pub asker: Asker,
    pub answers: Answers,
    pub authorities: Authorities,
    pub probe_budget: Budget,
    pub fleet: Mutex<FleetMemory>,
    pub failures: Failures,
    pub metrics: Arc<ControllerMetrics>,
    pub recorder: Recorder,
    pub wishes: Wishes,
    pub settings: Settings,
    pub intervals: Intervals,
    pub user_agent: String,
}

/// What one Mirror's plan must know of all others.
#[derive(Default)]
pub struct FleetMemory {
    turns: TurnBook,
    /// At which Upstream each Mirror last stood in line.
    lines: HashMap<ObjectName, String>,
    rollouts: HashMap<ObjectName, Rollout>,
}

/// Restarts of one Mirror's regions that are under way.
struct Rollout {
    regions: u32,
    /// When they began; a restart that is followed by another one begins anew only when all are done.
    since: Instant,
}

/// A restart that takes longer holds up nobody else's: perhaps its old pod can never be deleted.
const ROLLOUT_PATIENCE: Duration = Duration::from_secs(600);
/// How long a new leader hears pods before it plans, and how many of them at once.
const FIRST_ROUND: Duration = Duration::from_secs(10);
const ASKED_AT_ONCE: usize = 64;

impl FleetMemory {
    /// What the other Mirrors of an Upstream do.
    pub fn others(&self, mirror: &ObjectName, upstream: &str) -> Vec<Claimant> {
        self.turns.others(
            &(mirror.namespace.clone(), upstream.to_owned()),
            &mirror.name,
        )
    }

    /// Notes what a Mirror does; gives back the Mirrors that should be planned again.
    pub fn record(
        &mut self,
        mirror: &ObjectName,
        upstream: &str,
        turn: Turn,
        rollouts: u32,
    ) -> Vec<ObjectName> {
        self.lines.insert(mirror.clone(), upstream.to_owned());
        match rollouts {
            0 => drop(self.rollouts.remove(mirror)),
            regions => {
                let begin = Rollout {
                    regions,
                    since: Instant::now(),
                };
                self.rollouts.entry(mirror.clone()).or_insert(begin).regions = regions;
            }
        };
        let woken = self.turns.record(
            &(mirror.namespace.clone(), upstream.to_owned()),
            &mirror.name,
            turn,
        );
        woken
            .into_iter()
            .map(|name| ObjectName::new(&mirror.namespace, name))
            .collect()
    }

    /// Notes that a Mirror is gone; gives back the Mirrors that should be planned again.
    pub fn leave(&mut self, mirror: &ObjectName) -> Vec<ObjectName> {
        let Some(upstream) = self.lines.remove(mirror) else {
            return Vec::new();
        };
        let woken = self.record(mirror, &upstream, Turn::Idle, 0);
        self.lines.remove(mirror);
        woken
    }

    /// How many regions of other Mirrors are being restarted by us, of at most `max`. Half of them are for whoever comes;
    /// of the other half a namespace that has one already gets none, so that no tenant holds up all others.
    pub fn rollouts_elsewhere(&self, mirror: &ObjectName, max: u32) -> u32 {
        let (mut all, mut own) = (0, 0);
        for (other, rollout) in &self.rollouts {
            if other == mirror || rollout.since.elapsed() > ROLLOUT_PATIENCE {
                continue;
            }
            all += rollout.regions;
            if other.namespace == mirror.namespace {
                own += rollout.regions;
            }
        }
        match own > 0 && all >= max.div_ceil(2) {
            true => all.max(max),
            false => all,
        }
    }
}

impl Context {
    pub fn new(
        client: Client,
        options: &ControllerOptions,
        metrics: Arc<ControllerMetrics>,
        wishes: Wishes,
    ) -> Result<Self, reqwest::Error> {
        let reporter = Reporter {
            controller: labels::MANAGED_BY_VALUE.to_owned(),
            instance: Some(options.lease.identity.clone()),
        };
        Ok(Context {
            world: Arc::new(World::default()),
            writer: Writer::new(client.clone()),
            asker: Asker::new(&options.user_agent)?,
            answers: Answers::default(),
            authorities: Authorities::default(),
            probe_budget: Budget::default(),
            fleet: Mutex::default(),
            failures: Failures::default(),
            recorder: Recorder::new(client.clone(), reporter),
            settings: options.settings.clone(),
            intervals: options.intervals,
            user_agent: options.user_agent.clone(),
            client,
            metrics,
            wishes,
        })
    }

    pub fn fleet(&self) -> MutexGuard<'_, FleetMemory> {
        // What a panicking holder left is whole: every change is a single step.
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the runs that an earlier leader started, so that none is started beside them.
    pub fn remember_running_jobs(&self) {
        let running = self.world.owned.jobs().named(|job| job.end.is_none());
        let mut fleet = self.fleet();
        for (mirror, job) in running {
            if let Some(upstream) = job.meta.label(labels::UPSTREAM) {
                fleet.record(&mirror, upstream, Turn::Running, 0);
            }
        }
    }

    /// Hears every serving pod once before anything is planned: what was said of a Mirror is not taken back only because
    /// a new leader has asked nobody yet. Who does not answer in this time is asked again like all others.
    pub async fn hear_pods(&self) {
        let pods = self.world.owned.pods().named(|pod| address(pod).is_some());
        let heard = futures::stream::iter(pods).for_each_concurrent(
            ASKED_AT_ONCE,
            |(mirror, pod)| async move {
                if let Some(ip) = address(&pod) {
                    let answer = self.asker.ask(ip, &mirror.name).await;
                    self.answers.put(&mirror, &pod, answer);
                }
            },
        );
        let _ = tokio::time::timeout(FIRST_ROUND, heard).await;
    }

    /// The Mirrors of an Upstream.
    pub fn mirrors_of(&self, upstream: &ObjectName) -> Vec<(ObjectName, Arc<Guarded<Mirror>>)> {
        self.world.mirrors.named(|mirror| match &mirror.0 {
            Ok(mirror) => {
                mirror.spec.upstream_ref.name == upstream.name
                    && mirror.metadata.namespace.as_deref() == Some(&upstream.namespace)
            }
            Err(_) => false,
        })
    }

    /// Asks every pod of a Mirror that can be asked.
    pub fn ask_pods(&self, mirror: &ObjectName) {
        for pod in self.world.owned.pods().group(mirror) {
            if address(&pod).is_some() {
                self.wishes.pods.now(PodKey {
                    mirror: mirror.clone(),
                    pod: pod.meta.name.clone(),
                });
            }
        }
    }
}

/// Turns changes of the world into work.
pub fn listener(context: &Arc<Context>) -> Listener {
    let context = context.clone();
    Arc::new(move |change, group: &ObjectName| match change {
        Change::Mirror => {
            context.wishes.mirrors.now(group.clone());
            let known = context.world.mirrors.get(group, &group.name);
            if let Some(Ok(mirror)) = known.as_deref().map(|kept| kept.0.as_ref()) {
                context.wishes.upstreams.now(ObjectName::new(
                    &group.namespace,
                    &mirror.spec.upstream_ref.name,
                ));
            }
        }
        Change::Upstream => {
            context.wishes.upstreams.now(group.clone());
            context
                .mirrors_of(group)
                .into_iter()
                .for_each(|(mirror, _)| context.wishes.mirrors.now(mirror));
        }
        Change::Object => context.wishes.mirrors.now(group.clone()),
        Change::Warning => {
            let mirror = context.world.owned.mirror_of(group);
            mirror
                .into_iter()
                .for_each(|mirror| context.wishes.mirrors.now(mirror));
        }
        Change::Job | Change::Pod => {
            context.wishes.mirrors.now(group.clone());
            context.ask_pods(group);
        }
    })
}

/// How often in a row each object could not be reconciled.
#[derive(Default)]
pub struct Failures(Mutex<HashMap<ObjectName, u32>>);

impl Failures {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(300);

    /// Notes a failure; how long to wait.
    pub fn failed(&self, name: &ObjectName) -> Duration {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(name.clone()).or_default();
        let delay = Self::FIRST
            .saturating_mul(1 << (*count).min(12))
            .min(Self::LONGEST);
        *count += 1;
        delay
    }

    pub fn succeeded(&self, name: &ObjectName) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_tried_again_ever_later_until_one_succeeds() {
        let (failures, name) = (Failures::default(), ObjectName::new("ns", "a"));
        let delays: Vec<u128> = (0..4).map(|_| failures.failed(&name).as_millis()).collect();
        assert_eq!(delays, [500, 1000, 2000, 4000]);
        assert_eq!(
            (0..20).map(|_| failures.failed(&name)).last(),
            Some(Failures::LONGEST)
        );
        failures.succeeded(&name);
        assert_eq!(failures.failed(&name), Failures::FIRST);
    }

    #[test]
    fn restarts_of_others_are_counted_without_the_own() {
        let (a, b) = (ObjectName::new("ns", "a"), ObjectName::new("ns", "b"));
        let mut memory = FleetMemory::default();
        memory.record(&a, "debian", Turn::Idle, 2);
        memory.record(&b, "debian", Turn::Idle, 1);
        assert_eq!(memory.rollouts_elsewhere(&a, 8), 1);
        memory.leave(&b);
        assert_eq!(memory.rollouts_elsewhere(&a, 8), 0);
    }

    #[test]
    fn no_namespace_has_all_restarts_and_none_has_them_for_ever() {
        let mut memory = FleetMemory::default();
        for mirror in ["a", "b"] {
            memory.record(&ObjectName::new("greedy", mirror), "debian", Turn::Idle, 1);
        }
        let (third, other) = (ObjectName::new("greedy", "c"), ObjectName::new("ns", "d"));
        assert_eq!(memory.rollouts_elsewhere(&third, 4), 4, "it has its share");
        assert_eq!(memory.rollouts_elsewhere(&other, 4), 2, "there is room");
        // A pod that cannot be deleted.
        let Some(long_ago) = Instant::now().checked_sub(2 * ROLLOUT_PATIENCE) else {
            return;
        };
        memory
            .rollouts
            .values_mut()
            .for_each(|rollout| rollout.since = long_ago);
        memory.record(&ObjectName::new("greedy", "a"), "debian", Turn::Idle, 1);
        assert_eq!(memory.rollouts_elsewhere(&third, 4), 0);
    }

    #[test]
    fn a_mirror_that_is_deleted_while_it_runs_frees_its_turn() {
        let (a, b) = (ObjectName::new("ns", "a"), ObjectName::new("ns", "b"));
        let mut memory = FleetMemory::default();
        memory.record(&a, "debian", Turn::Running, 0);
        memory.record(&b, "debian", Turn::Waiting(jiff::Timestamp::UNIX_EPOCH), 0);
        assert_eq!(memory.leave(&a), vec![b.clone()]);
        assert!(memory.others(&b, "debian").is_empty());
    }
}
