//! What Prometheus is told of the one region that this process is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use fleet_api::upstream::UpstreamStatus;
use fleet_api::{Mirror, Upstream};
use fleet_plan::alone::{Alone, judge_upstream};
use fleet_store::Store;
use fleet_sync::{PlanReport, Report};
use fleet_telemetry::{ControllerMetrics, ObjectKey, Run};
use fleet_types::documents::{ServedStatus, Success};
use fleet_types::gauges::CheckGauges;
use fleet_types::lock;
use jiff::Timestamp;

use super::work::Task;

/// The region label of everything that `mirrorfleet local` measures.
pub use fleet_plan::alone::REGION;

/// The metrics of all Mirrors and their Upstreams, from what the stores hold and what the authorities were seen to have.
pub struct Freshness {
    metrics: Arc<ControllerMetrics>,
    data: PathBuf,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    mirrors: BTreeMap<ObjectKey, KnownMirror>,
    /// What was said of each last.
    upstreams: BTreeMap<ObjectKey, UpstreamStatus>,
    /// What is declared and cannot be carried out, and why.
    refused: BTreeMap<ObjectKey, String>,
    /// Whether everything that is declared has been taken up.
    complete: bool,
}

/// What is known of a Mirror, for people.
pub enum Told {
    Copy {
        mirror: Box<Mirror>,
        upstream: Box<Upstream>,
        next_run: Option<i64>,
    },
    Refused(String),
}

struct KnownMirror {
    upstream: ObjectKey,
    copy: Alone,
    next_run: Option<i64>,
}

impl Freshness {
    pub fn new(metrics: Arc<ControllerMetrics>, data: PathBuf) -> Freshness {
        metrics.set_leading(true);
        Freshness {
            metrics,
            data,
            known: Mutex::default(),
        }
    }

    /// A run has ended.
    pub fn ran(&self, task: &Task, report: &Report) {
        self.change(task, |known| known.copy.ran(report));
        let run = Run {
            result: report.result,
            reason: report.reason,
            seconds: report.seconds,
            bytes: report.bytes_fetched,
            files: report.files_fetched,
        };
        self.metrics.record_run(&key(task), REGION, run);
    }

    /// The authority was asked, and nothing was changed.
    pub fn probed(&self, task: &Task, plan: &PlanReport, now: Timestamp) {
        self.change(task, |known| {
            (known.copy).heard(plan.reason, &plan.message, &plan.revision, now);
            let answered = plan.reason.outcome() != fleet_types::Outcome::Upstream;
            self.metrics.record_probe(&known.upstream, answered);
        });
    }

    /// Whether it is known already that the authority has something newer, so that asking again tells nothing.
    pub fn is_behind(&self, task: &Task) -> bool {
        let known = self.known();
        let known = known.mirrors.get(&key(task));
        known.is_some_and(|known| !known.copy.behind().is_empty())
    }

    /// When the authority was first seen to have a state that no run here has taken.
    pub fn news_at(&self, task: &Task) -> Option<Timestamp> {
        self.known().mirrors.get(&key(task))?.copy.news_at()
    }

    pub fn scheduled(&self, task: &Task, next_run: Option<i64>) {
        self.change(task, |known| known.next_run = next_run);
    }

    /// The manifests were read.
    pub fn declare(&self, tasks: &[&Task]) {
        self.keep_only(tasks);
        for task in tasks {
            self.change(task, |_| {});
        }
        self.known().complete = true;
    }

    /// What the checks of a Mirror come to, if anything.
    pub fn checked(&self, key: &ObjectKey, checks: Option<CheckGauges>) {
        self.metrics.replace_checks(key, REGION, checks);
    }

    /// Whether everything that is declared has been taken up.
    pub fn is_complete(&self) -> bool {
        self.known().complete
    }

    /// Drops the series of what is no longer declared.
    fn keep_only(&self, tasks: &[&Task]) {
        let declared: Vec<_> = tasks.iter().map(|task| key(task)).collect();
        let mut known = self.known();
        let Known {
            mirrors,
            upstreams,
            refused,
            ..
        } = &mut *known;
        let failed = |task: &&Task| Some((key(task), task.ready.as_ref().err()?.to_string()));
        *refused = tasks.iter().filter_map(failed).collect();
        mirrors.retain(|key, _| {
            let stays = declared.contains(key);
            if !stays {
                self.metrics.remove_mirror(key);
            }
            stays
        });
        upstreams.retain(|key, _| {
            let stays = mirrors.values().any(|mirror| mirror.upstream == *key);
            if !stays {
                self.metrics.remove_upstream(key);
            }
            stays
        });
    }

    /// Everything that is declared, with what is known of it.
    pub fn told(&self) -> Vec<(ObjectKey, Told)> {
        let known = self.known();
        let copies = known.mirrors.iter().map(|(key, mirror)| {
            let (declared, upstream) = mirror.copy.objects();
            let mut upstream = upstream.clone();
            upstream.status = known.upstreams.get(&mirror.upstream).cloned();
            let told = Told::Copy {
                mirror: Box::new(declared.clone()),
                upstream: Box::new(upstream),
                next_run: mirror.next_run,
            };
            (key.clone(), told)
        });
        let refused = known.refused.iter();
        let refused = refused.map(|(key, why)| (key.clone(), Told::Refused(why.clone())));
        copies.chain(refused).collect()
    }

    fn change(&self, task: &Task, change: impl FnOnce(&mut KnownMirror)) {
        let Ok(ready) = &task.ready else { return };
        let (key, now) = (key(task), Timestamp::now());
        let upstream = &ready.declared.spec.upstream_ref.name;
        let upstream = ObjectKey::new(&task.namespace, upstream);
        let store = Store::open(&self.data.join(&task.mirror)).ok();
        let store = store.as_ref();
        let mut all = self.known();
        let Known {
            mirrors, upstreams, ..
        } = &mut *all;
        let known = mirrors.entry(key.clone()).or_insert_with(|| {
            let report: Option<Report> =
                store.and_then(|store| store.state(Report::DOCUMENT).ok().flatten());
            KnownMirror {
                upstream: upstream.clone(),
                copy: Alone::new(&ready.declared, &ready.upstream, report.as_ref(), now),
                next_run: None,
            }
        });
        known.copy.declare(&ready.declared, &ready.upstream);
        known.upstream = upstream.clone();
        change(known);
        let success: Option<Success> =
            store.and_then(|store| store.state(Success::DOCUMENT).ok().flatten());
        let mut gauges = (known.copy).judge(store.map(served), success.as_ref(), now);
        gauges.next_run = known.next_run;
        self.metrics.replace_mirror(&key, gauges);
        let copies = mirrors.values().filter(|known| known.upstream == upstream);
        let before = upstreams.entry(upstream.clone()).or_default();
        if let Some(gauges) = judge_upstream(copies.map(|known| &known.copy), before, now) {
            self.metrics.replace_upstream(&upstream, gauges);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

/// What a serving pod would say of this store, as far as metrics are about it.
fn served(store: &Store) -> ServedStatus {
    let snapshot = store.current_snapshot().ok().flatten();
    let snapshot = snapshot.as_ref();
    ServedStatus {
        snapshot: snapshot.map(|snapshot| snapshot.id().to_string()),
        revision: snapshot.map_or_else(Vec::new, |snapshot| snapshot.meta().revision.clone()),
        storage: store.free_space().ok().map(|space| space.in_use()),
        ..ServedStatus::default()
    }
}

fn key(task: &Task) -> ObjectKey {
    ObjectKey::new(task.namespace.clone(), task.mirror.clone())
}
