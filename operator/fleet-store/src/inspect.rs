//! Which files beside blobs cannot be read.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::document::{self, copy_of};
use crate::error::{Doing, Result, StoreError};
use crate::layout::{Layout, UNFINISHED};
use crate::{Retained, Store, snapshot};

/// A file that is not what was written.
pub(crate) struct Unreadable {
    pub path: PathBuf,
    /// [`StoreError::Corrupt`] that names the file.
    pub error: StoreError,
}

impl Store {
    /// The files beside blobs that cannot be read, each as one [`StoreError::Corrupt`]: documents, `current`, and the
    /// heads of snapshots. Reads little, whatever the store holds.
    pub fn unreadable(&self) -> Result<Vec<StoreError>> {
        Ok(files(self)?.into_iter().map(|found| found.error).collect())
    }
}

/// The documents, `current`, the heads of snapshots and of the list of names that went, and what lies where a folder or the lock belongs.
pub(crate) fn files(store: &Store) -> Result<Vec<Unreadable>> {
    let layout = store.layout();
    let mut found = in_the_way(layout);
    found.extend(documents(layout)?);
    found.extend(current(store)?);
    let retained = layout.retained();
    match Retained::earliest(&retained) {
        Err(error) if error.is_damage() => found.push(unreadable(layout, retained, &error)),
        other => {
            other?;
        }
    }
    for id in store.snapshot_ids()? {
        let path = layout.snapshot(&id);
        match snapshot::read_meta(&path, &id) {
            Err(error) if error.is_damage() => found.push(unreadable(layout, path, &error)),
            Err(StoreError::SnapshotNotFound { .. }) | Ok(_) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(found)
}

/// What lies where one of the store's folders belongs, or a folder in the place of its lock.
pub(crate) fn in_the_way(layout: &Layout) -> Vec<Unreadable> {
    let no_folder = layout
        .folders()
        .into_iter()
        .chain([layout.set_aside()])
        .filter(|path| is_there(path) && !path.is_dir())
        .map(|path| (path, "it is not a directory"));
    let no_lock = Some(layout.lock())
        .filter(|path| is_there(path) && !path.is_file())
        .map(|path| (path, "it is not a file"));
    let told = |(path, problem): (PathBuf, &str)| Unreadable {
        error: StoreError::corrupt(layout.shown(&path), problem),
        path,
    };
    no_folder.chain(no_lock).map(told).collect()
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Every document of `state/`, and `store.json`. One that is missing beside its copy is damage too.
pub(crate) fn documents(layout: &Layout) -> Result<Vec<Unreadable>> {
    let mut found = Vec::new();
    let kept_twice = document::COPIED.map(|name| layout.state_document(name));
    for path in kept_twice.into_iter().chain([layout.identity()]) {
        let copy = copy_of(layout, &path).filter(|copy| is_there(copy));
        if copy.is_some() && !is_there(&path) {
            let error = StoreError::corrupt(layout.shown(&path), "it is missing");
            found.push(Unreadable { path, error });
        }
    }
    let mut paths = vec![layout.identity(), layout.committed()];
    paths.extend(state_files(layout)?);
    for path in paths {
        let problem = match path == layout.committed() {
            true => (is_there(&path) && !path.is_file())
                .then(|| StoreError::corrupt("", "it is not a file")),
            false => document::read_one::<Value>(layout, &path).err(),
        };
        match problem {
            Some(error) if error.is_damage() => found.push(unreadable(layout, path, &error)),
            Some(other) => return Err(other),
            None => {}
        }
    }
    Ok(found)
}

fn state_files(layout: &Layout) -> Result<Vec<PathBuf>> {
    const DOING: &str = "listing the documents of state/";
    let files = match fs::read_dir(layout.state()) {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        other => other.doing(DOING)?,
    };
    let mut paths = Vec::new();
    for file in files {
        let path = file.doing(DOING)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".json") && !name.ends_with(UNFINISHED) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn current(store: &Store) -> Result<Option<Unreadable>> {
    let path = store.layout().current();
    let error = match store.read_current() {
        Ok(Some(id)) if is_there(&store.layout().snapshot(&id)) => return Ok(None),
        Ok(Some(id)) => StoreError::corrupt(
            "current",
            format!("it names {id}, which is not in the store"),
        ),
        // Nothing was ever served, or what names it is gone.
        Ok(None) if store.facts().is_ok_and(|facts| facts.served().is_none()) => return Ok(None),
        Ok(None) => StoreError::corrupt("current", "it is missing"),
        Err(error) if error.is_damage() => error,
        Err(other) => return Err(other),
    };
    Ok(Some(unreadable(store.layout(), path, &error)))
}

fn unreadable(layout: &Layout, path: PathBuf, error: &StoreError) -> Unreadable {
    let problem = error.cause().unwrap_or_else(|| error.to_string());
    Unreadable {
        error: StoreError::corrupt(layout.shown(&path), problem),
        path,
    }
}
