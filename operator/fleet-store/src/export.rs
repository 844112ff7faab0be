//! The current snapshot as an ordinary tree, for tools that know nothing of a store.
//!
//! # Order
//!
//! Immutable content first, then links to it in the place of files, then mutable names (deepest first), then roots and links
//! to folders, then deletions, and last what says that all this is done: a web server over the tree never names what is not there yet. What the tree may hold is
//! recorded beside it before anything is changed: the index of the last complete export, and those of exports that were
//! interrupted since. A file is left alone only when all of them agree with the new snapshot about its content.
//!
//! While the tree changes, a file at its top says so where the format has one ([`ExportOptions::in_progress`]): who pulls
//! from the tree can wait until it is gone.

mod beside;
mod stand_ins;

use std::collections::HashMap;
use std::path::Path;

use fleet_types::{RepoPath, counted};

use crate::claim::{Claim, InProgress, MARKER};
use crate::error::{Doing, Result, StoreError};
use crate::merge::Merged;
use crate::snapshot::Snapshot;
use crate::tree::{ExportMode, Tree, Writing};
use crate::{Entry, EntryState, SnapshotId, Store};

pub use beside::Afterwards;
pub use stand_ins::StandIns;

#[derive(Debug, Clone, Default)]
pub struct ExportOptions {
    pub mode: ExportMode,
    /// Roots, in the order in which they are written after everything else.
    pub roots_last: Vec<RepoPath>,
    /// The file that lies at the top of the tree while that changes.
    pub in_progress: Option<RepoPath>,
    /// Folders in which links stand for files.
    pub stand_ins: Vec<StandIns>,
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

const DOING: &str = "exporting";

impl Store {
    /// Writes the current snapshot as an ordinary tree; see [`ExportOptions`].
    pub fn export(&self, dest: &Path, options: &ExportOptions) -> Result<ExportReport> {
        let new = self
            .current_snapshot()?
            .ok_or_else(|| StoreError::SnapshotNotFound {
                wanted: "is served".into(),
            })?;
        refuse_what_is_not_here(&new, dest)?;
        let claim = Claim::take(self, dest)?;
        let bases = claim.bases()?;
        claim.begin(self, &new)?;
        let in_progress = InProgress::begin(dest, options.in_progress.as_ref())?;
        let tree = Tree::open(dest).doing(DOING)?;
        let has_links = options.stand_ins.is_empty() || tree.takes_links().doing(DOING)?;
        let mut export = Export {
            store: self,
            dest,
            options,
            stand_ins: if has_links { &options.stand_ins } else { &[] },
            tree,
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
        export.write_changes(&new, &bases)?;
        export.write_links(&new, &bases)?;
        export.remove_vanished(&new, &bases)?;
        export.write_afterwards(&new, &claim, &options.afterwards)?;
        export.report.mode_used = export.writing.used();
        claim.complete(&new.id())?;
        in_progress.end()?;
        Ok(export.report)
    }
}

/// A tree that lacks what its indices list is of no use to anybody.
fn refuse_what_is_not_here(new: &Snapshot, dest: &Path) -> Result<()> {
    let is_elsewhere = |(_, entry): &(RepoPath, Entry)| entry.state == EntryState::NotYetFetched;
    match new.iter().filter(is_elsewhere).count() {
        0 => Ok(()),
        files => Err(StoreError::Export {
            dest: dest.to_owned(),
            problem: format!(
                "this mirror fetches what it is asked for (`mode: PullThrough`): {} of its snapshot need not be here; export a Mirror of `mode: Full`",
                counted(files, "file")
            ),
        }),
    }
}

struct Export<'a> {
    store: &'a Store,
    dest: &'a Path,
    options: &'a ExportOptions,
    /// None where the file system has no links: then there are files.
    stand_ins: &'a [StandIns],
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
    fn write_changes(&mut self, new: &Snapshot, bases: &[Snapshot]) -> Result<()> {
        let ranks: HashMap<&str, usize> = self
            .options
            .roots_last
            .iter()
            .zip(1..)
            .map(|(root, rank)| (root.as_str(), rank))
            .collect();
        let mut cursors: Vec<_> = bases.iter().map(|base| Merged::new(Some(base))).collect();
        // Mutable names are few: indices and roots, no payload.
        let mut late = Vec::new();
        for (path, entry) in new.iter() {
            let path = path.as_str();
            let agreed = !cursors.is_empty()
                & cursors
                    .iter_mut()
                    .fold(true, |all, base| holds(base.at(path), &entry) & all);
            if entry.state != EntryState::Present || self.says(new, path, &entry).is_some() {
                continue;
            }
            if agreed && self.tree.has(path, entry.size).doing(DOING)? {
                self.report.unchanged += 1;
            } else if entry.mutable || ranks.contains_key(path) {
                late.push(Late {
                    root: ranks.get(path).copied().unwrap_or_default(),
                    depth: path.matches('/').count(),
                    path: path.to_owned(),
                    entry,
                });
            } else {
                self.write(path, &entry, bases)?;
            }
        }
        self.write_stand_ins(new, bases)?;
        late.sort_by(|a, b| (a.root, b.depth, &a.path).cmp(&(b.root, a.depth, &b.path)));
        late.iter()
            .try_for_each(|late| self.write(&late.path, &late.entry, bases))
    }

    fn write(&mut self, path: &str, entry: &Entry, bases: &[Snapshot]) -> Result<()> {
        if self.is_ours(path) {
            let problem = format!(
                "the snapshot holds {path:?}, which is where the export keeps its own files"
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
            .put(&mut self.tree, path, &source, &blob, entry)?
        {
            self.clear_directory(path, bases)?;
            if !self
                .writing
                .put(&mut self.tree, path, &source, &blob, entry)?
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

    /// Whether a path is one that the export needs for itself.
    fn is_ours(&self, path: &str) -> bool {
        let mark = self.options.in_progress.as_ref();
        path.split('/').next() == Some(MARKER) || mark.is_some_and(|mark| mark.as_str() == path)
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
