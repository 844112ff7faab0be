//! The destination of an export: whose it is, what it may hold, and that it is being changed.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use fleet_types::RepoPath;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::error::{Doing, Result, StoreError};
use crate::snapshot::Snapshot;
use crate::{Identity, SnapshotId, Store};

/// Below the destination: what is ours, and what the tree may hold.
pub(crate) const MARKER: &str = ".mirrorfleet-export";
const COMPLETE: &str = "complete";
const PENDING: &str = "pending-";
const DOING: &str = "exporting";

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

/// The file that says that the tree changes, if there is one. Left behind only by an export that was killed; the next one
/// takes it away.
pub(crate) struct InProgress(Option<PathBuf>);

impl InProgress {
    pub fn begin(dest: &Path, mark: Option<&RepoPath>) -> Result<InProgress> {
        let guard = InProgress(mark.map(|mark| dest.join(mark.as_str())));
        if let Some(file) = &guard.0 {
            // Whatever lies there is not followed.
            remove(file).doing(DOING)?;
            let text = format!("{}\n", std::process::id());
            let mut new = File::create_new(file).doing(DOING)?;
            new.write_all(text.as_bytes()).doing(DOING)?;
        }
        Ok(guard)
    }

    pub fn end(self) -> Result<()> {
        self.0.as_deref().map_or(Ok(()), remove).doing(DOING)
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        // An export that fails has told why; what the tree names is there at each of its steps.
        let _ = self.0.as_deref().map(remove);
    }
}

fn remove(file: &Path) -> std::io::Result<()> {
    match fs::remove_file(file) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// The destination, found to be empty or ours, and locked against a second export.
pub(crate) struct Claim {
    dest: PathBuf,
    pub(crate) marker: PathBuf,
    _lock: File,
}

impl Claim {
    pub fn take(store: &Store, dest: &Path) -> Result<Claim> {
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
    pub fn bases(&self) -> Result<Vec<Snapshot>> {
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
    pub fn begin(&self, store: &Store, new: &Snapshot) -> Result<()> {
        let (source, temporary) = (store.layout().snapshot(&new.id()), self.marker.join("new"));
        remove(&temporary).doing(DOING)?;
        // Copied rather than linked: a link would share the lock that tells the collector about readers.
        let mut to = File::create_new(&temporary).doing(DOING)?;
        std::io::copy(&mut File::open(source).doing(DOING)?, &mut to).doing(DOING)?;
        to.flush().and_then(|()| to.sync_all()).doing(DOING)?;
        fs::rename(&temporary, self.pending(&new.id())).doing(DOING)?;
        self.sync()
    }

    pub fn complete(&self, id: &SnapshotId) -> Result<()> {
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
