//! What a mirror's volume holds, as requests see it.

use std::sync::Arc;

use fleet_store::{Entry, Retained, Retention, Snapshot, SnapshotId};
use fleet_types::Order;

/// What is on the volume, read at one moment. Requests hold on to it until they are answered.
#[derive(Default, Clone)]
pub struct View {
    pub current: Option<Arc<Snapshot>>,
    /// When `current` was published, Unix seconds.
    pub published: Option<i64>,
    /// The epoch of the order by which it is served; 0 where nobody ordered it.
    pub epoch: u64,
    /// When somebody last went back to an older snapshot, or forward again, in Unix seconds; 0 where nobody did.
    pub returned_at: i64,
    /// The others, newest first.
    pub others: Vec<Arc<Snapshot>>,
    /// Names of snapshots that were given up, and for how long they count.
    pub retained: Option<(Arc<Retained>, Retention)>,
}

/// A path of one snapshot, if there are bytes to serve, or to fetch. By the snapshot's own links: a name may have stood for another
/// directory in another one.
pub fn served_in(snapshot: &Snapshot, path: &str) -> Option<Entry> {
    let entry = snapshot.get(&snapshot.behind_links(path))?;
    entry.state.is_offered().then_some(entry)
}

impl View {
    /// What is served, and by which order; the epoch is 0 where nobody ordered it.
    pub fn follows(&self) -> Option<Order> {
        let current = self.current.as_ref()?;
        Some(Order {
            epoch: self.epoch,
            snapshot: current.id().0,
        })
    }

    /// When a file of a snapshot was last modified, for clients that compare dates and would go on with what they have: what
    /// changes is not older than the moment at which somebody went back to what is served, and what any other snapshot has of it is
    /// older than that. Who was led to the other one before has to take what is served afterwards.
    pub fn modified(&self, entry: &Entry, of: Option<SnapshotId>) -> i64 {
        let is_served = || self.current.as_ref().map(|current| current.id()) == of;
        match entry.mutable {
            true if is_served() => entry.mtime.max(self.returned_at),
            true => entry.mtime.max(self.returned_at.saturating_sub(1)),
            false => entry.mtime,
        }
    }

    /// A snapshot by its whole id.
    pub fn snapshot(&self, id: &SnapshotId) -> Option<&Arc<Snapshot>> {
        self.all().find(|snapshot| snapshot.id() == *id)
    }

    /// A path whose content never changes, in every snapshot, newest first, and among the names that went: for one that
    /// [`served_in`] does not find.
    pub fn find_elsewhere(&self, path: &str) -> Option<Entry> {
        let mut known = self.all().filter_map(|snapshot| served_in(snapshot, path));
        known
            .find(|entry| !entry.mutable)
            .or_else(|| self.find_retained(path))
    }

    /// Under its own name, or under that of what the current snapshot's links lead to.
    fn find_retained(&self, path: &str) -> Option<Entry> {
        let (retained, retention) = self.retained.as_ref()?;
        let behind = || retained.get(&self.current.as_ref()?.behind_links(path));
        let gone = retained.get(path).or_else(behind)?;
        let now = jiff::Timestamp::now().as_second();
        retention.is_recent(gone.at, now).then_some(gone.entry)
    }

    /// Whether one of the files that it reads was found changed since it was opened.
    pub fn is_damaged(&self) -> bool {
        let retained = self.retained.as_ref();
        self.all().any(|snapshot| snapshot.is_damaged())
            || retained.is_some_and(|(list, _)| list.is_damaged())
    }

    /// As [`View::snapshot`], unless it is damaged.
    pub fn whole(&self, id: &SnapshotId) -> Option<&Arc<Snapshot>> {
        self.snapshot(id).filter(|snapshot| !snapshot.is_damaged())
    }

    pub fn has_all_of(&self, other: &View) -> bool {
        other
            .all()
            .all(|snapshot| self.snapshot(&snapshot.id()).is_some())
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Snapshot>> {
        self.current.iter().chain(&self.others)
    }
}
