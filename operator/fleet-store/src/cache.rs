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
use crate::shared::Shared;
use crate::snapshot::scan_blobs;
use crate::{EntryState, Inserter, SnapshotId, Store, Writer};

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
        let items = items(&self.store, &[])?;
        Ok(Cached::of(&items))
    }

    /// Removes what was used longest ago until no more than `keep_bytes` are left; nothing that one of the `pinned` snapshots
    /// names, or the one that a person pinned in the store. Who has a file open keeps it. Lists all blobs.
    pub fn evict(&self, keep_bytes: u64, pinned: &[SnapshotId]) -> Result<Evicted> {
        let _shared = self.share()?;
        evict(&self.store, &self.shared, pinned, |_| keep_bytes)
    }
}

impl Writer {
    /// Removes what was fetched on demand, what was used longest ago first, until so many bytes more are free or none is left
    /// that may go. For a run that needs the room: what it has made itself stays.
    pub fn evict_cached(&self, bytes: u64) -> Result<Evicted> {
        let _alone = self.exclude_inserter()?;
        let keep = |cached: Cached| cached.bytes.saturating_sub(bytes);
        evict(&self.store, &self.shared, &[], keep)
    }
}

impl Cached {
    fn of(items: &[Item]) -> Cached {
        Cached {
            files: items.len() as u64,
            bytes: items.iter().map(|item| item.bytes).sum(),
        }
    }
}

/// `keep` says how much may be left of what there is.
fn evict(
    store: &Store,
    shared: &Shared,
    pinned: &[SnapshotId],
    keep: impl FnOnce(Cached) -> u64,
) -> Result<Evicted> {
    let mut pinned = pinned.to_vec();
    pinned.extend(store.pinned()?);
    let mut items = items(store, &pinned)?;
    items.sort_unstable_by_key(|item| item.used);
    let mut done = Evicted {
        left: Cached::of(&items),
        ..Evicted::default()
    };
    let keep_bytes = keep(done.left);
    for item in items.iter().filter(|item| !item.is_pinned) {
        if done.left.bytes <= keep_bytes {
            break;
        }
        match shared.fs.remove_file(&store.layout().blob(&item.digest)) {
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
fn items(store: &Store, pinned: &[SnapshotId]) -> Result<Vec<Item>> {
    let (mut items, mut chunk) = (Vec::new(), Vec::new());
    for shard in 0..=u8::MAX {
        add_shard(store, shard, &mut chunk)?;
        if chunk.len() >= CHUNK || shard == u8::MAX {
            // Not before the blobs were listed: a run notes what it makes before it is there, and goes on beside us.
            let made = made_by_runs(store)?;
            chunk.retain(|item: &Item| !made.contains(&item.digest.0));
            settle(store, &mut chunk, pinned)?;
            items.append(&mut chunk);
        }
    }
    Ok(items)
}

/// Takes out what kept snapshots need, and marks what pinned ones name.
fn settle(store: &Store, chunk: &mut Vec<Item>, pinned: &[SnapshotId]) -> Result<()> {
    chunk.sort_unstable_by_key(|item| item.digest);
    let mut needed = HashSet::new();
    for id in store.snapshot_ids()? {
        let index = store.layout().snapshot(&id);
        if pinned.contains(&id) {
            scan_blobs(&index, &id, EntryState::is_offered, &mut |digest, _| {
                if let Some(item) = find(chunk, digest) {
                    item.is_pinned = true;
                }
            })?;
        } else {
            scan_blobs(&index, &id, EntryState::is_here, &mut |digest, _| {
                if find(chunk, digest).is_some() {
                    needed.insert(*digest);
                }
            })?;
        }
    }
    chunk.retain(|item| !needed.contains(&item.digest.0));
    Ok(())
}

/// In what is sorted by digest.
fn find<'a>(chunk: &'a mut [Item], digest: &[u8; 32]) -> Option<&'a mut Item> {
    let found = chunk.binary_search_by(|item| item.digest.0.cmp(digest));
    chunk.get_mut(found.ok()?)
}

/// What runs have made since the last collection: a snapshot that is being made may need it.
fn made_by_runs(store: &Store) -> Result<HashSet<[u8; 32]>> {
    let mut noted = Vec::new();
    match fs::File::open(store.layout().committed()) {
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(e).doing(DOING),
        Ok(mut file) => drop(file.read_to_end(&mut noted).doing(DOING)?),
    }
    let digests = noted
        .chunks_exact(32)
        .filter_map(|digest| digest.first_chunk());
    Ok(digests.copied().collect())
}

fn add_shard(store: &Store, shard: u8, chunk: &mut Vec<Item>) -> Result<()> {
    let files = match fs::read_dir(store.layout().shard(shard)) {
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
