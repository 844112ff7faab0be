//! The stores below the data directory. They appear, change their serving path and go while the server runs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use fleet_origin::Origin;
use fleet_store::{IDENTITY_FILE, Store, StoreError};
use fleet_telemetry::{MirrorTraffic, Readiness, ServerMetrics};
use fleet_types::{lock_read, lock_write};
use tokio::sync::Semaphore;

use crate::answer::{Answer, Counted};
use crate::lists::Lists;
use crate::mirror::ServedMirror;
use crate::orders::Orders;
use crate::path::Candidate;
use crate::registry::{Registries, Wanted};

/// The first part of every path that is not a mirror's.
pub const OURS: &str = ".mirrorfleet";

/// What others tell: where it stands of mirrors, folders with a file for each, and of which region this is.
#[derive(Debug, Clone, Default)]
pub struct Told {
    pub orders: Option<PathBuf>,
    pub lists: Option<PathBuf>,
    pub region: String,
}

/// All mirrors that are served.
pub struct Catalog {
    data: PathBuf,
    told: Told,
    metrics: Arc<ServerMetrics>,
    /// Counts the requests that belong to no mirror.
    outside: Arc<MirrorTraffic>,
    /// What is served beside the stores.
    registries: Registries,
    /// Files that the mirrors may keep open.
    open_files: Arc<Semaphore>,
    origin: Option<Arc<dyn Origin>>,
    known: RwLock<Arc<Known>>,
}

#[derive(Default)]
struct Known {
    /// By name of the directory.
    stores: BTreeMap<OsString, Opened>,
    /// Those of `stores` that answer, in the same order.
    served: Vec<Arc<ServedMirror>>,
    problems: Vec<Problem>,
}

#[derive(Clone)]
struct Opened {
    stamp: Stamp,
    mirror: Arc<ServedMirror>,
}

/// Tells one version of a `store.json` from the next: it is replaced by rename.
type Stamp = (u64, i64, i64);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    text: String,
    /// Whether a known store is not served at all because of it.
    unserved: bool,
}

impl Catalog {
    /// `open_files` are kept open at most, beside those that are being sent. Blocks on the disk.
    pub fn new(
        data: PathBuf,
        told: Told,
        metrics: Arc<ServerMetrics>,
        registries: Registries,
        open_files: usize,
        origin: Option<Arc<dyn Origin>>,
    ) -> Catalog {
        let outside = metrics.mirror("");
        registries.told_in(told.lists.as_deref());
        Catalog {
            data,
            told,
            metrics,
            outside,
            registries,
            open_files: Arc::new(Semaphore::new(open_files)),
            origin,
            known: RwLock::default(),
        }
    }

    /// Looks at the data directory again, and at what each store serves. Blocks on the disk.
    pub fn refresh(&self) {
        let before = self.known();
        let after = Arc::new(self.read(&before));
        for problem in after
            .problems
            .iter()
            .filter(|problem| !before.problems.contains(problem))
        {
            tracing::error!("{}", problem.text);
        }
        // Before it answers: a store that is opened anew must not look empty for a moment.
        for mirror in &after.served {
            mirror.lists().look();
            mirror.view();
            mirror.tell_health();
            mirror.blobs.close_old();
            mirror.tell_use();
        }
        self.report_changes(&before, &after);
        self.registries.forget(&self.metrics);
        self.registries.tidy();
        *lock_write(&self.known) = after.clone();
    }

    /// All mirrors that are served, in the order of their directories' names.
    pub fn served(&self) -> Vec<Arc<ServedMirror>> {
        self.known().served.clone()
    }

    /// The mirror of this name.
    pub fn named(&self, name: &str) -> Option<Arc<ServedMirror>> {
        let known = self.known();
        let mut served = known.served.iter();
        served.find(|mirror| mirror.name() == name).cloned()
    }

    /// The mirror with the longest serving path that holds `candidate`, and what remains of it.
    pub fn find<'a>(
        &self,
        candidate: &'a Candidate<'_>,
    ) -> Option<(Arc<ServedMirror>, Candidate<'a>)> {
        let known = self.known();
        known
            .served
            .iter()
            .filter_map(|mirror| Some((mirror, candidate.below(mirror.serving_path())?)))
            .max_by_key(|(mirror, _)| mirror.serving_path().len())
            .map(|(mirror, rest)| (mirror.clone(), rest))
    }

    /// The region of this server.
    pub fn region(&self) -> &str {
        &self.told.region
    }

    pub fn registries(&self) -> &Registries {
        &self.registries
    }

    /// What bounds the files that are kept open.
    pub fn open_files(&self) -> &Arc<Semaphore> {
        &self.open_files
    }

    /// The folder of all stores.
    pub fn data(&self) -> &std::path::Path {
        &self.data
    }

    /// The handles of the registry that is asked.
    pub fn traffic_of(&self, wanted: &Wanted<'_>) -> Arc<MirrorTraffic> {
        wanted.traffic(&self.metrics)
    }

    /// An answer that counts for no mirror.
    pub fn outside(&self, answer: Answer) -> Counted {
        Counted {
            answer,
            traffic: self.outside.clone(),
        }
    }

    /// For a request that should have been answered, and was not for a reason of our own.
    pub fn unanswered(&self) -> Counted {
        self.outside(Answer::unavailable(
            "the mirror could not answer this request",
        ))
    }

    /// Ready when every known store serves a snapshot and there is one: local facts only. Blocks on the disk.
    pub fn readiness(&self) -> Readiness {
        let known = self.known();
        let registries = self.registries.served();
        let is_empty = known.served.is_empty() && registries.is_empty();
        let mut ready = !is_empty;
        let mut detail: Vec<String> = (registries.iter())
            .map(|registry| format!("{}: fills itself on demand", registry.name()))
            .collect();
        if is_empty && known.problems.is_empty() {
            detail.push(format!(
                "no store is in {} yet: a sync makes one",
                self.data.display()
            ));
        }
        for mirror in &known.served {
            match &mirror.view().current {
                Some(current) => detail.push(format!(
                    "{}: serves snapshot {}",
                    mirror.name(),
                    current.id()
                )),
                None => {
                    ready = false;
                    detail.push(format!("{}: has no snapshot to serve yet", mirror.name()));
                }
            }
            detail.extend(
                mirror
                    .problem()
                    .map(|problem| format!("{}: {problem}", mirror.name())),
            );
        }
        for problem in &known.problems {
            ready &= !problem.unserved;
            detail.push(problem.text.clone());
        }
        Readiness { ready, detail }
    }

    fn known(&self) -> Arc<Known> {
        lock_read(&self.known).clone()
    }

    fn read(&self, before: &Known) -> Known {
        let mut known = Known::default();
        let names = match directories(&self.data) {
            Ok(names) => names,
            Err(error) => {
                let text = format!(
                    "the data directory {} cannot be listed: {error}",
                    self.data.display()
                );
                let problems = vec![Problem {
                    text,
                    unserved: true,
                }];
                // What is open can still be served.
                return Known {
                    stores: before.stores.clone(),
                    served: before.served.clone(),
                    problems,
                };
            }
        };
        for name in names {
            match self.open(&name, before) {
                Ok(Some(opened)) => {
                    known.admit(&opened.mirror);
                    known.stores.insert(name, opened);
                }
                Ok(None) => {}
                Err(error) => {
                    let dir = self.data.join(&name);
                    // What was open goes on, whatever has become of its `store.json`.
                    let before = before.stores.get(&name).cloned();
                    let (words, unserved) = match before {
                        Some(_) => ("is served as it was", false),
                        None => ("cannot be served", true),
                    };
                    let text = format!("the store in {} {words}: {error}", dir.display());
                    known.problems.push(Problem { text, unserved });
                    if let Some(opened) = before {
                        known.admit(&opened.mirror);
                        known.stores.insert(name, opened);
                    }
                }
            }
        }
        known
    }

    /// The store in one directory; none where there is no store.
    fn open(&self, name: &OsString, before: &Known) -> Result<Option<Opened>, StoreError> {
        let dir = self.data.join(name);
        if !Store::exists(&dir) {
            return Ok(None);
        }
        let stamp = std::fs::metadata(dir.join(IDENTITY_FILE))
            .as_ref()
            .map_or((0, 0, 0), stamp);
        if let Some(opened) = before
            .stores
            .get(name)
            .filter(|opened| opened.stamp == stamp)
        {
            return Ok(Some(opened.clone()));
        }
        match Store::open(&dir) {
            Ok(store) => {
                let of = &store.identity().mirror;
                let traffic = self.metrics.mirror(of);
                let orders = Orders::of(self.told.orders.as_deref(), of);
                let lists = Lists::of(self.told.lists.as_deref(), of);
                let files = self.open_files.clone();
                let origin = self.origin.clone();
                let mirror = ServedMirror::new(store, (orders, lists), traffic, files, origin);
                if let Some(opened) = before.stores.get(name) {
                    mirror.take_over(&opened.mirror);
                }
                Ok(Some(Opened {
                    stamp,
                    mirror: Arc::new(mirror),
                }))
            }
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn report_changes(&self, before: &Known, after: &Known) {
        for mirror in &after.served {
            if !before.served.iter().any(|known| Arc::ptr_eq(known, mirror)) {
                tracing::info!(
                    mirror = mirror.name(),
                    "serving under /{}/",
                    mirror.serving_path()
                );
            }
        }
        for mirror in &before.served {
            if !after
                .served
                .iter()
                .any(|known| known.name() == mirror.name())
            {
                tracing::info!(mirror = mirror.name(), "no longer served");
                self.metrics.remove(mirror.name());
            }
        }
    }
}

impl Known {
    /// Serves a mirror under its path, unless the path is taken or ours.
    fn admit(&mut self, mirror: &Arc<ServedMirror>) {
        let path = mirror.serving_path();
        if path.split('/').next() == Some(OURS) {
            let text = format!(
                "{}: the serving path {path:?} is reserved; give the Mirror another `serving.path`",
                mirror.name()
            );
            self.problems.push(Problem {
                text,
                unserved: true,
            });
            return;
        }
        if let Some(first) = self
            .served
            .iter()
            .find(|served| served.serving_path() == path)
        {
            let text = format!(
                "{} is not served: {} already has the serving path /{path}/; give one of them another `serving.path`",
                mirror.name(),
                first.name()
            );
            self.problems.push(Problem {
                text,
                unserved: false,
            });
            return;
        }
        self.served.push(mirror.clone());
    }
}

fn directories(data: &PathBuf) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(data)? {
        names.push(entry?.file_name());
    }
    names.sort();
    Ok(names)
}

fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.ino(), metadata.mtime(), metadata.mtime_nsec())
}
