//! What all stages of a run share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use fleet_formats::seam::{Allowances, VerifyContext};
use fleet_store::{Identity, SnapshotId, Store, Writer};
use fleet_types::{Accepted, Reason, Sha256};
use globset::GlobSet;

use super::base::Base;
use super::inputs;
use super::memory::Memory;
use super::shelves::Shelves;
use crate::fetch::{EndpointSet, FetchOptions, Fetcher, Meter, RetryPolicy, Writers};
use crate::stop::Stop;
use crate::{LeftOut, Problem, Progress, SyncOptions};

/// By unit.
pub(super) type Notes = BTreeMap<String, BTreeSet<String>>;

pub(super) struct Run {
    pub options: SyncOptions,
    pub shelves: Arc<Shelves>,
    pub fetcher: Fetcher,
    pub writers: Arc<Writers>,
    pub stop: Stop,
    pub progress: Arc<dyn Progress>,
    pub memory: Memory,
    pub base: Option<Base>,
    /// The snapshot that this run has prepared.
    pub made: OnceLock<SnapshotId>,
    pub units: Vec<String>,
    pub inputs: Sha256,
    pub exclude: GlobSet,
    /// Index files and payload that arrived.
    pub files: AtomicU64,
    /// What people should know about units that are believed, by unit.
    notes: Mutex<Notes>,
    /// By unit that advances, as the last plan found it; others are as in the base.
    pub planned_left_out: Mutex<BTreeMap<String, Option<LeftOut>>>,
    /// One instant for all that a run decides; seconds since 1970-01-01T00:00:00Z.
    pub now: i64,
}

impl Run {
    pub fn new(
        options: SyncOptions,
        shelves: Arc<Shelves>,
        meter: &Arc<Meter>,
        stop: Stop,
        progress: Arc<dyn Progress>,
    ) -> Result<Run, Problem> {
        let endpoints = EndpointSet::new(&fetch_options(&options, &shelves), meter)?;
        let base = Base::of(&shelves)?;
        let memory = Memory::of(&shelves, base.as_ref())?;
        let units = options.format.units();
        if units.is_empty() || units.len() > usize::from(u16::MAX) {
            return Err(Problem::new(
                Reason::InvalidSpec,
                "the content block names no unit to copy, or too many",
            ));
        }
        Ok(Run {
            fetcher: Fetcher::new(Arc::new(endpoints), stop.clone()),
            writers: Writers::start(shelves.staging())?,
            inputs: inputs::digest(&options),
            exclude: inputs::exclude(&options.exclude)?,
            files: AtomicU64::new(0),
            notes: Mutex::default(),
            planned_left_out: Mutex::default(),
            now: now(),
            options,
            shelves,
            stop,
            progress,
            memory,
            base,
            made: OnceLock::new(),
            units,
        })
    }

    /// Tells people, and keeps it for the report.
    pub fn note(&self, unit: &str, note: &str) {
        self.progress.note(&format!("{unit}: {note}"));
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes
            .entry(unit.to_owned())
            .or_default()
            .insert(note.to_owned());
    }

    pub fn notes(&self) -> Notes {
        self.notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn count_files(&self, files: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
    }

    pub fn high_water(&self, unit: &str) -> Option<Accepted> {
        self.memory.high_water(unit, &self.options.high_water)
    }

    pub fn verify_context<'a>(
        &'a self,
        unit: &str,
        accepted: Option<&'a Accepted>,
        settled: bool,
    ) -> VerifyContext<'a> {
        VerifyContext {
            now: self.now,
            trust: &self.options.trust,
            accepted,
            allowances: self.allowances(unit),
            settled,
        }
    }

    /// What a person lets through of a unit.
    pub fn allowances(&self, unit: &str) -> &Allowances {
        let allowances = &self.options.verification.allowances;
        allowances.get(unit).unwrap_or(Allowances::NONE)
    }

    /// Whether the base was made from the same choices of ours, for every unit.
    pub fn same_inputs(&self) -> bool {
        self.base.as_ref().is_some_and(|base| {
            base.snapshot.meta().inputs == self.inputs && base.content.carried.is_empty()
        })
    }
}

/// Runs blocking work of a stage where it holds up no connection.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let lost = |e: tokio::task::JoinError| {
        Problem::new(
            Reason::StorageFailed,
            format!("a stage of the run ended before its work was done: {e}"),
        )
    };
    tokio::task::spawn_blocking(work).await.map_err(lost)?
}

pub(super) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

pub(super) fn open_writer(options: &SyncOptions) -> Result<Writer, Problem> {
    Ok(Writer::open(&options.store_dir, &identity(options))?)
}

/// A store for a dry run, in the system's directory for temporary files.
pub(super) fn open_dry(options: &SyncOptions) -> Result<Shelves, Problem> {
    let real = match Store::open(&options.store_dir) {
        Ok(store) => Some(store),
        Err(e) if e.is_absent() => None,
        Err(e) => return Err(e.into()),
    };
    let failed = |e: std::io::Error| {
        Problem::new(
            Reason::StorageFailed,
            format!("no temporary directory can be made: {e}"),
        )
    };
    let temporary = tempfile::Builder::new()
        .prefix("mirrorfleet-plan-")
        .tempdir()
        .map_err(failed)?;
    let writer = Writer::open(&temporary.path().join("store"), &identity(options))?;
    Shelves::dry(writer, real, temporary)
}

fn identity(options: &SyncOptions) -> Identity {
    let mut authority = options.authority.clone();
    // Fails only for URLs that cannot have either.
    let _ = authority.set_username("");
    let _ = authority.set_password(None);
    Identity {
        format_version: Identity::FORMAT_VERSION,
        upstream_type: options.upstream_type.clone(),
        authority: authority.into(),
        mirror: options.mirror.clone(),
        serving_path: options.serving_path.clone(),
        directory_listing: options.directory_listing,
        retention: options.retention,
        clients: options.clients.clone(),
    }
}

fn fetch_options(options: &SyncOptions, shelves: &Shelves) -> FetchOptions {
    FetchOptions {
        authority: options.authority.clone(),
        endpoints: options.endpoints.clone(),
        access: options.access.clone(),
        max_connections: options.politeness.max_connections,
        user_agent: options.user_agent.clone(),
        contact: options.politeness.contact.clone(),
        stall: options.timeouts.stall,
        retry: RetryPolicy {
            limit: options.timeouts.retry_limit,
            longest_wait: options.timeouts.retry_backoff,
        },
        scratch: shelves.spill_dir(),
    }
}
