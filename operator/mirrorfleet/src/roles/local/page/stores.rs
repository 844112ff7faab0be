//! What the stores of this process hold, as the page is told it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use fleet_api::{Mirror, MirrorStatus, Run, SnapshotStatus, Upstream};
use fleet_page::{Held, Look, Seen, Source};
use fleet_plan::score::Score;
use fleet_store::{SnapshotInfo, Store};
use fleet_telemetry::ObjectKey;
use fleet_types::{Reason, lock};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::freshness::{REGION, Told};
use super::super::lane::{Shared, place};

/// What this process knows of its Mirrors.
pub struct Stores {
    shared: Arc<Shared>,
    mirrors_at: Arc<OnceLock<SocketAddr>>,
    looks: AtomicU64,
}

impl Source for Stores {
    fn look(&self, now: Timestamp) -> Look {
        // Nothing tells that a store has changed: each look is a new one.
        let version = self.looks.fetch_add(1, Ordering::Relaxed);
        let mut look = Look {
            complete: self.shared.freshness.is_complete(),
            teller: "this process".to_owned(),
            ..Look::default()
        };
        let copies = self.shared.freshness.told().into_iter();
        let registries = self.shared.registries.told(&self.shared.data, now);
        for (key, told) in copies.chain(registries) {
            let mut seen = Seen {
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                versions: (version, 0),
                mirror: Arc::new(Unusable(String::new())),
                upstream: None,
            };
            match told {
                Told::Refused(problem) => seen.mirror = Arc::new(Unusable(problem)),
                Told::Copy {
                    mirror,
                    upstream,
                    next_run,
                } => {
                    let mut mirror = *mirror;
                    self.complete(&key, &mut mirror, next_run, now);
                    if let Some(figures) = self
                        .shared
                        .worker
                        .figures(&place(&key.namespace, &key.name))
                    {
                        let progress = fleet_controller::progress(figures);
                        look.progress
                            .insert(seen.key(), [(String::new(), progress)].into());
                    }
                    seen.mirror = Arc::new(mirror);
                    seen.upstream = Some(Arc::new(*upstream) as Arc<dyn Held<Upstream>>);
                }
            }
            look.mirrors.push(seen);
        }
        look
    }

    fn scores(&self, namespace: &str, mirror: &str, now: Timestamp) -> BTreeMap<String, Score> {
        let key = ObjectKey::new(namespace, mirror);
        let score = self.shared.checks.score(&key, now);
        let scores = score.into_iter();
        scores.map(|score| (REGION.to_owned(), score)).collect()
    }
}

impl Stores {
    pub fn new(shared: Arc<Shared>, mirrors_at: Arc<OnceLock<SocketAddr>>) -> Stores {
        Stores {
            shared,
            mirrors_at,
            looks: AtomicU64::new(0),
        }
    }

    /// What of a status only this process knows.
    fn complete(
        &self,
        key: &ObjectKey,
        mirror: &mut Mirror,
        next_run: Option<i64>,
        now: Timestamp,
    ) {
        let url = self.url(key, mirror);
        let run = self.run(key);
        let store = Store::open(&self.shared.data.join(&key.name)).ok();
        let kept = store.and_then(|store| {
            let mut kept = store.snapshots().ok()?;
            kept.sort_by_key(|info| std::cmp::Reverse(info.meta.created));
            Some(kept.iter().map(|info| snapshot(&store, info)).collect())
        });
        let Some(status) = &mut mirror.status else {
            return;
        };
        // Mirrors of one Upstream take turns, so a time that has passed means now.
        let next = next_run.and_then(|at| Timestamp::from_second(at).ok());
        status.next_sync_time = next.map(|at| Time(at.max(now)));
        for region in &mut status.regions {
            region.url.clone_from(&url);
            for replica in &mut region.replicas {
                replica.current_run.clone_from(&run);
            }
        }
        if run.is_some() {
            first_sync_runs(status);
        }
        status.snapshots = kept.unwrap_or_default();
    }

    fn run(&self, key: &ObjectKey) -> Option<Run> {
        let due = lock(&self.shared.runs).get(&key.name)?.clone();
        let figures = self
            .shared
            .worker
            .figures(&place(&key.namespace, &key.name))?;
        Some(Run {
            job: String::new(),
            trigger: due.trigger,
            retry: due.retry,
            started_at: Time(Timestamp::from_second(figures.started).ok()?),
            inputs: String::new(),
            snapshots_inputs: String::new(),
            copies: None,
        })
    }

    /// Where clients find it: at the address that is listened on, or, where that is all of them, by this machine's name.
    fn url(&self, key: &ObjectKey, mirror: &Mirror) -> Option<String> {
        let address = self.mirrors_at.get()?;
        let path = match mirror.spec.serving.path.as_str() {
            "" => key.name.as_str(),
            path => path,
        };
        let host = match address.ip().is_unspecified() {
            false => address.to_string(),
            true => {
                let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
                format!("{}:{}", name.trim(), address.port())
            }
        };
        Some(format!("http://{host}/{path}/"))
    }
}

/// Judged when it was last heard of: by now its first sync is no longer pending.
fn first_sync_runs(status: &mut MirrorStatus) {
    let (pending, running) = (Reason::FirstSyncPending, Reason::FirstSyncRunning);
    for condition in &mut status.conditions {
        if condition.reason == pending.as_str() {
            condition.reason = running.to_string();
            condition.message = format!("region {REGION}: the first sync runs");
        }
    }
    let state = status.state.as_mut();
    let state = state.filter(|state| *state == pending.as_str());
    state
        .into_iter()
        .for_each(|state| *state = running.to_string());
}

fn snapshot(store: &Store, info: &SnapshotInfo) -> SnapshotStatus {
    let time = |at: i64| Timestamp::from_second(at).ok().map(Time);
    let told = store.told(info);
    SnapshotStatus {
        id: told.id.to_string(),
        created: time(told.created.0),
        revision_date: told.date.and_then(|at| time(at.0)),
        bytes: told.bytes.and_then(|bytes| i64::try_from(bytes).ok()),
        changes: told.changes.map(Into::into),
        superseded_at: None,
        served_until: told.superseded_at.and_then(|at| time(at.0)),
        regions: i32::from(info.current),
        index: told.index.map(|index| index.to_string()),
    }
}

/// What is declared and cannot be carried out.
struct Unusable(String);

impl Held<Mirror> for Unusable {
    fn object(&self) -> Result<&Mirror, &str> {
        Err(&self.0)
    }
}
