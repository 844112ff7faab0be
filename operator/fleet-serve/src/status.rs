//! `/.mirrorfleet/status` and `/.mirrorfleet/status/<mirror>`: what this server knows. Facts of the volume only. Instants
//! are Unix seconds, sizes are bytes. The controller reads all of it at the port for metrics; at the port for clients
//! stands what a client may know.

use std::path::Path;

use fleet_origin::Registry;
use fleet_store::{INDEX_VERSION, Space, Store, StoreError};
use fleet_types::documents::{
    Report, ScrubState, ServedStatus, StorageUse, Success, UnitsMemory, UnixSeconds,
};
use fleet_types::{Reason, UnitRevision};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::Answer;
use crate::beside::OwnFiles;
use crate::mirror::ServedMirror;

/// What anybody may know of a mirror: what is served, and whether the last run was good. No URL, no words of an error
/// (an upstream can choose them), nothing of the volume.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PublicStatus {
    mirror: String,
    upstream_type: String,
    serving_path: String,
    snapshot: Option<String>,
    revision: Vec<UnitRevision>,
    published_at: Option<UnixSeconds>,
    last_sync: Option<UnixSeconds>,
    confirmed_at: Option<UnixSeconds>,
    pinned: Option<String>,
    last_run: Option<LastRun>,
    /// When a run last really succeeded.
    last_success_at: Option<UnixSeconds>,
    /// Whether something is wrong with the store; what, the log says.
    has_problem: bool,
}

/// What a run came to, in fixed words.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LastRun {
    reason: Reason,
    finished_at: UnixSeconds,
}

/// With the report as the run wrote it.
pub type MirrorStatus = ServedStatus<Value>;

impl From<MirrorStatus> for PublicStatus {
    fn from(status: MirrorStatus) -> PublicStatus {
        PublicStatus {
            mirror: status.mirror,
            upstream_type: status.upstream_type,
            serving_path: status.serving_path,
            snapshot: status.snapshot,
            revision: status.revision,
            published_at: status.published_at,
            last_sync: status.last_sync,
            confirmed_at: status.confirmed_at,
            pinned: status.pinned,
            last_run: status
                .last_report
                .and_then(|report| serde_json::from_value(report).ok()),
            last_success_at: status.last_success.map(|success| success.at),
            has_problem: status.problem.is_some() || status.not_kept.is_some(),
        }
    }
}

/// Reads what there is to know now. Blocks on the disk; a document that cannot be read is left out and named in
/// `problem`, so that one damaged file does not hide the rest.
pub fn read(mirror: &ServedMirror) -> MirrorStatus {
    let (view, store) = (mirror.view(), mirror.store());
    let mut problem = mirror.problem();
    let mut noted = |error: String| {
        problem.get_or_insert(error);
    };
    let storage = storage(store.free_space(), &mut noted);
    let pinned = store.pinned().unwrap_or_else(|error| {
        noted(error.to_string());
        None
    });
    let kept = store.snapshots().unwrap_or_else(|error| {
        noted(error.to_string());
        Vec::new()
    });
    let kept = kept.iter().map(|info| store.told(info)).collect();
    let last_report = document(store, Report::DOCUMENT, &mut noted);
    let last_success = document(store, Success::DOCUMENT, &mut noted);
    let memory: Option<UnitsMemory> = document(store, UnitsMemory::DOCUMENT, &mut noted);
    let scrub = document(store, ScrubState::DOCUMENT, &mut noted);
    let served = view.current.as_ref();
    let own = served.and_then(|served| OwnFiles::of(mirror, &served.id()));
    MirrorStatus {
        mirror: mirror.name().to_owned(),
        upstream_type: mirror.identity().upstream_type.clone(),
        serving_path: mirror.serving_path().to_owned(),
        snapshot: view
            .current
            .as_ref()
            .map(|current| current.id().to_string()),
        revision: view
            .current
            .as_ref()
            .map(|current| current.meta().revision.clone())
            .unwrap_or_default(),
        published_at: view.published.map(UnixSeconds),
        last_sync: own.as_ref().and_then(OwnFiles::heartbeat),
        confirmed_at: own.as_ref().map(|own| UnixSeconds(own.modified())),
        now: Some(UnixSeconds(jiff::Timestamp::now().as_second())),
        clock_skew: 0,
        order: view.follows().filter(|order| order.epoch > 0),
        kept,
        index_version: INDEX_VERSION,
        pinned: pinned.map(|id| id.to_string()),
        last_report,
        last_success,
        high_water: memory
            .unwrap_or_default()
            .units
            .into_values()
            .filter_map(|unit| unit.high_water)
            .collect(),
        storage,
        problem,
        damaged: mirror.suspects(),
        scrub,
        registry: None,
        not_kept: mirror.not_kept(),
    }
}

/// What there is to know of a registry that fills itself, whose volume is that of the folder `data`. Blocks on the disk.
pub fn of_registry(registry: &dyn Registry, data: &Path) -> MirrorStatus {
    let mut problem = None;
    let storage = storage(Space::of(data), &mut |error| problem = Some(error));
    MirrorStatus {
        mirror: registry.name().to_owned(),
        upstream_type: "Npm".to_owned(),
        serving_path: registry.paths().first().cloned().unwrap_or_default(),
        now: Some(UnixSeconds(jiff::Timestamp::now().as_second())),
        index_version: INDEX_VERSION,
        storage,
        problem,
        registry: Some(registry.state()),
        not_kept: registry.not_kept(),
        ..MirrorStatus::default()
    }
}

fn storage(space: Result<Space, StoreError>, noted: &mut dyn FnMut(String)) -> Option<StorageUse> {
    match space {
        Ok(space) => Some(space.in_use()),
        Err(error) => {
            noted(error.to_string());
            None
        }
    }
}

fn document<T: DeserializeOwned>(
    store: &Store,
    name: &str,
    noted: &mut dyn FnMut(String),
) -> Option<T> {
    store.state(name).unwrap_or_else(|error| {
        noted(error.to_string());
        None
    })
}

/// As JSON.
pub fn answer<T: Serialize>(status: &T) -> Answer {
    match serde_json::to_vec(status) {
        Ok(body) => Answer::json(body),
        Err(error) => Answer::unavailable(format!("the status cannot be written as JSON: {error}")),
    }
}
