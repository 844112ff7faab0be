//! What all reconciliations of one leader share.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fleet_api::{Mirror, Upstream, labels};
use fleet_plan::{SeenJob, Settings, Turn, concerns};
use fleet_telemetry::ControllerMetrics;
use fleet_types::lock;
use futures::StreamExt;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};

use crate::answers::{Answers, Asker, IMPATIENCE, address};
use crate::checks::RegionChecks;
use crate::fleet::{FleetMemory, Share};
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
    pub checks: Arc<RegionChecks>,
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

/// How long a new leader hears pods before it plans, and how many of them at once.
const FIRST_ROUND: Duration = Duration::from_secs(10);
const ASKED_AT_ONCE: usize = 64;

impl Context {
    pub fn new(
        client: Client,
        evictions: Client,
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
            writer: Writer::new(client.clone(), evictions),
            asker: Asker::new(&options.user_agent)?,
            answers: Answers::default(),
            checks: Arc::default(),
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
        lock(&self.fleet)
    }

    /// Notes the runs that an earlier leader started, so that none is started beside them.
    pub fn remember_running_jobs(&self) {
        let running = self.world.owned.jobs().named(|job| job.end.is_none());
        let mut fleet = self.fleet();
        for (mirror, job) in &running {
            if let Some(upstream) = job.meta.label(labels::UPSTREAM) {
                let running = Share {
                    turn: Turn::Running,
                    ..Share::NOTHING
                };
                fleet.record(mirror, upstream, running);
            }
        }
        let copies = |job: &SeenJob| job.meta.label(labels::FOLLOWS).is_some();
        for (mirror, _) in running.iter().filter(|(_, job)| copies(job)) {
            fleet.adds_copy(mirror);
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
                    let asked = self.asker.ask(ip, &mirror.name).await;
                    (self.checks).heard(&mirror, &pod, &asked.answer, asked.seconds);
                    self.answers.put(&mirror, &pod, asked.answer);
                }
            },
        );
        let _ = tokio::time::timeout(FIRST_ROUND, heard).await;
    }

    /// The Mirrors of an Upstream.
    pub fn mirrors_of(&self, upstream: &ObjectName) -> Vec<(ObjectName, Arc<Guarded<Mirror>>)> {
        self.world.mirrors.referring_to(upstream)
    }

    /// Has the Mirrors of an Upstream planned again that read of it what is no longer as it was `before`.
    pub fn tell_mirrors(&self, upstream: &ObjectName, before: Option<&Upstream>) {
        let now = self.world.upstreams.get(upstream, &upstream.name);
        let now = now.as_deref().and_then(|now| now.0.as_ref().ok());
        for (name, mirror) in self.mirrors_of(upstream) {
            let concerned = match (before, now, &mirror.0) {
                (Some(before), Some(now), Ok(mirror)) => concerns(mirror, before, now),
                _ => true,
            };
            if concerned {
                self.wishes.mirrors.now(name);
            }
        }
    }

    /// Has a Mirror planned again whose turn has come.
    pub fn plan_again(&self, mirror: Option<ObjectName>) {
        (mirror.into_iter()).for_each(|mirror| self.wishes.mirrors.now(mirror));
    }

    /// Asks a pod soon that was told what to serve.
    pub fn ask_whether_it_follows(&self, mirror: &ObjectName, pod: &str) {
        let key = PodKey {
            mirror: mirror.clone(),
            pod: pod.to_owned(),
        };
        self.wishes.pods.after(key, IMPATIENCE[0]);
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
        Change::Upstream(before) => {
            context.wishes.upstreams.now(group.clone());
            let before = before.as_deref().and_then(|before| before.0.as_ref().ok());
            context.tell_mirrors(group, before);
        }
        Change::Object => context.wishes.mirrors.now(group.clone()),
        Change::Warning => {
            let mirror = context.world.owned.mirror_of(group);
            mirror
                .into_iter()
                .for_each(|mirror| context.wishes.mirrors.now(mirror));
            let asked = context.world.probers.jobs.group_of(group);
            asked
                .into_iter()
                .for_each(|upstream| context.wishes.upstreams.now(upstream));
        }
        Change::Prober => context.wishes.upstreams.now(group.clone()),
        Change::Job | Change::Pod => {
            context.wishes.mirrors.now(group.clone());
            context.ask_pods(group);
        }
    })
}

/// How often in a row each object of each kind could not be reconciled.
#[derive(Default)]
pub struct Failures(Mutex<HashMap<(&'static str, ObjectName), u32>>);

impl Failures {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(300);

    /// Notes a failure; how long to wait.
    pub fn failed(&self, kind: &'static str, name: &ObjectName) -> Duration {
        let mut counts = lock(&self.0);
        let count = counts.entry((kind, name.clone())).or_default();
        let delay = Self::FIRST
            .saturating_mul(1 << (*count).min(12))
            .min(Self::LONGEST);
        *count += 1;
        delay
    }

    pub fn succeeded(&self, kind: &'static str, name: &ObjectName) {
        lock(&self.0).remove(&(kind, name.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_tried_again_ever_later_until_one_succeeds() {
        let (failures, name) = (Failures::default(), ObjectName::new("ns", "a"));
        let failed = || failures.failed("Mirror", &name);
        let delays: Vec<u128> = (0..4).map(|_| failed().as_millis()).collect();
        assert_eq!(delays, [500, 1000, 2000, 4000]);
        assert_eq!((0..20).map(|_| failed()).max(), Some(Failures::LONGEST));
        failures.succeeded("Upstream", &name);
        assert_eq!(failed(), Failures::LONGEST, "another object of that name");
        assert_eq!(failures.failed("Upstream", &name), Failures::FIRST);
        failures.succeeded("Mirror", &name);
        assert_eq!(failed(), Failures::FIRST);
    }
}
