//! One mirror as it is served: its store, the snapshot that is current, and the others that are kept.
//!
//! # Which snapshot
//! The one that an order names, if its epoch is higher than that of what was served so far and the snapshot is here;
//! else what was served so far. That is what `current` names when a server starts, with the epoch that a run noted beside
//! it: no order, however old, takes a server back.
//!
//! # What a client may rely on
//! Each request reads once what is current. A name with changing content is looked up in that snapshot alone; a name whose
//! content never changes is also found in every other snapshot on the volume, published or only prepared. A client
//! whose requests span a publish therefore still finds everything that the index it began with names by digest. So it
//! does where that snapshot was given up since, because so many were published: such names stay for as long as
//! snapshots that are superseded do ([`fleet_store::Retained`]).

mod volume;

use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use fleet_origin::{Missing, Obtained, Origin, Wanted};
use fleet_store::{Entry, Identity, ListStamp, Snapshot, SnapshotId, Store, Transactions};
use fleet_telemetry::{MirrorTraffic, ServedSnapshot};
use fleet_types::documents::NotKept;
use fleet_types::{Sha256, lock};
use futures::future::BoxFuture;
use tokio::sync::Semaphore;

use crate::back::Back;
use crate::blobs::OpenBlobs;
use crate::lists::Lists;
use crate::orders::Orders;
use crate::signs::Signs;
use crate::suspects::Suspects;
use crate::view::View;

/// How long the answer to "what is current?" is believed, an order included.
const CURRENT_AGE: Duration = Duration::from_millis(100);
/// How long the names of snapshots are believed where the volume does not say that they changed.
const KEPT_AGE: Duration = Duration::from_secs(1);
/// How often a store with something wrong in it is read again: verifying a large index anew takes a while.
const PROBLEM_AGE: Duration = Duration::from_secs(2);

/// A store that is served.
pub struct ServedMirror {
    store: Store,
    /// Without slashes at its ends.
    serving_path: String,
    /// Counts the requests of this mirror.
    pub traffic: Arc<MirrorTraffic>,
    pub blobs: OpenBlobs,
    known: Mutex<Known>,
    /// Held while the volume is read. Opening a large snapshot verifies its index, which takes a while; requests go on
    /// with what is known meanwhile.
    reading: Mutex<()>,
    orders: Orders,
    lists: Lists,
    suspects: Suspects,
    /// Where what is not here comes from, if anything is fetched on demand.
    origin: Option<Arc<dyn Origin>>,
    back: Mutex<Back>,
}

#[derive(Default)]
struct Known {
    view: Arc<View>,
    current_read: Option<Instant>,
    kept_read: Option<Instant>,
    /// Of the snapshots that were listed then.
    kept_stamp: Option<ListStamp>,
    /// What it came from.
    signs: Option<Signs>,
    problem: Option<String>,
}

impl ServedMirror {
    /// `open_files` counts those that all mirrors together may keep open.
    pub fn new(
        store: Store,
        (orders, lists): (Orders, Lists),
        traffic: Arc<MirrorTraffic>,
        open_files: Arc<Semaphore>,
        origin: Option<Arc<dyn Origin>>,
    ) -> ServedMirror {
        ServedMirror {
            blobs: OpenBlobs::new(store.clone(), open_files),
            serving_path: store.identity().serving_path.trim_matches('/').to_owned(),
            store,
            traffic,
            known: Mutex::default(),
            reading: Mutex::default(),
            orders,
            lists,
            suspects: Suspects::default(),
            origin,
            back: Mutex::default(),
        }
    }

    /// What to say of when a file of a snapshot was last modified, in Unix seconds: by what is served at this moment, whatever
    /// was when the request came.
    pub fn modified(&self, entry: &Entry, of: Option<SnapshotId>) -> i64 {
        match entry.mutable {
            true => self.known().view.modified(entry, of),
            false => entry.mtime,
        }
    }

    /// Goes on from what another served of the same store, and no further back.
    pub fn take_over(&self, before: &ServedMirror) {
        if before.name() == self.name() {
            self.known().view = before.known().view.clone();
            let back = *lock(&before.back);
            *lock(&self.back) = back;
        }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn identity(&self) -> &Identity {
        self.store.identity()
    }

    pub fn name(&self) -> &str {
        &self.identity().mirror
    }

    pub fn lists(&self) -> &Lists {
        &self.lists
    }

    /// Without slashes at its ends.
    pub fn serving_path(&self) -> &str {
        &self.serving_path
    }

    /// Whether a client begins at this path to read a unit, and could meet the next snapshot before it has read all.
    pub fn begins_transaction(&self, current: &Snapshot, path: &str) -> bool {
        let opening = current
            .meta()
            .openings
            .get(current.behind_links(path).as_ref());
        let mode = self.identity().clients.transactions;
        opening.is_some_and(|fixed_names| match mode {
            Transactions::Never => false,
            Transactions::WithoutByHash => !fixed_names,
            Transactions::Always => true,
        })
    }

    /// Whether a file and the signature beside it are to be of one snapshot, for clients that ask for one after the other.
    pub fn keeps_pairs(&self) -> bool {
        self.identity().clients.transactions != Transactions::Never
    }

    /// The path of this mirror's status document.
    pub fn status_path(&self) -> String {
        format!("/.mirrorfleet/status/{}", crate::path::encode(self.name()))
    }

    /// What is served; what tells it was read at most [`CURRENT_AGE`] ago, or is being read. Blocks on the disk.
    pub fn view(&self) -> Arc<View> {
        let (view, stale) = {
            let known = self.known();
            (
                known.view.clone(),
                is_older(known.current_read, CURRENT_AGE),
            )
        };
        if !stale {
            return view;
        }
        match self.reading.try_lock() {
            Ok(_reading) => self.read_current(),
            Err(TryLockError::Poisoned(_)) => self.read_current(),
            Err(TryLockError::WouldBlock) => view,
        }
    }

    /// What is served, if that is known without reading: as [`view`](Self::view), and none where that would read.
    pub fn view_at_hand(&self, now: Instant) -> Option<Arc<View>> {
        let (view, stale) = {
            let known = self.known();
            let age = known
                .current_read
                .map(|at| now.saturating_duration_since(at));
            (known.view.clone(), age.is_none_or(|age| age >= CURRENT_AGE))
        };
        let being_read = || matches!(self.reading.try_lock(), Err(TryLockError::WouldBlock));
        (!stale || being_read()).then_some(view)
    }

    /// The blob of an entry, which was asked for by this path, is missing or damaged; true when that is news.
    pub fn suspect(&self, path: &str, entry: &Entry) -> bool {
        self.blobs.close(path);
        self.suspects.add(&self.store, entry)
    }

    /// Asks for what a path stands for and is not here; none where nobody fetches on demand.
    pub fn fetch(&self, path: &str, entry: &Entry) -> Option<BoxFuture<'static, Obtained>> {
        let missing = Missing {
            mirror: self.name(),
            wanted: Wanted::Content {
                path,
                digest: entry.digest,
                size: entry.size,
            },
        };
        Some(self.origin.as_ref()?.obtain(missing))
    }

    /// Tells what clients were given of what is fetched on demand.
    pub fn tell_use(&self) {
        let Some(origin) = &self.origin else { return };
        let used = self.blobs.take_used();
        if !used.is_empty() {
            origin.used(self.name(), used);
        }
    }

    /// Why what is fetched on demand cannot be kept, if anything is and it cannot.
    pub fn not_kept(&self) -> Option<NotKept> {
        self.origin.as_ref()?.not_kept().remove(self.name())
    }

    /// The blobs that could not be served and are not whole yet. Blocks on the disk.
    pub fn suspects(&self) -> Vec<Sha256> {
        self.suspects.of(&self.store)
    }

    /// Brings the metrics of the store's health up to date. Blocks on the disk.
    pub fn tell_health(&self) {
        self.suspects.tell(&self.store, &self.traffic);
    }

    /// What is served, read afresh: for when a blob that a view names has been collected.
    pub fn fresh_view(&self) -> Arc<View> {
        let _reading = lock(&self.reading);
        self.read_kept()
    }

    /// A view that knows snapshots that were prepared since, with the same `current`: that is resolved once for each
    /// request. Another region may serve already what has just been prepared here.
    pub fn wider_view(&self, seen: &Arc<View>) -> Arc<View> {
        let _reading = lock(&self.reading);
        let (view, read, stamp) = {
            let known = self.known();
            (known.view.clone(), known.kept_read, known.kept_stamp)
        };
        let holds = |stamp: ListStamp| stamp.still_holds(&self.store);
        let view = match is_older(read, KEPT_AGE) || !stamp.is_some_and(holds) {
            true => self.read_kept(),
            false => view,
        };
        Arc::new(View {
            current: seen.current.clone(),
            published: seen.published,
            epoch: seen.epoch,
            returned_at: seen.returned_at,
            others: view.all().cloned().collect(),
            retained: view.retained.clone(),
        })
    }

    /// Why this mirror serves nothing, or not what it should; none if all is well.
    pub fn problem(&self) -> Option<String> {
        self.known().problem.clone()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }

    /// Reads what tells which snapshot is current, and the rest if that changed. The caller holds `reading`.
    fn read_current(&self) -> Arc<View> {
        // What comes about while it is read is not known by then.
        let began = Instant::now();
        let signs = Signs::read(&self.store, &self.orders);
        let mut known = self.known();
        let doubtful = known.problem.is_some() && is_older(known.kept_read, PROBLEM_AGE);
        if known.kept_read.is_some() && !doubtful && known.signs.as_ref() == Some(&signs) {
            known.current_read = Some(began);
            return known.view.clone();
        }
        drop(known);
        self.read_kept()
    }

    /// Reads everything. The caller holds `reading`.
    fn read_kept(&self) -> Arc<View> {
        let before = self.known().view.clone();
        let began = Instant::now();
        let signs = Signs::read(&self.store, &self.orders);
        let stamp = ListStamp::before_listing(&self.store);
        // Without the lock on what is known: others keep answering from it.
        let read = self.read_volume(&before, &signs);
        let mut known = self.known();
        known.current_read = Some(began);
        known.kept_read = Some(Instant::now());
        known.kept_stamp = Some(stamp);
        known.signs = Some(signs);
        let problem = match read {
            Ok((view, problem)) => {
                let served = view.current.as_ref();
                let served = served.map(|current| ServedSnapshot {
                    id: current.id().to_string(),
                    published: view.published,
                });
                self.traffic.set_served(served);
                if !view.has_all_of(&before) {
                    // The collector may have removed blobs, and an open file would keep their bytes on the disk.
                    self.blobs.close_all();
                }
                known.view = Arc::new(view);
                problem
            }
            // What was served before still is: it was complete, and its blobs are checked again with each request.
            Err(error) => Some(error.to_string()),
        };
        self.note(&mut known, problem);
        known.view.clone()
    }

    /// Logs a problem when it begins and when it is over, not with each request.
    fn note(&self, known: &mut Known, problem: Option<String>) {
        if known.problem != problem {
            match &problem {
                Some(problem) => {
                    tracing::error!(mirror = self.name(), %problem, "the store cannot be served as it should")
                }
                None => tracing::info!(mirror = self.name(), "the store can be served again"),
            }
        }
        known.problem = problem;
    }
}

fn unix_seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn is_older(read: Option<Instant>, age: Duration) -> bool {
    read.is_none_or(|at| at.elapsed() >= age)
}
