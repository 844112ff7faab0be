//! One Upstream's Mirrors, synced one after another, for as long as the program runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_plan::timing::Due;
use fleet_sync::Report;
use fleet_telemetry::{RunPlace, WorkerMetrics};
use fleet_types::{Outcome, lock};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::checks::SelfChecks;
use super::freshness::{Freshness, REGION};
use super::memory::Memory;
use super::registries;
use super::work::{self, Ready, Task};
use crate::progress::{Both, Display, Metered};
use crate::report::{OutputFormat, print_run};
use crate::runtime::now;

/// Clocks are set and machines sleep, so no wait is longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What lanes share, also with those that come after a change of the manifests.
pub struct Shared {
    pub data: PathBuf,
    pub display: Display,
    pub output: OutputFormat,
    pub freshness: Freshness,
    pub checks: SelfChecks,
    pub worker: Arc<WorkerMetrics>,
    /// By Mirror; remembers over a change of the manifests.
    pub memory: Mutex<BTreeMap<String, Memory>>,
    /// What each run that goes on was started for, by Mirror.
    pub runs: Mutex<BTreeMap<String, Due>>,
    /// Mirrors that are no task of any lane.
    pub registries: registries::Declared,
}

/// What a lane does next, and with which of its tasks.
enum Next {
    Sync(usize, Due),
    Probe(usize),
}

impl Shared {
    fn remember<T>(&self, mirror: &str, change: impl FnOnce(&mut Memory) -> T) -> T {
        let mut memory = lock(&self.memory);
        change(memory.entry(mirror.to_owned()).or_default())
    }

    /// A Mirror that is new here is synced at once; its store knows when it was last tried.
    fn take_up(&self, task: &Task, ready: &Ready) {
        let mut memory = lock(&self.memory);
        let known = memory.entry(task.mirror.clone()).or_insert_with(|| {
            let store = fleet_store::Store::open(&self.data.join(&task.mirror)).ok();
            let report: Option<Report> =
                store.and_then(|store| store.state(Report::DOCUMENT).ok().flatten());
            Memory::new(&ready.fingerprint, report.as_ref(), Timestamp::now())
        });
        known.declare(&ready.fingerprint);
    }
}

/// Works until `retire` (finish what runs, begin nothing) or `stop` (end what runs).
pub async fn work(
    tasks: Vec<Task>,
    shared: Arc<Shared>,
    retire: CancellationToken,
    stop: CancellationToken,
) {
    let tasks: Vec<Task> = tasks
        .into_iter()
        .filter(|task| told(task, &shared))
        .collect();
    loop {
        let Some((at, next)) = soonest(&tasks, &shared) else {
            return;
        };
        let wait = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
        tokio::select! {
            biased;
            () = retire.cancelled() => return,
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait.min(LONGEST_WAIT)) => {}
        }
        if wait > LONGEST_WAIT {
            continue;
        }
        let (Next::Sync(index, _) | Next::Probe(index)) = &next;
        let Some(task) = tasks.get(*index) else {
            return;
        };
        let Ok(ready) = &task.ready else { continue };
        match next {
            Next::Sync(_, due) => sync(task, &due, &shared, &stop).await,
            Next::Probe(_) => probe(task, ready, &shared, &stop).await,
        }
    }
}

/// Whether there is anything to do for a Mirror; if not, says why, once.
fn told(task: &Task, shared: &Shared) -> bool {
    match &task.ready {
        Err(failure) => {
            tracing::error!(
                mirror = task.mirror,
                reason = failure.reason.as_str(),
                "{failure}; correct it and send SIGHUP"
            );
            false
        }
        Ok(ready) => {
            shared.take_up(task, ready);
            if task.suspended {
                tracing::info!(mirror = task.mirror, "suspended: served, but not synced");
                shared.freshness.scheduled(task, None);
            }
            !task.suspended
        }
    }
}

fn soonest(tasks: &[Task], shared: &Shared) -> Option<(Timestamp, Next)> {
    let mut soonest: Option<(Timestamp, Next)> = None;
    for (index, task) in tasks.iter().enumerate() {
        let Ok(ready) = &task.ready else { continue };
        let memory = shared.remember(&task.mirror, |memory| memory.clone());
        let news_at = shared.freshness.news_at(task);
        let due = memory.next(&ready.timing, news_at);
        let start = due.as_ref().map(|due| due.at.as_second());
        shared.freshness.scheduled(task, start);
        let sync = due.map(|due| (due.at, Next::Sync(index, due)));
        let probe = next_probe(task, ready, &memory, shared).map(|at| (at, Next::Probe(index)));
        for (at, next) in sync.into_iter().chain(probe) {
            if soonest.as_ref().is_none_or(|(earliest, _)| at < *earliest) {
                soonest = Some((at, next));
            }
        }
    }
    soonest
}

/// A run tells what the authority has, too; and who is known to be behind need not be asked again before the next run.
fn next_probe(task: &Task, ready: &Ready, memory: &Memory, shared: &Shared) -> Option<Timestamp> {
    let heard = (memory.heard_at()).filter(|_| !shared.freshness.is_behind(task))?;
    heard.checked_add(ready.probe_interval).ok()
}

async fn sync(task: &Task, due: &Due, shared: &Shared, stop: &CancellationToken) {
    let run = shared.remember(&task.mirror, |memory| memory.begin(due, Timestamp::now()));
    let place = place(&task.namespace, &task.mirror);
    lock(&shared.runs).insert(task.mirror.clone(), due.clone());
    let metered = Metered(shared.worker.begin(place.clone(), now()));
    let progress = Arc::new(Both(shared.display.begin(&task.mirror), Arc::new(metered)));
    let report = work::run(task, &shared.data, progress, stop.clone()).await;
    shared.worker.end(&place);
    lock(&shared.runs).remove(&task.mirror);
    shared.remember(&task.mirror, |memory| {
        memory.end(&run, &report, Timestamp::now());
    });
    shared.freshness.ran(task, &report);
    log(&report);
    if let Err(failure) = print_run(&report, task.upstream_type().as_deref(), shared.output) {
        tracing::warn!(%failure, "the report could not be printed");
    }
}

/// Under which a run is measured.
pub fn place(namespace: &str, mirror: &str) -> RunPlace {
    RunPlace {
        namespace: namespace.to_owned(),
        mirror: mirror.to_owned(),
        region: REGION.to_owned(),
    }
}

fn log(report: &Report) {
    let (mirror, reason) = (report.mirror.as_str(), report.reason.as_str());
    match report.reason.outcome() {
        Outcome::Good => tracing::debug!(mirror, reason, bytes = report.bytes_fetched, "synced"),
        _ => tracing::warn!(mirror, reason, "{}", report.message),
    }
}

/// Asks what the authority has, without changing anything: freshness is measured, not inferred from the last run.
async fn probe(task: &Task, ready: &Ready, shared: &Shared, stop: &CancellationToken) {
    let plan = fleet_sync::plan(
        ready.options.clone(),
        Arc::new(fleet_sync::Unwatched),
        stop.clone(),
    )
    .await;
    shared.remember(&task.mirror, |memory| {
        memory.probed_at = Some(Timestamp::now())
    });
    shared.freshness.probed(task, &plan, Timestamp::now());
    tracing::debug!(
        mirror = task.mirror,
        reason = plan.reason.as_str(),
        "asked the authority"
    );
}
