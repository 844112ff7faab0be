//! What is in a store only since somebody asked for it: how much that is, and giving up what was used longest ago.
//!
//! It is every blob that no kept snapshot needs ([`EntryState::Present`]) and no run has made since the last collection.
//! When one was used last says the time of access of its file, which [`Inserter::used`] sets; a kernel that sets it too
//! says the same.

use std::collections::HashSet;
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;

use fleet_types::Sha256;

use crate::error::{Doing, Result};
use crate::snapshot::scan_blobs;
use crate::{EntryState, Inserter, SnapshotId};

/// Blobs that are looked up in the indices at once: some 4 MiB.
const CHUNK: usize = 64 << 10;
const DOING: &str = "looking at what was fetched on demand";

/// What is here only since somebody asked for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cached {
    pub files: u64,
    pub bytes: u64,
}

/// What an eviction came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evicted {
    pub files: u64,
    pub bytes: u64,
    /// What is left.
    pub left: Cached,
}

/// One blob that could be evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Item {
    /// Seconds since 1970-01-01T00:00:00Z, and nanoseconds.
    used: (i64, i64),
    bytes: u64,
    digest: Sha256,
    /// A pinned snapshot names it.
    is_pinned: bool,
}

impl Inserter {
    /// How much of the store was fetched on demand. Lists all blobs.
    pub fn cached(&self) -> Result<Cached> {
        let items = self.items(&[])?;
        Ok(Cached {
            files: items.len() as u64,
            bytes: items.iter().map(|item| item.bytes).sum(),
        })
    }

    /// Removes what was used longest ago until no more than `keep_bytes` are left; nothing that one of the `pinned` snapshots
    /// names, or the one that a person pinned in the store. Who has a file open keeps it. Lists all blobs.
    pub fn evict(&self, keep_bytes: u64, pinned: &[SnapshotId]) -> Result<Evicted> {
        let _shared = self.share()?;
        let mut pinned = pinned.to_vec();
        pinned.extend(self.store.pinned()?);
        let mut items = self.items(&pinned)?;
        items.sort_unstable_by_key(|item| item.used);
        let mut done = Evicted {
            left: Cached {
                files: items.len() as u64,
                bytes: items.iter().map(|item| item.bytes).sum(),
            },
            ..Evicted::default()
        };
        for item in items.iter().filter(|item| !item.is_pinned) {
            if done.left.bytes <= keep_bytes {
                break;
            }
            match self
                .shared
                .fs
                .remove_file(&self.shared.layout.blob(&item.digest))
            {
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                other => other.doing("giving up what was used longest ago")?,
            }
            done.files += 1;
            done.bytes += item.bytes;
            done.left.files -= 1;
            done.left.bytes -= item.bytes;
        }
        Ok(done)
    }

    /// All that no kept snapshot needs.
    fn items(&self, pinned: &[SnapshotId]) -> Result<Vec<Item>> {
        let made = self.made_by_runs()?;
        let (mut items, mut chunk) = (Vec::new(), Vec::new());
        for shard in 0..=u8::MAX {
            self.add_shard(shard, &mut chunk)?;
            if chunk.len() >= CHUNK || shard == u8::MAX {
                chunk.retain(|item: &Item| !made.contains(&item.digest.0));
                self.settle(&mut chunk, pinned)?;
                items.append(&mut chunk);
            }
        }
        Ok(items)
    }

    /// Takes out what kept snapshots need, and marks what pinned ones name.
    fn settle(&self, chunk: &mut Vec<Item>, pinned: &[SnapshotId]) -> Result<()> {
        chunk.sort_unstable_by_key(|item| item.digest);
        let layout = self.store.layout();
        let mut needed = HashSet::new();
        for id in self.store.snapshot_ids()? {
            let is_pinned = pinned.contains(&id);
            let which = match is_pinned {
                true => EntryState::is_offered,
                false => EntryState::is_here,
            };
            scan_blobs(&layout.snapshot(&id), &id, which, &mut |digest, _| {
                let found = chunk.binary_search_by(|item| item.digest.0.cmp(digest));
                if let Some(item) = found.ok().and_then(|at| chunk.get_mut(at)) {
                    match is_pinned {
                        // Whether it is needed besides makes no difference to who evicts.
                        true => item.is_pinned = true,
                        false => drop(needed.insert(*digest)),
                    }
                }
            })?;
        }
        chunk.retain(|item| !needed.contains(&item.digest.0));
        Ok(())
    }

    /// What runs have made since the last collection: a snapshot that is being made may need it.
    fn made_by_runs(&self) -> Result<HashSet<[u8; 32]>> {
        let mut noted = Vec::new();
        match fs::File::open(self.store.layout().committed()) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e).doing(DOING),
            Ok(mut file) => drop(file.read_to_end(&mut noted).doing(DOING)?),
        }
        let digests = noted
            .chunks_exact(32)
            .filter_map(|digest| digest.first_chunk());
        Ok(digests.copied().collect())
    }

    fn add_shard(&self, shard: u8, chunk: &mut Vec<Item>) -> Result<()> {
        let files = match fs::read_dir(self.store.layout().shard(shard)) {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(());
            }
            other => other.doing(DOING)?,
        };
        for file in files {
            let file = file.doing(DOING)?;
            let name = file.file_name();
            let rest = name.to_str().unwrap_or_default();
            let digest = format!("{shard:02x}{rest}").parse::<Sha256>();
            // One that is gone meanwhile takes no room.
            let (Ok(digest), Ok(about)) = (digest, file.metadata()) else {
                continue;
            };
            if about.is_file() {
                chunk.push(Item {
                    used: (about.atime(), about.atime_nsec()),
                    bytes: about.len(),
                    digest,
                    is_pinned: false,
                });
            }
        }
        Ok(())
    }
}
