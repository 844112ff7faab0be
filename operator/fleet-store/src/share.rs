//! Checking a part of the blobs at a time, for a scrub that goes on over many runs.
//!
//! Blobs are taken in the order of their digests, which spreads them evenly, whatever they are. Only those that a kept
//! snapshot or the list of names that went names are looked at, so that a missing one is found as well as a rotten one. The records of the snapshots are
//! read once for each group of digests, and a group is so large that its digests take some 3 MiB of memory.

use std::collections::BTreeMap;
use std::io::Read;

use fleet_types::{Sha256, counted};
use sha2::Digest as _;

use crate::error::{Result, StoreError};
use crate::snapshot::scan_blobs;
use crate::{EntryState, SnapshotId, Store};

/// Digests in memory at once.
const GROUP: u64 = 64 << 10;
/// First bytes that digests have.
const SHARDS: u64 = 256;

/// What came of checking a part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Share {
    pub blobs: u64,
    pub bytes: u64,
    /// With what is wrong with each, in words.
    pub damaged: Vec<(Sha256, String)>,
    /// The first that was not checked; none at the end of the pass.
    pub next: Option<Sha256>,
}

/// Asked before each piece is read: whether to go on with the digest, after so many bytes of it. May wait.
pub type GoOn<'a> = dyn FnMut(&Sha256, u64) -> bool + 'a;

impl Store {
    /// Checks the blobs of the kept snapshots from the digest `from` on, for as long as `go_on` says so.
    pub fn scrub_share(&self, from: &Sha256, go_on: &mut GoOn<'_>) -> Result<Share> {
        let ids = self.snapshot_ids()?;
        let width = width_of_groups(self)?;
        let mut share = Share::default();
        let mut shard = u64::from(from.0[0]);
        while shard < SHARDS {
            let end = (shard + width).min(SHARDS);
            for (digest, size) in named(self, &ids, from, shard..end)? {
                if !go_on(&digest, 0) {
                    share.next = Some(digest);
                    return Ok(share);
                }
                match check_blob(self, &digest, size, go_on) {
                    Some(Ok(())) => {}
                    Some(Err(problem)) => share.damaged.push((digest, problem)),
                    // Not to its end: the next share begins with it.
                    None => {
                        share.next = Some(digest);
                        return Ok(share);
                    }
                }
                share.blobs += 1;
                share.bytes += size;
            }
            shard = end;
        }
        Ok(share)
    }
}

/// Shards whose digests fit into memory together.
fn width_of_groups(store: &Store) -> Result<u64> {
    let paths = store
        .snapshots()?
        .iter()
        .map(|info| info.meta.entries)
        .sum::<u64>();
    Ok((GROUP * SHARDS / paths.max(1)).clamp(1, SHARDS))
}

/// The blobs that snapshots name, in these shards and not before `from`, with their sizes.
fn named(
    store: &Store,
    ids: &[SnapshotId],
    from: &Sha256,
    shards: std::ops::Range<u64>,
) -> Result<BTreeMap<Sha256, u64>> {
    let mut named = BTreeMap::new();
    let mut add = |digest: &[u8; 32], size| {
        if shards.contains(&u64::from(digest[0])) && *digest >= from.0 {
            named.insert(Sha256(*digest), size);
        }
    };
    // One that cannot be read is a finding of its own.
    let retained = store.retained().ok().flatten();
    let gone = retained.iter().flat_map(|list| list.iter());
    for (_, gone) in gone.filter(|(_, gone)| gone.entry.state.is_here()) {
        add(&gone.entry.digest.0, gone.entry.size);
    }
    for id in ids {
        let index = store.layout().snapshot(id);
        let scanned = scan_blobs(&index, id, EntryState::is_here, &mut add);
        match scanned {
            // Collected, or a finding of its own.
            Err(StoreError::SnapshotNotFound { .. }) => {}
            Err(error) if error.is_damage() => {}
            other => other?,
        }
    }
    Ok(named)
}

/// None where `go_on` said no in between.
fn check_blob(
    store: &Store,
    digest: &Sha256,
    size: u64,
    go_on: &mut GoOn<'_>,
) -> Option<Result<(), String>> {
    let mut file = match store.open_blob(digest) {
        Ok(Some(file)) => file,
        Ok(None) => return Some(Err("it is missing".to_owned())),
        Err(error) => return Some(Err(error.cause().unwrap_or_else(|| error.to_string()))),
    };
    let mut hasher = sha2::Sha256::new();
    let mut block = vec![0; 256 << 10];
    let mut read = 0;
    loop {
        match file.read(&mut block) {
            Err(error) => return Some(Err(error.to_string())),
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&block[..count]);
                read += count as u64;
                if !go_on(digest, count as u64) {
                    return None;
                }
            }
        }
    }
    let found = Sha256(hasher.finalize().into());
    Some(match (read == size, found == *digest) {
        (true, true) => Ok(()),
        (false, _) => Err(format!(
            "it has {} instead of {size}",
            counted(read, "byte")
        )),
        (true, false) => Err(format!("its content has the digest {found}")),
    })
}
