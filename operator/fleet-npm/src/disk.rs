//! Files by key below one folder, each made by a rename.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use fleet_types::{Reason, Sha256};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sha2::Digest;
use tempfile::NamedTempFile;

use crate::unwritten::Unwritten;

const IDENTITY: &str = "registry.json";
const VERSION: u32 = 1;
/// What a file's size is rounded up to where it is counted.
const BLOCK: u64 = 4096;

/// What a key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shelf {
    Heads,
    Pins,
    Bodies,
    Tarballs,
    Passed,
    Shown,
}

impl Shelf {
    /// Those whose files can be fetched or made again.
    pub const CACHED: [Shelf; 5] = [
        Shelf::Heads,
        Shelf::Bodies,
        Shelf::Tarballs,
        Shelf::Passed,
        Shelf::Shown,
    ];

    const fn folder(self) -> &'static str {
        match self {
            Shelf::Heads => "heads",
            Shelf::Pins => "pins",
            Shelf::Bodies => "bodies",
            Shelf::Tarballs => "tarballs",
            Shelf::Passed => "passed",
            Shelf::Shown => "shown",
        }
    }
}

/// The folder of one registry, held by this process.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    /// What can be fetched or made again, as far as is known.
    held_bytes: AtomicU64,
    pub(crate) unwritten: Unwritten,
    _lock: File,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    format_version: u32,
    mirror: String,
    upstream: String,
}

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{} is used by another process; end that one first", .0.display())]
    Busy(PathBuf),
    #[error(
        "{} holds what was kept of {found}, and the Upstream says {wanted}: promises of one registry say nothing of another's; give the Mirror another name, or remove the folder",
        path.display()
    )]
    Other {
        path: PathBuf,
        found: String,
        wanted: String,
    },
    #[error("{} is of another version of this program: {why}", path.display())]
    Version { path: PathBuf, why: String },
}

impl OpenError {
    pub fn reason(&self) -> Reason {
        match self {
            OpenError::Io { error, .. } if error.kind() == io::ErrorKind::StorageFull => {
                Reason::StorageFull
            }
            OpenError::Io { error, .. } if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                Reason::StorageReadOnly
            }
            OpenError::Io { .. } => Reason::StorageFailed,
            OpenError::Busy(_) => Reason::StoreBusy,
            OpenError::Other { .. } => Reason::StoreMismatch,
            OpenError::Version { .. } => Reason::StoreCorrupt,
        }
    }
}

/// The key of several texts together.
pub fn key(parts: &[&[u8]]) -> Sha256 {
    let mut hasher = sha2::Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    Sha256(hasher.finalize().into())
}

impl Disk {
    /// Takes the folder, which need not exist, for what is kept of `upstream`.
    pub fn open(root: &Path, mirror: &str, upstream: &str) -> Result<Disk, OpenError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| OpenError::Io { path, error }
        };
        fs::create_dir_all(root).map_err(failed(root))?;
        let identity = Identity {
            format_version: VERSION,
            mirror: mirror.to_owned(),
            upstream: upstream.to_owned(),
        };
        let is_known = is_known(root, &identity)?;
        let at = root.join("lock");
        let held = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&at)
            .map_err(failed(&at))?;
        flock(&held, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| OpenError::Busy(root.to_owned()))?;
        let disk = Disk {
            root: root.to_owned(),
            held_bytes: AtomicU64::new(0),
            unwritten: Unwritten::default(),
            _lock: held,
        };
        for folder in ["staging", Shelf::Shown.folder()] {
            let path = root.join(folder);
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed(&path)(error));
                }
                _ => fs::create_dir_all(&path).map_err(failed(&path))?,
            }
        }
        if !is_known {
            disk.identify(&identity)
                .map_err(failed(&root.join(IDENTITY)))?;
        }
        Ok(disk)
    }

    fn identify(&self, identity: &Identity) -> io::Result<()> {
        let mut file = self.staged()?;
        serde_json::to_writer(&mut file, identity)?;
        file.as_file().sync_all()?;
        file.persist(self.root.join(IDENTITY))
            .map(drop)
            .map_err(|error| error.error)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn trail(&self) -> PathBuf {
        self.root.join("trail.jsonl")
    }

    pub fn folder(&self, shelf: Shelf) -> PathBuf {
        self.root.join(shelf.folder())
    }

    pub fn path(&self, shelf: Shelf, key: &Sha256) -> PathBuf {
        let name = key.to_string();
        let (folder, rest) = name.split_at(2);
        self.folder(shelf).join(folder).join(rest)
    }

    /// What a file of this size takes.
    pub fn room_of(bytes: u64) -> u64 {
        bytes.div_ceil(BLOCK).saturating_mul(BLOCK)
    }

    /// What is here of all that can be fetched or made again.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// It was counted.
    pub fn set_held_bytes(&self, bytes: u64) {
        self.held_bytes.store(bytes, Ordering::Relaxed);
    }

    fn counts(&self, shelf: Shelf, before: Option<u64>, after: Option<u64>) {
        if Shelf::CACHED.contains(&shelf) {
            let change = |held: u64| {
                let held = held.saturating_sub(before.map_or(0, Disk::room_of));
                Some(held.saturating_add(after.map_or(0, Disk::room_of)))
            };
            // It changes always.
            let _ = self
                .held_bytes
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
        }
    }

    /// Whether there is one.
    pub fn has(&self, shelf: Shelf, key: &Sha256) -> bool {
        self.path(shelf, key).exists()
    }

    /// A file that is on its way.
    pub fn staged(&self) -> io::Result<NamedTempFile> {
        NamedTempFile::new_in(self.root.join("staging"))
    }

    /// Makes it the file of a key, in place of a former one.
    pub fn put(&self, shelf: Shelf, key: &Sha256, file: NamedTempFile) -> io::Result<File> {
        let path = self.path(shelf, key);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let size = file.as_file().metadata()?.len();
        let before = fs::metadata(&path).ok().map(|before| before.len());
        let kept = file.persist(&path).map_err(|error| error.error)?;
        self.counts(shelf, before, Some(size));
        Ok(kept)
    }

    pub fn put_bytes(&self, shelf: Shelf, key: &Sha256, bytes: &[u8]) -> io::Result<File> {
        let mut file = self.staged()?;
        file.write_all(bytes)?;
        self.put(shelf, key, file)
    }

    /// None where there is none.
    pub fn open_file(&self, shelf: Shelf, key: &Sha256) -> io::Result<Option<File>> {
        match File::open(self.path(shelf, key)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Of a small file, or one whose size is bounded by who wrote it.
    pub fn read(&self, shelf: Shelf, key: &Sha256) -> io::Result<Option<Vec<u8>>> {
        let Some(mut file) = self.open_file(shelf, key)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    pub fn remove(&self, shelf: Shelf, key: &Sha256) -> io::Result<()> {
        let path = self.path(shelf, key);
        let before = fs::metadata(&path).ok().map(|before| before.len());
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => {
                self.counts(shelf, before, None);
                Ok(())
            }
        }
    }
}

/// Whether a folder is one of this registry; false where it is none yet.
fn is_known(root: &Path, wanted: &Identity) -> Result<bool, OpenError> {
    let path = root.join(IDENTITY);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(OpenError::Io { path, error }),
    };
    let version = |why: String| OpenError::Version {
        path: path.clone(),
        why,
    };
    let found: Identity =
        serde_json::from_slice(&text).map_err(|error| version(error.to_string()))?;
    if found.format_version != wanted.format_version {
        return Err(version(format!(
            "format {} instead of {VERSION}",
            found.format_version
        )));
    }
    match found.upstream == wanted.upstream {
        true => Ok(true),
        false => Err(OpenError::Other {
            path: root.to_owned(),
            found: found.upstream,
            wanted: wanted.upstream.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_one_process_and_one_upstream() {
        let dir = tempfile::tempdir().unwrap();
        let open = |upstream: &str| Disk::open(&dir.path().join("npm"), "npm", upstream);
        let disk = open("http://a.example.org").unwrap();
        assert_eq!(
            open("http://a.example.org").unwrap_err().reason(),
            Reason::StoreBusy
        );
        disk.put_bytes(Shelf::Bodies, &key(&[b"a"]), b"body")
            .unwrap();
        disk.put_bytes(Shelf::Shown, &key(&[b"a"]), b"shown")
            .unwrap();
        drop(disk.staged().unwrap().keep().unwrap());
        drop(disk);
        let other = open("http://b.example.org").unwrap_err();
        assert_eq!(other.reason(), Reason::StoreMismatch);
        assert!(other.to_string().contains("another name"), "{other}");
        let disk = open("http://a.example.org").unwrap();
        assert_eq!(
            disk.read(Shelf::Bodies, &key(&[b"a"])).unwrap().as_deref(),
            Some(&b"body"[..])
        );
        assert_eq!(disk.read(Shelf::Shown, &key(&[b"a"])).unwrap(), None);
        assert_eq!(fs::read_dir(disk.root.join("staging")).unwrap().count(), 0);
    }

    #[test]
    fn keys_of_several_texts_do_not_run_into_one_another() {
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
    }
}
