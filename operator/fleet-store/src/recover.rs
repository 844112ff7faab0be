//! What a writer does first: it takes up what a crash left half-made, and moves out of the way what cannot be read.
//!
//! Nothing here asks whether damage is likely: a file that cannot be read is of no use to anybody, and everything in a
//! store but what a person decided can be made again. That, and the newest accepted states, are kept twice
//! ([`crate::document`]).

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::document::{COPIED, copy_of, read_file, read_one};
use crate::error::{Doing, Result, StoreError};
use crate::facts::{self, Facts};
use crate::layout::{IDENTITY_FILE, Layout, UNFINISHED};
use crate::shared::Shared;
use crate::{Identity, SnapshotId, Store, inspect};

/// Staged downloads that nobody came back for, and what was set aside, are removed after this time.
const MAX_AGE: Duration = Duration::from_secs(14 * 24 * 3600);
const DOING: &str = "cleaning up after an interrupted run";

/// Makes the store's folders, and room for them first. True where blobs were lost with theirs.
pub(crate) fn make_folders(shared: &Shared) -> Result<bool> {
    let layout = &shared.layout;
    for found in inspect::in_the_way(layout) {
        set_aside(shared, &found.path, &found.error)?;
    }
    let mut lost = !layout.blobs().is_dir() && layout.snapshots().is_dir();
    for folder in layout.folders() {
        shared.fs.create_dir(&folder).doing("creating the store")?;
    }
    for entry in fs::read_dir(layout.blobs()).doing(DOING)? {
        let entry = entry.doing(DOING)?;
        if !entry.file_type().doing(DOING)?.is_dir() {
            shared.set_aside(&entry.path(), "it is not a directory of blobs")?;
            lost = true;
        } else {
            shared.shards.found(&entry.file_name());
        }
    }
    Ok(lost)
}

/// The documents: where one copy cannot be read it is made anew from the other, and what has no other copy goes.
pub(crate) fn mend_documents(shared: &Shared) -> Result<()> {
    let layout = &shared.layout;
    mend_copies::<Identity>(shared, &layout.identity())?;
    mend_copies::<Facts>(shared, &layout.state_document(facts::DOCUMENT))?;
    for name in COPIED {
        mend_copies::<Map<String, Value>>(shared, &layout.state_document(name))?;
    }
    for found in inspect::documents(layout)? {
        set_aside(shared, &found.path, &found.error)?;
    }
    Ok(())
}

/// The facts as they must be after any crash, and what is served; both durable.
pub(crate) fn settled_facts(
    store: &Store,
    shared: &Shared,
    now: i64,
) -> Result<(Facts, Option<SnapshotId>)> {
    shared
        .fs
        .sync_dir(shared.layout.root())
        .doing("reading which snapshot is current")?;
    let (recorded, current) = (store.facts()?, store.current()?);
    let existing = store.snapshot_ids()?;
    let mut facts = recorded.clone();
    facts.settle(current, |id| existing.contains(id), now);
    if facts != recorded {
        shared.write_document(facts::DOCUMENT, &facts)?;
    }
    Ok((facts, current))
}

/// `current` and the snapshots.
pub(crate) fn mend_snapshots(store: &Store, shared: &Shared) -> Result<()> {
    let path = shared.layout.current();
    let read = store.read_current();
    if let Err(error) = &read {
        match error.is_damage() {
            true => set_aside(shared, &path, error)?,
            false => return read.map(drop),
        }
    }
    let served = store.current()?;
    if let Some(id) = served.filter(|id| !matches!(&read, Ok(Some(read)) if read == id)) {
        shared.replace(&path, format!("{id}\n").as_bytes(), DOING)?;
    }
    for found in inspect::files(store)? {
        // What `current` names may be gone; it is still what was served last.
        if found.path != path {
            set_aside(shared, &found.path, &found.error)?;
        }
    }
    Ok(())
}

/// Removes what a crash left half-made. Staged downloads stay, since they are resumed.
pub(crate) fn clean_up(shared: &Shared) -> Result<()> {
    let layout = &shared.layout;
    for dir in [layout.root().to_owned(), layout.snapshots(), layout.state()] {
        remove(shared, &dir, |file, is_dir| {
            !is_dir && file.to_string_lossy().ends_with(UNFINISHED)
        })?;
    }
    // Folders are those in which programs have fetched for a run that was killed.
    remove(shared, &layout.staging(), |path, _| {
        !is_file(path) || is_old(path)
    })?;
    if layout.set_aside().is_dir() {
        remove(shared, &layout.set_aside(), |path, _| is_old(path))?;
    }
    // Blobs of a run that was killed before its second syncfs: a run that finds them must be able to rely on them.
    let committed = fs::metadata(layout.committed()).map_or(0, |m| m.len());
    match committed > 0 {
        true => shared.fs.sync_all().doing(DOING),
        false => Ok(()),
    }
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|about| about.is_file())
}

/// By when its name or content changed last: a file that was set aside keeps the time of its content.
fn is_old(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(about) = fs::symlink_metadata(path) else {
        return false;
    };
    let changed =
        SystemTime::UNIX_EPOCH + Duration::from_secs(about.ctime().try_into().unwrap_or(0));
    SystemTime::now()
        .duration_since(changed)
        .is_ok_and(|age| age > MAX_AGE)
}

fn remove(shared: &Shared, dir: &Path, which: impl Fn(&Path, bool) -> bool) -> Result<()> {
    for entry in fs::read_dir(dir).doing(DOING)? {
        let entry = entry.doing(DOING)?;
        let (path, is_dir) = (entry.path(), entry.file_type().doing(DOING)?.is_dir());
        if !which(&path, is_dir) {
            continue;
        }
        match is_dir {
            true => fs::remove_dir_all(&path).doing(DOING)?,
            false => shared.fs.remove_file(&path).doing(DOING)?,
        }
    }
    Ok(())
}

/// Makes both copies of a document equal. The first counts where both can be read: it is written first.
fn mend_copies<T: DeserializeOwned>(shared: &Shared, path: &Path) -> Result<()> {
    let Some(copy) = copy_of(&shared.layout, path) else {
        return Ok(());
    };
    match (readable::<T>(shared, path)?, readable::<T>(shared, &copy)?) {
        (Some(text), other) if other.as_ref() != Some(&text) => shared.replace(&copy, &text, DOING),
        (None, Some(text)) => shared.replace(path, &text, DOING),
        _ => Ok(()),
    }
}

/// The text of one copy; what cannot be read is set aside.
fn readable<T: DeserializeOwned>(shared: &Shared, path: &Path) -> Result<Option<Vec<u8>>> {
    match read_one::<T>(&shared.layout, path) {
        Ok(None) => Ok(None),
        Ok(Some(_)) => read_file(path, DOING),
        Err(error) if error.is_damage() => set_aside(shared, path, &error).map(|()| None),
        Err(other) => Err(other),
    }
}

fn set_aside(shared: &Shared, path: &Path, error: &StoreError) -> Result<()> {
    let problem = error.cause().unwrap_or_else(|| error.to_string());
    shared.set_aside(path, &problem)
}

/// What is no file, in the place of the lock, has to go before anything can be locked.
pub(crate) fn free_the_lock(layout: &Layout) -> Result<Option<String>> {
    let path = layout.lock();
    match fs::symlink_metadata(&path) {
        Ok(about) if !about.is_file() => {}
        _ => return Ok(None),
    }
    let aside = layout.set_aside();
    match fs::create_dir(&aside) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        other => other.doing(DOING)?,
    }
    fs::rename(&path, aside.join(format!("lock.{}", std::process::id()))).doing(DOING)?;
    Ok(Some("lock (it is not a file)".to_owned()))
}

/// Who `store.json` says that the store is of. One that cannot be read, in both copies, is no obstacle for whoever
/// knows what the store is to be: nothing in it is believed but what verifies by its own keyring.
pub(crate) fn identity(layout: &Layout, wanted: Option<&Identity>) -> Result<Option<Identity>> {
    match Identity::read(layout) {
        Err(error) if error.is_damage() && wanted.is_some() => Ok(None),
        other => other,
    }
}

/// The names of a store's own files: a directory that holds others is something else.
pub(crate) const OURS: [&str; 14] = [
    "lock",
    "inserter",
    "insertions",
    "filling",
    IDENTITY_FILE,
    "store.json.new",
    "blobs",
    "snapshots",
    "retained",
    "state",
    "staging",
    "set-aside",
    "suspects",
    "lost+found",
];
