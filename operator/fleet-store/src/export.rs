//! The current snapshot as an ordinary tree, for tools that know nothing of a store.
//!
//! # Order
//!
//! Immutable content first, then mutable names (deepest first), then roots and links, then deletions, and last what says
//! that all this is done: a web server over the tree never names what is not there yet. What the tree may hold is
//! recorded beside it before anything is changed: the index of the last complete export, and those of exports that were
//! interrupted since. A file is left alone only when all of them agree with the new snapshot about its content.

mod beside;

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::error::{Doing, Result, StoreError};
use crate::merge::Merged;
use crate::snapshot::Snapshot;
use crate::tree::{Tree, Writing};
use crate::{Entry, EntryState, Identity, SnapshotId, Store};

pub use beside::Afterwards;

/// How files get into the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExportMode {
    /// Reflink where the file system has it, else hard link, else copy.
    #[default]
    Auto,
    /// Hard links: no space, but the blobs' mode 0444 and time, and editing one edits the store (`verify` catches it).
    Link,
    /// Copies that share their space until one is changed.
    Reflink,
    Copy,
}

#[derive(Debug, Clone, Default)]
pub struct ExportOptions {
    pub mode: ExportMode,
    /// File names of roots, in the order in which they are written after everything else. For Debian
    /// `Release.gpg`, `Release`, `InRelease`.
    pub roots_last: Vec<String>,
    /// What is not in a snapshot and comes after all of it. Content of the snapshot wins.
    pub afterwards: Vec<Afterwards>,
}

/// What an export did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportReport {
    pub snapshot: SnapshotId,
    /// How the last file was written; the requested mode when none was.
    pub mode_used: ExportMode,
    /// Files written, and their bytes.
    pub written: u64,
    pub bytes: u64,
    pub unchanged: u64,
    pub removed: u64,
}

/// Below the destination: what is ours, and what the tree may hold.
const MARKER: &str = ".mirrorfleet-export";
const COMPLETE: &str = "complete";
const PENDING: &str = "pending-";
const DOING: &str = "exporting";

pub(crate) fn export(store: &Store, dest: &Path, options: &ExportOptions) -> Result<ExportReport> {
    let new = store
        .current_snapshot()?
        .ok_or_else(|| StoreError::SnapshotNotFound {
            wanted: "is served".into(),
        })?;
    let claim = Claim::take(store, dest)?;
    let bases = claim.bases()?;
    claim.begin(store, &new)?;
    let mut export = Export {
        store,
        dest,
        tree: Tree::open(dest).doing(DOING)?,
        writing: Writing::new(options.mode),
        report: ExportReport {
            snapshot: new.id(),
            mode_used: options.mode,
            written: 0,
            bytes: 0,
            unchanged: 0,
            removed: 0,
        },
    };
    export.write_changes(&new, &bases, options)?;
    export.write_links(&new, &bases)?;
    export.remove_vanished(&new, &bases)?;
    export.write_afterwards(&new, &claim, &options.afterwards)?;
    export.report.mode_used = export.writing.used();
    claim.complete(&new.id())?;
    Ok(export.report)
}

struct Export<'a> {
    store: &'a Store,
    dest: &'a Path,
    tree: Tree,
    writing: Writing,
    report: ExportReport,
}

/// A mutable path that waits for its turn.
struct Late {
    /// 0 for what is no root, else the position among the roots plus one.
    root: usize,
    depth: usize,
    path: String,
    entry: Entry,
}

impl Export<'_> {
    fn write_changes(
        &mut self,
        new: &Snapshot,
        bases: &[Snapshot],
        options: &ExportOptions,
    ) -> Result<()> {
        let mut cursors: Vec<_> = bases.iter().map(|base| Merged::new(Some(base))).collect();
        // Mutable names are few: indices and roots, no payload.
        let mut late = Vec::new();
        for (path, entry) in new.iter() {
            let path = path.as_str();
            let agreed = !cursors.is_empty()
                & cursors
                    .iter_mut()
                    .fold(true, |all, base| holds(base.at(path), &entry) & all);
            if entry.state != EntryState::Present {
                continue;
            }
            if agreed && self.tree.has(path, entry.size).doing(DOING)? {
                self.report.unchanged += 1;
            } else if entry.mutable || root_rank(path, options) > 0 {
                let (root, depth) = (root_rank(path, options), path.matches('/').count());
                late.push(Late {
                    root,
                    depth,
                    path: path.to_owned(),
                    entry,
                });
            } else {
                self.write(path, &entry, bases)?;
            }
        }
        late.sort_by(|a, b| (a.root, b.depth, &a.path).cmp(&(b.root, a.depth, &b.path)));
        late.iter()
            .try_for_each(|late| self.write(&late.path, &late.entry, bases))
    }

    fn write(&mut self, path: &str, entry: &Entry, bases: &[Snapshot]) -> Result<()> {
        if path.split('/').next() == Some(MARKER) {
            let problem = format!(
                "the snapshot holds {path:?}, which is where the export keeps its own record"
            );
            return Err(self.refuse(problem));
        }
        let Some(blob) = self.store.open_blob(&entry.digest)? else {
            return Err(StoreError::blob(
                &entry.digest,
                format!("it is missing, and {path:?} needs it"),
            ));
        };
        let source = self.store.blob_path(&entry.digest);
        if !self
            .writing
            .put(&mut self.tree, path, &source, &blob, entry.mtime)?
        {
            self.clear_directory(path, bases)?;
            if !self
                .writing
                .put(&mut self.tree, path, &source, &blob, entry.mtime)?
            {
                let problem = format!(
                    "{path:?} is a directory there that holds files which are not ours; remove them"
                );
                return Err(self.refuse(problem));
            }
        }
        self.report.written += 1;
        self.report.bytes += entry.size;
        Ok(())
    }

    /// What was a directory in an earlier snapshot is a file now.
    fn clear_directory(&mut self, path: &str, bases: &[Snapshot]) -> Result<()> {
        let below = format!("{path}/");
        for base in bases {
            for (old, _) in base
                .iter_from(&below)
                .take_while(|(old, _)| old.as_str().starts_with(&below))
            {
                self.tree.remove(old.as_str()).doing(DOING)?;
            }
        }
        Ok(())
    }

    fn remove_vanished(&mut self, new: &Snapshot, bases: &[Snapshot]) -> Result<()> {
        for base in bases {
            let mut cursor = Merged::new(Some(new));
            for (path, entry) in base
                .iter()
                .filter(|(_, entry)| entry.state == EntryState::Present)
            {
                let stays = cursor
                    .at(path.as_str())
                    .is_some_and(|now| now.state == EntryState::Present);
                // A path that is a directory now is not removed: only files are.
                if !stays
                    && entry.state == EntryState::Present
                    && self.tree.remove(path.as_str()).doing(DOING)?
                {
                    self.report.removed += 1;
                }
            }
        }
        Ok(())
    }

    fn refuse(&self, problem: String) -> StoreError {
        StoreError::Export {
            dest: self.dest.to_owned(),
            problem,
        }
    }
}

fn holds(base: Option<Entry>, entry: &Entry) -> bool {
    base.is_some_and(|base| {
        (base.state, base.digest, base.size) == (EntryState::Present, entry.digest, entry.size)
    })
}

fn root_rank(path: &str, options: &ExportOptions) -> usize {
    let name = path.rsplit('/').next().unwrap_or(path);
    options
        .roots_last
        .iter()
        .position(|root| root == name)
        .map_or(0, |position| position + 1)
}

/// Whose tree it is.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
struct Owner {
    upstream_type: String,
    authority: String,
    mirror: String,
}

impl Owner {
    fn of(identity: &Identity) -> Owner {
        let Identity {
            upstream_type,
            authority,
            mirror,
            ..
        } = identity.clone();
        Owner {
            upstream_type,
            authority,
            mirror,
        }
    }
}

/// The destination, found to be empty or ours, and locked against a second export.
struct Claim {
    dest: PathBuf,
    marker: PathBuf,
    _lock: File,
}

impl Claim {
    fn take(store: &Store, dest: &Path) -> Result<Claim> {
        fs::create_dir_all(dest).doing(DOING)?;
        let dest = dest.canonicalize().doing(DOING)?;
        let refuse = |problem: String| StoreError::Export {
            dest: dest.clone(),
            problem,
        };
        let inside = store.dir().canonicalize().doing(DOING)?;
        if dest.starts_with(&inside) || inside.starts_with(&dest) {
            return Err(refuse(
                "the store and the exported tree must not lie inside each other".into(),
            ));
        }
        let marker = dest.join(MARKER);
        let is_ours = fs::symlink_metadata(&marker).is_ok_and(|m| m.is_dir());
        if !is_ours && fs::read_dir(&dest).doing(DOING)?.next().is_some() {
            return Err(refuse(
                "it is neither empty nor an earlier export; choose an empty directory".into(),
            ));
        }
        fs::create_dir(&marker)
            .or_else(|e| if is_ours { Ok(()) } else { Err(e) })
            .doing(DOING)?;
        let lock = File::create(marker.join("lock")).doing(DOING)?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(refuse(
                "another export is writing there; wait for it to end".into(),
            ));
        }
        let claim = Claim {
            marker,
            _lock: lock,
            dest: dest.clone(),
        };
        claim
            .check_owner(&Owner::of(store.identity()))
            .and_then(|fits| {
                if fits {
                    Ok(claim)
                } else {
                    Err(refuse(
                        "it is the export of another mirror; choose another directory".into(),
                    ))
                }
            })
    }

    fn check_owner(&self, owner: &Owner) -> Result<bool> {
        let file = self.marker.join("owner.json");
        match fs::read(&file) {
            Ok(text) => {
                Ok(serde_json::from_slice::<Owner>(&text).is_ok_and(|recorded| recorded == *owner))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let text = serde_json::to_vec(owner)
                    .map_err(std::io::Error::from)
                    .doing(DOING)?;
                fs::write(&file, text).doing(DOING).map(|()| true)
            }
            Err(e) => Err(e).doing(DOING),
        }
    }

    /// All that the tree may hold.
    fn bases(&self) -> Result<Vec<Snapshot>> {
        let mut bases = Vec::new();
        for name in self.records()? {
            match Snapshot::open_unnamed(&self.marker.join(&name)) {
                Ok(base) => bases.push(base),
                Err(StoreError::Corrupt { .. }) => {
                    let problem = format!(
                        "its record {MARKER}/{name} is damaged; export into an empty directory"
                    );
                    return Err(StoreError::Export {
                        dest: self.dest.clone(),
                        problem,
                    });
                }
                Err(other) => return Err(other),
            }
        }
        Ok(bases)
    }

    /// Names of the indices that are recorded.
    fn records(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for file in fs::read_dir(&self.marker).doing(DOING)? {
            let name = file
                .doing(DOING)?
                .file_name()
                .to_string_lossy()
                .into_owned();
            if name == COMPLETE || name.starts_with(PENDING) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Records that the tree may hold the new snapshot's content from now on.
    fn begin(&self, store: &Store, new: &Snapshot) -> Result<()> {
        let (source, temporary) = (store.layout().snapshot(&new.id()), self.marker.join("new"));
        match fs::remove_file(&temporary) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e).doing(DOING),
            _ => {}
        }
        // Copied rather than linked: a link would share the lock that tells the collector about readers.
        let mut to = File::create_new(&temporary).doing(DOING)?;
        std::io::copy(&mut File::open(source).doing(DOING)?, &mut to).doing(DOING)?;
        to.flush().and_then(|()| to.sync_all()).doing(DOING)?;
        fs::rename(&temporary, self.pending(&new.id())).doing(DOING)?;
        self.sync()
    }

    fn complete(&self, id: &SnapshotId) -> Result<()> {
        let tree = File::open(&self.dest).doing(DOING)?;
        rustix::fs::syncfs(&tree).doing(DOING)?;
        fs::rename(self.pending(id), self.marker.join(COMPLETE)).doing(DOING)?;
        for name in self
            .records()?
            .iter()
            .filter(|name| name.starts_with(PENDING))
        {
            fs::remove_file(self.marker.join(name)).doing(DOING)?;
        }
        self.sync()
    }

    fn pending(&self, id: &SnapshotId) -> PathBuf {
        self.marker.join(format!("{PENDING}{id}"))
    }

    fn sync(&self) -> Result<()> {
        File::open(&self.marker)
            .and_then(|marker| marker.sync_all())
            .doing(DOING)
    }
}
