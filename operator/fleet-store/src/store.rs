//! A store as its readers see it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use fleet_types::documents::{IndexPin, KeptSnapshot, UnixSeconds};
use fleet_types::{Order, Sha256, lock};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::document;
use crate::error::{Doing, Result, StoreError};
use crate::facts::{self, Facts};
use crate::fs::open_file;
use crate::layout::Layout;
use crate::leftovers::Leftovers;
use crate::pins::Pins;
use crate::retained::Retained;
use crate::snapshot::{self, Snapshot};
use crate::{Identity, SnapshotId, SnapshotMeta, Space};

/// A store, opened for reading: writes nothing (but what [`Store::state_write_beside`] is given), takes no lock of its own,
/// and works on a read-only mount. Cheap to clone. What other processes publish is seen at the next call.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    layout: Layout,
    identity: Identity,
    /// Open snapshots, so that opening one twice does not verify and map it twice.
    open: Mutex<HashMap<SnapshotId, Weak<Snapshot>>>,
    retained: Mutex<Weak<Retained>>,
    pins: Pins,
}

/// Whether and when what clients hold became newer than what is served: by dates they could not tell what to fetch again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Returned {
    /// The snapshot that is served again although it was superseded.
    pub to: Option<SnapshotId>,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub at: Option<i64>,
}

/// What is known of one snapshot without reading its paths.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotInfo {
    pub id: SnapshotId,
    pub meta: SnapshotMeta,
    /// When it was first served; seconds since 1970-01-01T00:00:00Z.
    pub published_at: Option<i64>,
    /// When another one was served in its place; none while it is served and when it never was.
    pub superseded_at: Option<i64>,
    pub pinned: bool,
    pub current: bool,
    /// Never served so far.
    pub prepared_only: bool,
}

impl Store {
    /// [`StoreError::Absent`] where there is none.
    pub fn open(dir: &Path) -> Result<Store> {
        let layout = Layout::new(dir);
        let identity = Identity::read(&layout)?.ok_or_else(|| StoreError::Absent {
            dir: dir.to_owned(),
        })?;
        Ok(Store::new(layout, identity))
    }

    pub(crate) fn new(layout: Layout, identity: Identity) -> Store {
        Store {
            inner: Arc::new(Inner {
                layout,
                identity,
                open: Mutex::default(),
                retained: Mutex::default(),
                pins: Pins::default(),
            }),
        }
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    pub fn dir(&self) -> &Path {
        self.layout().root()
    }

    /// As it was when the store was opened.
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// Whether there is a store, damaged or not.
    pub fn exists(dir: &Path) -> bool {
        let layout = Layout::new(dir);
        let copy = document::copy_of(&layout, &layout.identity());
        layout.identity().is_file() || copy.is_some_and(|copy| copy.is_file())
    }

    /// Which snapshot is served. Where `current` cannot be read or names none that is there, it is what the facts say
    /// was served last.
    pub fn current(&self) -> Result<Option<SnapshotId>> {
        let read = self.read_current();
        let is_there = |id: &SnapshotId| self.layout().snapshot(id).is_file();
        match &read {
            Ok(Some(id)) if is_there(id) => return read,
            Err(error) if !error.is_damage() => return read,
            _ => {}
        }
        let served = self.facts().ok().and_then(|facts| facts.served());
        served.filter(is_there).map_or(read, |id| Ok(Some(id)))
    }

    /// What `current` itself says.
    pub(crate) fn read_current(&self) -> Result<Option<SnapshotId>> {
        let Some(text) = document::read_file(
            &self.layout().current(),
            "reading which snapshot is current",
        )?
        else {
            return Ok(None);
        };
        let id = std::str::from_utf8(&text).ok().map(str::trim_end);
        match id.and_then(|id| id.parse().ok()) {
            Some(id) => Ok(Some(id)),
            None => Err(StoreError::corrupt(
                "current",
                "it is not the id of a snapshot",
            )),
        }
    }

    /// What `current` names, and by which order: its epoch is 0 where it was none.
    pub fn settled_order(&self) -> Result<Option<Order>> {
        let epoch = or_default(self.facts())?.epoch;
        Ok(self.current()?.map(|id| Order {
            epoch,
            snapshot: id.0,
        }))
    }

    /// The snapshot that is served, opened.
    pub fn current_snapshot(&self) -> Result<Option<Arc<Snapshot>>> {
        self.current()?.map(|id| self.snapshot(&id)).transpose()
    }

    /// All snapshots that say what they are, oldest first. What cannot be read is left out (see
    /// [`Store::unreadable`]): one damaged file must not hide the whole ones.
    pub fn snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        let facts = or_default(self.facts())?;
        let current = or_default(self.current())?;
        let mut found = Vec::new();
        for id in self.snapshot_ids()? {
            let meta = match snapshot::read_meta(&self.layout().snapshot(&id), &id) {
                // Dropped by the collector since the directory was read.
                Err(StoreError::SnapshotNotFound { .. }) => continue,
                Err(error) if error.is_damage() => continue,
                other => other?,
            };
            found.push(SnapshotInfo::new(id, meta, &facts, current));
        }
        found.sort_by_key(|info| {
            (
                info.meta.created,
                info.published_at.is_none(),
                facts.times(&info.id).turn,
                info.published_at,
                info.id,
            )
        });
        Ok(found)
    }

    /// The one snapshot whose id begins with `prefix` (8 hexadecimal digits or more).
    pub fn resolve(&self, prefix: &str) -> Result<SnapshotId> {
        let wanted = prefix.to_ascii_lowercase();
        let not_found = || StoreError::SnapshotNotFound {
            wanted: prefix.chars().take(64).collect(),
        };
        if wanted.len() < 8 {
            return Err(not_found());
        }
        let mut fitting = self.snapshot_ids()?;
        fitting.retain(|id| id.to_string().starts_with(&wanted));
        match fitting.as_slice() {
            [] => Err(not_found()),
            [one] => Ok(*one),
            _ => Err(StoreError::AmbiguousPrefix { prefix: wanted }),
        }
    }

    /// Opens a snapshot after verifying its digest (0.1 s for a full Debian archive); an open one is shared.
    pub fn snapshot(&self, id: &SnapshotId) -> Result<Arc<Snapshot>> {
        let mut open = lock(&self.inner.open);
        let known = open.get(id).and_then(Weak::upgrade);
        if let Some(snapshot) = known.filter(|snapshot| !snapshot.is_damaged()) {
            return Ok(snapshot);
        }
        let snapshot = Arc::new(Snapshot::open(&self.layout().snapshot(id), id)?);
        self.inner.pins.learn(id, &snapshot.file, snapshot.pin());
        open.retain(|_, weak| weak.strong_count() > 0);
        open.insert(*id, Arc::downgrade(&snapshot));
        Ok(snapshot)
    }

    /// The content of a snapshot's index file. Reads the file once, and not again while it is the same.
    pub fn index_pin(&self, id: &SnapshotId) -> Result<IndexPin> {
        self.inner.pins.of(id, &self.layout().snapshot(id))
    }

    /// The index file of a snapshot as it is, for others that copy it by its pin.
    pub fn open_index(&self, id: &SnapshotId) -> Result<File> {
        snapshot::open_index(&self.layout().snapshot(id), id)
    }

    /// A snapshot as others are told of it: without a pin where its index cannot be read, since nobody can copy it then.
    pub fn told(&self, info: &SnapshotInfo) -> KeptSnapshot {
        let dated = info.meta.revision.iter().filter(|unit| unit.is_dated());
        KeptSnapshot {
            id: info.id.0,
            created: UnixSeconds(info.meta.created),
            date: dated.map(|unit| UnixSeconds(unit.date)).max(),
            superseded_at: info.superseded_at.map(UnixSeconds),
            index: self.index_pin(&info.id).ok(),
            changes: info.meta.changes,
            bytes: Some(info.meta.bytes),
        }
    }

    /// The names that went and can still be asked for; none where there are none. Verified when it is opened; an open
    /// one is shared until it is replaced.
    pub fn retained(&self) -> Result<Option<Arc<Retained>>> {
        let path = self.layout().retained();
        let mut open = lock(&self.inner.retained);
        let known = open.upgrade();
        if let Some(known) = known.filter(|known| known.is_at(&path) && !known.is_damaged()) {
            return Ok(Some(known));
        }
        let read = Retained::open(&path)?.map(Arc::new);
        *open = read.as_ref().map(Arc::downgrade).unwrap_or_default();
        Ok(read)
    }

    /// None when the blob is not there: resolve the path once more then, since its snapshot may have been dropped.
    pub fn open_blob(&self, digest: &Sha256) -> Result<Option<File>> {
        match open_file(&self.blob_path(digest)) {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Ok(None)
            }
            other => other.map(Some).doing("opening a blob"),
        }
    }

    pub fn blob_path(&self, digest: &Sha256) -> PathBuf {
        self.layout().blob(digest)
    }

    /// Whether a blob with this many bytes is there. Its content was verified when it was written.
    pub fn has_blob(&self, digest: &Sha256, size: u64) -> bool {
        self.layout().has_blob(digest, size)
    }

    /// Leaves word for the next writer that a blob is missing or damaged: the one thing that a reader writes, where it
    /// may. False where it may not, as on a read-only mount.
    pub fn suspect(&self, digest: &Sha256) -> bool {
        let file = self.layout().suspects().join(digest.to_string());
        match File::create_new(file) {
            Ok(_) => true,
            Err(e) => e.kind() == ErrorKind::AlreadyExists,
        }
    }

    /// The snapshot that a person keeps served.
    pub fn pinned(&self) -> Result<Option<SnapshotId>> {
        Ok(self.facts()?.pinned)
    }

    /// The snapshot that a person rolled back from; it is not published again.
    pub fn rolled_back_from(&self) -> Result<Option<SnapshotId>> {
        Ok(self.facts()?.rolled_back_from)
    }

    /// Whether and when somebody went back.
    pub fn returned(&self) -> Result<Returned> {
        let facts = or_default(self.facts())?;
        Ok(Returned {
            to: facts.returned,
            at: facts.returned_at,
        })
    }

    /// Reads a document of `state/`; none when it was never written.
    pub fn state<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        check_document_name(name)?;
        document::read(self.layout(), &self.layout().state_document(name))
    }

    /// Replaces a document of `state/` that no writer of the store touches: without the lock, so that no run waits for it or
    /// fails by it, and not durably. One process at a time may do so for a name.
    pub fn state_write_beside<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        const DOING: &str = "writing a document of the store";
        check_document_name(name)?;
        let path = self.layout().state_document(name);
        let new = path.with_extension("new");
        let text = document::seal(value).doing(DOING)?;
        fs::write(&new, text).doing(DOING)?;
        fs::rename(&new, &path).doing(DOING)
    }

    /// Room on the store's file system.
    pub fn free_space(&self) -> Result<Space> {
        Space::of(self.dir())
    }

    /// What earlier runs left unfinished.
    pub fn leftovers(&self) -> Result<Leftovers> {
        Leftovers::of(self.layout())
    }

    pub(crate) fn facts(&self) -> Result<Facts> {
        Ok(self.state(facts::DOCUMENT)?.unwrap_or_default())
    }

    pub(crate) fn snapshot_ids(&self) -> Result<Vec<SnapshotId>> {
        const DOING: &str = "listing snapshots";
        let mut ids = Vec::new();
        let files = match fs::read_dir(self.layout().snapshots()) {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(ids);
            }
            other => other.doing(DOING)?,
        };
        for file in files {
            let name = file.doing(DOING)?.file_name();
            // Others are unfinished or dropped ones.
            ids.extend(
                name.to_str()
                    .and_then(|name| name.parse::<SnapshotId>().ok()),
            );
        }
        ids.sort_unstable();
        Ok(ids)
    }
}

impl SnapshotInfo {
    fn new(
        id: SnapshotId,
        meta: SnapshotMeta,
        facts: &Facts,
        current: Option<SnapshotId>,
    ) -> SnapshotInfo {
        let times = facts.times(&id);
        let current = current == Some(id);
        SnapshotInfo {
            id,
            meta,
            published_at: times.published_at,
            superseded_at: times.superseded_at,
            pinned: facts.pinned == Some(id),
            current,
            prepared_only: times.published_at.is_none() && !current,
        }
    }
}

/// Nothing where a file is damaged.
fn or_default<T: Default>(read: Result<T>) -> Result<T> {
    match read {
        Err(error) if error.is_damage() => Ok(T::default()),
        other => other,
    }
}

/// Names of documents are our own fixed words; this keeps it so.
pub(crate) fn check_document_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.is_empty() && name.chars().all(fits) {
        return Ok(());
    }
    let what = format!("the state document {name:?}");
    Err(StoreError::Limit {
        what,
        limit: "its name consists of lower-case letters, digits and hyphens",
    })
}
