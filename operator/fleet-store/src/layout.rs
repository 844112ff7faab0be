//! Where things are inside a store. No name here comes from an upstream: only digests and our own fixed words.

use std::path::{Path, PathBuf};

use fleet_types::{Digest, Sha256};

use crate::SnapshotId;

/// The paths of one store.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
    /// The folder of downloads.
    staging: &'static str,
}

/// What a store is a copy of, in its root. A directory without it is no store.
pub const IDENTITY_FILE: &str = "store.json";
/// Suffix of a file that is being written and not yet in place; removed when a writer opens the store.
pub(crate) const UNFINISHED: &str = ".new";
/// Suffix of a snapshot that is no longer listed, and whose blobs are being given up.
pub(crate) const DROPPED: &str = ".dropped";

impl Layout {
    pub fn new(root: &Path) -> Layout {
        Layout {
            root: root.to_owned(),
            staging: "staging",
        }
    }
    /// As who fills the store on demand has it: its downloads are no matter of the writer's.
    pub fn of_inserter(root: &Path) -> Layout {
        Layout {
            staging: "filling",
            ..Layout::new(root)
        }
    }
    pub fn root(&self) -> &Path {
        &self.root
    }
    pub fn identity(&self) -> PathBuf {
        self.root.join(IDENTITY_FILE)
    }
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }
    /// Held by the one who fills the store on demand.
    pub fn inserter_lock(&self) -> PathBuf {
        self.root.join("inserter")
    }
    /// Held, shared, by who inserts or evicts blobs, and by who collects alone.
    pub fn insertions_lock(&self) -> PathBuf {
        self.root.join("insertions")
    }
    pub fn current(&self) -> PathBuf {
        self.root.join("current")
    }
    /// What could not be read, moved out of the way.
    pub fn set_aside(&self) -> PathBuf {
        self.root.join("set-aside")
    }
    /// A path of the store as messages name it.
    pub fn shown(&self, path: &Path) -> String {
        let inside = path.strip_prefix(&self.root).unwrap_or(path);
        inside.display().to_string()
    }
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }
    pub fn shard(&self, first_byte: u8) -> PathBuf {
        self.root.join("blobs").join(format!("{first_byte:02x}"))
    }
    pub fn blob(&self, digest: &Sha256) -> PathBuf {
        let name = digest.to_string();
        let (shard, rest) = name.split_at(2);
        let mut path = PathBuf::with_capacity(self.root.as_os_str().len() + 72);
        path.push(&self.root);
        path.push("blobs");
        path.push(shard);
        path.push(rest);
        path
    }
    /// Whether a blob with this many bytes is there. Its content was verified when it was written.
    pub fn has_blob(&self, digest: &Sha256, size: u64) -> bool {
        let about = std::fs::symlink_metadata(self.blob(digest));
        about.is_ok_and(|about| about.is_file() && about.len() == size)
    }
    /// Names that went and can still be asked for.
    pub fn retained(&self) -> PathBuf {
        self.root.join("retained")
    }
    pub fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }
    pub fn snapshot(&self, id: &SnapshotId) -> PathBuf {
        self.snapshots().join(id.to_string())
    }
    /// Where a snapshot is moved when it is given up; `at` is when, in seconds since 1970-01-01T00:00:00Z.
    pub fn dropped(&self, id: &SnapshotId, at: i64) -> PathBuf {
        self.snapshots().join(format!("{id}.{at}{DROPPED}"))
    }
    /// The reverse of [`Layout::dropped`], from a file name.
    pub fn parse_dropped(name: &str) -> Option<(SnapshotId, i64)> {
        let (id, at) = name.strip_suffix(DROPPED)?.split_once('.')?;
        Some((id.parse().ok()?, at.parse().ok()?))
    }
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }
    pub fn state_document(&self, name: &str) -> PathBuf {
        self.state().join(format!("{name}.json"))
    }
    /// Digests of the blobs that were committed since the last collection, 32 bytes each.
    pub fn committed(&self) -> PathBuf {
        self.state().join("committed")
    }
    pub fn staging(&self) -> PathBuf {
        self.root.join(self.staging)
    }
    /// Names of blobs that a server could not serve, one empty file each.
    pub fn suspects(&self) -> PathBuf {
        self.root.join("suspects")
    }
    /// The folders that every store has.
    pub fn folders(&self) -> [PathBuf; 5] {
        [
            self.blobs(),
            self.snapshots(),
            self.state(),
            self.staging(),
            self.suspects(),
        ]
    }
    pub fn staged(&self, digest: &Digest) -> PathBuf {
        self.staging().join(format!(
            "{}-{digest}",
            digest.algorithm().debian_name().to_ascii_lowercase()
        ))
    }
}

/// The same path with the suffix of unfinished files.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    PathBuf::from(name)
}
