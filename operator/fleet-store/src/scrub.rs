//! Checking everything: every blob hashes to its name, every snapshot is intact and complete.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use fleet_types::{Sha256, counted};
use sha2::Digest as _;

use crate::error::{Doing, Result, StoreError};
use crate::fs::open_file;
use crate::{Entry, EntryState, Snapshot, SnapshotId, Store, build};

/// How far a scrub is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubProgress {
    pub blobs: u64,
    pub bytes: u64,
    /// Blobs are spread evenly over 256 directories, so this says how much of them is done.
    pub shards_done: u32,
    pub snapshots_done: u64,
}

/// What a scrub found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubReport {
    pub blobs: u64,
    pub bytes: u64,
    pub snapshots: u64,
    /// The first [`ScrubReport::MAX_LISTED`] of them.
    pub findings: Vec<Finding>,
    pub findings_total: u64,
    /// The blobs that must be fetched again, all of them.
    pub damaged: BTreeSet<Sha256>,
    /// No findings: how many files each snapshot that is not served lacks of what is known to be lost.
    pub lacking: BTreeMap<SnapshotId, u64>,
    /// No findings either: how many of the names that went.
    pub retained_lacking: u64,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    #[error("blob {digest} is damaged: {problem}")]
    BlobDamaged { digest: Sha256, problem: String },
    #[error("{:.120?} under blobs/ is not a blob", path.to_string_lossy())]
    StrangeFile {
        /// Below `blobs/`, as long as it is.
        path: PathBuf,
    },
    #[error("blob {digest} is missing; snapshot {snapshot} names it as {path:?}")]
    BlobMissing {
        digest: Sha256,
        snapshot: SnapshotId,
        path: String,
    },
    #[error(
        "blob {digest} has {}; snapshot {snapshot} names it as {path:?} with {expected}",
        counted(*.found, "byte")
    )]
    BlobWrongSize {
        digest: Sha256,
        snapshot: SnapshotId,
        path: String,
        expected: u64,
        found: u64,
    },
    #[error(
        "blob {digest} is missing or cut: clients of earlier snapshots know it as {path:?}, no kept snapshot needs it"
    )]
    RetainedLacking { digest: Sha256, path: String },
    #[error("snapshot {snapshot} is damaged: {problem}")]
    SnapshotDamaged {
        snapshot: SnapshotId,
        problem: String,
    },
    #[error("{name} is damaged: {problem}")]
    FileDamaged { name: String, problem: String },
}

impl ScrubReport {
    pub const MAX_LISTED: usize = 1000;

    pub fn is_clean(&self) -> bool {
        self.findings_total == 0
    }

    /// A blob is found once, whatever else of it or of the snapshots that name it is wrong.
    fn add(&mut self, finding: Finding) {
        if let Finding::BlobDamaged { digest, .. }
        | Finding::BlobMissing { digest, .. }
        | Finding::BlobWrongSize { digest, .. }
        | Finding::RetainedLacking { digest, .. } = &finding
            && !self.damaged.insert(*digest)
        {
            return;
        }
        self.findings_total += 1;
        if self.findings.len() < Self::MAX_LISTED {
            self.findings.push(finding);
        }
    }
}

const DOING: &str = "checking the store";

impl Store {
    /// Whether a blob that is there is what its name says. Reads all of it.
    pub fn is_right(&self, digest: &Sha256) -> Result<bool> {
        match hash(&self.blob_path(digest)) {
            Ok((found, _)) => Ok(found == *digest),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e).doing(DOING),
        }
    }

    /// Checks that every blob hashes to its name and every snapshot is intact and complete. Reads everything; memory
    /// stays small. An error means that the check itself could not be done; what it finds is in the report.
    pub fn scrub(&self, progress: &mut dyn FnMut(&ScrubProgress)) -> Result<ScrubReport> {
        self.scrub_beside(&BTreeSet::new(), progress)
    }

    /// The same, where `lost` is known to be missing from snapshots that are not served: that is told apart.
    pub fn scrub_beside(
        &self,
        lost: &BTreeSet<Sha256>,
        progress: &mut dyn FnMut(&ScrubProgress),
    ) -> Result<ScrubReport> {
        let mut scrub = Scrub {
            store: self,
            lost,
            served: self.current().ok().flatten(),
            report: ScrubReport::default(),
            progress: ScrubProgress::default(),
            tell: progress,
        };
        // Snapshots first: a damaged or incomplete one is the news that matters most.
        for id in self.snapshot_ids()? {
            scrub.snapshot(&id)?;
        }
        scrub.retained()?;
        scrub.others()?;
        for shard in 0..=u8::MAX {
            scrub.shard(shard)?;
        }
        scrub.strangers()?;
        Ok(scrub.report)
    }
}

struct Scrub<'a> {
    store: &'a Store,
    lost: &'a BTreeSet<Sha256>,
    served: Option<SnapshotId>,
    report: ScrubReport,
    progress: ScrubProgress,
    tell: &'a mut dyn FnMut(&ScrubProgress),
}

impl Scrub<'_> {
    fn snapshot(&mut self, id: &SnapshotId) -> Result<()> {
        match self.store.snapshot(id) {
            Ok(snapshot) => self.entries(&snapshot),
            // Dropped by the collector meanwhile.
            Err(StoreError::SnapshotNotFound { .. }) => return Ok(()),
            Err(error) if error.is_damage() => {
                let problem = error.cause().unwrap_or_else(|| error.to_string());
                self.report.add(Finding::SnapshotDamaged {
                    snapshot: *id,
                    problem,
                });
            }
            Err(other) => return Err(other),
        }
        self.report.snapshots += 1;
        self.progress.snapshots_done += 1;
        (self.tell)(&self.progress);
        Ok(())
    }

    /// The open snapshot holds its lock, so its blobs are not collected meanwhile.
    fn entries(&mut self, snapshot: &Snapshot) {
        let mut id = build::id_of_revision(snapshot.meta());
        let mut count = 0;
        for (path, entry) in snapshot.iter() {
            build::add_to_id(&mut id, path.as_str(), &entry);
            count += 1;
            if entry.state == EntryState::Present {
                self.presence(snapshot.id(), path.as_str(), &entry);
            }
        }
        let damaged = |problem: &str| Finding::SnapshotDamaged {
            snapshot: snapshot.id(),
            problem: problem.into(),
        };
        if count != snapshot.len() {
            self.report.add(damaged("a path in it cannot be read"));
        } else if build::finish_id(id, count, snapshot.meta()) != snapshot.id() {
            self.report.add(damaged("its content does not give its id"));
        }
    }

    fn presence(&mut self, snapshot: SnapshotId, path: &str, entry: &Entry) {
        let (digest, path) = (entry.digest, path.to_owned());
        match fs::symlink_metadata(self.store.blob_path(&digest)) {
            Ok(metadata) if metadata.is_file() && metadata.len() == entry.size => {}
            Ok(metadata) => {
                let (expected, found) = (entry.size, metadata.len());
                self.report.add(Finding::BlobWrongSize {
                    digest,
                    snapshot,
                    path,
                    expected,
                    found,
                });
            }
            Err(_) if self.lost.contains(&digest) && self.served != Some(snapshot) => {
                *self.report.lacking.entry(snapshot).or_default() += 1;
            }
            Err(_) => self.report.add(Finding::BlobMissing {
                digest,
                snapshot,
                path,
            }),
        }
    }

    /// The names that went, as long as they count.
    fn retained(&mut self) -> Result<()> {
        let list = match self.store.retained() {
            Ok(Some(list)) => list,
            Ok(None) => return Ok(()),
            Err(error) if error.is_damage() => {
                self.report.add(Finding::FileDamaged {
                    name: "retained".to_owned(),
                    problem: error.cause().unwrap_or_else(|| error.to_string()),
                });
                return Ok(());
            }
            Err(other) => return Err(other),
        };
        let (retention, now) = (self.store.identity().retention, now());
        for (path, gone) in list.iter() {
            let Entry {
                digest,
                size,
                state,
                ..
            } = gone.entry;
            if state != EntryState::Present
                || !retention.is_recent(gone.at, now)
                || self.store.has_blob(&digest, size)
                || !list.is_at(&self.store.layout().retained())
            {
                continue;
            }
            match self.lost.contains(&digest) {
                true => self.report.retained_lacking += 1,
                false => self.report.add(Finding::RetainedLacking {
                    digest,
                    path: path.to_string(),
                }),
            }
        }
        Ok(())
    }

    /// Documents, `current`, and what lies where a folder belongs.
    fn others(&mut self) -> Result<()> {
        for error in self.store.unreadable()? {
            let StoreError::Corrupt { what, problem } = error else {
                return Err(error);
            };
            // These were opened as a whole.
            if !what.starts_with("snapshots/") && what != "retained" {
                self.report.add(Finding::FileDamaged {
                    name: what,
                    problem,
                });
            }
        }
        Ok(())
    }

    fn shard(&mut self, shard: u8) -> Result<()> {
        let files = match fs::read_dir(self.store.layout().shard(shard)) {
            // Told of by whoever lists `blobs/`.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
            other => Some(other.doing(DOING)?),
        };
        for file in files.into_iter().flatten() {
            let file = file.doing(DOING)?;
            let name = file.file_name();
            match name.to_str().and_then(|rest| blob_name(shard, rest)) {
                Some(digest) => self.blob(&digest, &file.path())?,
                None => self.stranger(Path::new(&format!("{shard:02x}")).join(name)),
            }
        }
        self.progress.shards_done += 1;
        (self.tell)(&self.progress);
        Ok(())
    }

    fn blob(&mut self, digest: &Sha256, path: &Path) -> Result<()> {
        match hash(path) {
            // Collected meanwhile.
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => self.report.add(Finding::BlobDamaged {
                digest: *digest,
                problem: e.to_string(),
            }),
            Ok((found, bytes)) => {
                if found != *digest {
                    let problem = format!("its content has the digest {found}");
                    self.report.add(Finding::BlobDamaged {
                        digest: *digest,
                        problem,
                    });
                }
                self.report.bytes += bytes;
            }
        }
        self.report.blobs += 1;
        (self.progress.blobs, self.progress.bytes) = (self.report.blobs, self.report.bytes);
        if self.report.blobs.is_multiple_of(64) {
            (self.tell)(&self.progress);
        }
        Ok(())
    }

    /// What lies beside the shards.
    fn strangers(&mut self) -> Result<()> {
        let blobs = match fs::read_dir(self.store.layout().blobs()) {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(());
            }
            other => other.doing(DOING)?,
        };
        for file in blobs {
            let file = file.doing(DOING)?;
            let name = file.file_name();
            let is_shard =
                |name: &str| name.len() == 2 && is_lower_hex(name) && file.path().is_dir();
            if !name.to_str().is_some_and(is_shard) {
                self.stranger(name.into());
            }
        }
        Ok(())
    }

    fn stranger(&mut self, path: PathBuf) {
        self.report.add(Finding::StrangeFile { path });
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

fn is_lower_hex(text: &str) -> bool {
    text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
}

fn blob_name(shard: u8, rest: &str) -> Option<Sha256> {
    if is_lower_hex(rest) {
        format!("{shard:02x}{rest}").parse().ok()
    } else {
        None
    }
}

fn hash(path: &Path) -> std::io::Result<(Sha256, u64)> {
    let mut file = open_file(path)?;
    let mut hasher = sha2::Sha256::new();
    let mut block = [0; 64 << 10];
    let mut bytes = 0;
    loop {
        match file.read(&mut block)? {
            0 => return Ok((Sha256(hasher.finalize().into()), bytes)),
            count => {
                hasher.update(&block[..count]);
                bytes += count as u64;
            }
        }
    }
}
