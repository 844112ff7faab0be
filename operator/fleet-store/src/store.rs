//! A store as its readers see it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use fleet_types::Sha256;
use serde::de::DeserializeOwned;

use crate::error::{Doing, Result, StoreError};
use crate::facts::{self, Facts};
use crate::layout::Layout;
use crate::leftovers::Leftovers;
use crate::snapshot::{self, Snapshot};
use crate::{
    ExportOptions, ExportReport, Identity, ScrubProgress, ScrubReport, SnapshotId, SnapshotMeta,
    Space, export, scrub,
};

/// A store, opened for reading: writes nothing, takes no lock of its own, and works on a read-only mount. Cheap to
/// clone. What other processes publish is seen at the next call.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    layout: Layout,
    identity: Identity,
    /// Open snapshots, so that opening one twice does not verify and map it twice.
    open: Mutex<HashMap<SnapshotId, Weak<Snapshot>>>,
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

    /// Which snapshot is served.
    pub fn current(&self) -> Result<Option<SnapshotId>> {
        match fs::read_to_string(self.layout().current()) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).doing("reading which snapshot is current"),
            Ok(text) => {
                let id = text.trim_end().parse();
                id.map(Some).map_err(|e: fleet_types::DigestError| {
                    StoreError::corrupt("current", e.to_string())
                })
            }
        }
    }

    /// The snapshot that is served, opened.
    pub fn current_snapshot(&self) -> Result<Option<Arc<Snapshot>>> {
        self.current()?.map(|id| self.snapshot(&id)).transpose()
    }

    /// All snapshots, oldest first.
    pub fn snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        let (facts, current) = (self.facts()?, self.current()?);
        let mut found = Vec::new();
        for id in self.snapshot_ids()? {
            let meta = match snapshot::read_meta(&self.layout().snapshot(&id), &id) {
                // Dropped by the collector since the directory was read.
                Err(StoreError::SnapshotNotFound { .. }) => continue,
                other => other?,
            };
            found.push(SnapshotInfo::new(id, meta, &facts, current));
        }
        found.sort_by_key(|info| {
            (
                info.meta.created,
                info.published_at.is_none(),
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
        let mut open = self
            .inner
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(snapshot) = open.get(id).and_then(Weak::upgrade) {
            return Ok(snapshot);
        }
        let snapshot = Arc::new(Snapshot::open(&self.layout().snapshot(id), id)?);
        open.retain(|_, weak| weak.strong_count() > 0);
        open.insert(*id, Arc::downgrade(&snapshot));
        Ok(snapshot)
    }

    /// None when the blob is not there: resolve the path once more then, since its snapshot may have been dropped.
    pub fn open_blob(&self, digest: &Sha256) -> Result<Option<File>> {
        match File::open(self.blob_path(digest)) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            other => other.map(Some).doing("opening a blob"),
        }
    }

    pub fn blob_path(&self, digest: &Sha256) -> PathBuf {
        self.layout().blob(digest)
    }

    /// Whether a blob with this many bytes is there. Its content was verified when it was written.
    pub fn has_blob(&self, digest: &Sha256, size: u64) -> bool {
        fs::symlink_metadata(self.blob_path(digest)).is_ok_and(|m| m.is_file() && m.len() == size)
    }

    /// The snapshot that a person keeps served.
    pub fn pinned(&self) -> Result<Option<SnapshotId>> {
        Ok(self.facts()?.pinned)
    }

    /// The snapshot that a person rolled back from; it is not published again.
    pub fn rolled_back_from(&self) -> Result<Option<SnapshotId>> {
        Ok(self.facts()?.rolled_back_from)
    }

    /// Reads a document of `state/`; none when it was never written.
    pub fn state<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        check_document_name(name)?;
        match fs::read(self.layout().state_document(name)) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).doing("reading a document of state/"),
            Ok(text) => {
                let value = serde_json::from_slice(&text);
                value
                    .map(Some)
                    .map_err(|e| StoreError::corrupt(format!("state/{name}.json"), e.to_string()))
            }
        }
    }

    /// Room on the store's file system.
    pub fn free_space(&self) -> Result<Space> {
        Space::of(self.dir())
    }

    /// What earlier runs left unfinished.
    pub fn leftovers(&self) -> Result<Leftovers> {
        Leftovers::of(self.layout())
    }

    /// Checks that every blob hashes to its name and every snapshot is intact and complete. Reads everything; memory
    /// stays small. An error means that the check itself could not be done; what it finds is in the report.
    pub fn scrub(&self, progress: &mut dyn FnMut(&ScrubProgress)) -> Result<ScrubReport> {
        scrub::scrub(self, progress)
    }

    /// Writes the current snapshot as an ordinary tree; see [`ExportOptions`].
    pub fn export(&self, dest: &Path, options: &ExportOptions) -> Result<ExportReport> {
        export::export(self, dest, options)
    }

    pub(crate) fn facts(&self) -> Result<Facts> {
        Ok(self.state(facts::DOCUMENT)?.unwrap_or_default())
    }

    pub(crate) fn snapshot_ids(&self) -> Result<Vec<SnapshotId>> {
        const DOING: &str = "listing snapshots";
        let mut ids = Vec::new();
        for file in fs::read_dir(self.layout().snapshots()).doing(DOING)? {
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
