//! Whether what is planned fits on the volume, before the first byte of it is fetched.

use std::sync::Mutex;

use fleet_store::{Sorted, Space, Store, StoreError, WantedDigests};
use fleet_types::{Digest, Reason, Sha256, counted};

use super::fetching::Fetch;
use super::plan::{Addition, Plan};
use super::room::{FileSystem, Reservation};
use super::run::Ground;
use crate::{Payload, Problem, Room};

/// A hundredth of the volume stays free, but no more than this.
const MAX_RESERVE_BYTES: u64 = 1 << 30;
const RESERVE_INODES: u64 = 100;
/// What an index takes for one path, generously.
const INDEX_BYTES_PER_PATH: u64 = 256;

/// Between looking at the free space and promising some of it no other run does the same.
static DECIDING: Mutex<()> = Mutex::new(());

/// Refuses indices that would not fit, before they are fetched.
pub(super) fn preflight_sizes(
    ground: &Ground,
    sizes: impl Iterator<Item = u64>,
) -> Result<(), Problem> {
    let writer = &ground.stock.shelves.writer;
    let space = writer.free_space()?;
    let promised = FileSystem::of(writer.dir())?.promised();
    let sum = sizes.fold(Addition::default(), |sum, size| Addition {
        bytes: sum.bytes.saturating_add(space.on_disk(size)),
        files: sum.files + 1,
        ..sum
    });
    let space = without_cached(ground, space, sum, promised)?;
    shortage(&space, sum, promised).map_or(Ok(()), Err)
}

/// Sets room aside for a plan.
pub(super) fn reserve(ground: &Ground, plan: &Plan) -> Result<Reservation, Problem> {
    let wanted = |wanted: &mut dyn FnMut(&Sha256)| each_wanted_digest(plan, wanted);
    reserve_for(ground, plan.addition, &wanted)
}

/// Sets room aside for what is to be added. Where there is not enough, blobs that neither a snapshot nor the run needs are
/// given up first.
pub(super) fn reserve_for(
    ground: &Ground,
    addition: Addition,
    wanted: &WantedDigests<'_>,
) -> Result<Reservation, Problem> {
    // A poisoned lock guards no data.
    let _one_at_a_time = DECIDING.lock();
    let writer = &ground.stock.shelves.writer;
    let file_system = FileSystem::of(writer.dir())?;
    // The promise first: what lands in between is then counted twice rather than not at all.
    let promised = file_system.promised();
    let mut space = writer.free_space()?;
    if shortage(&space, addition, promised).is_some() {
        ground
            .watch
            .progress
            .note("the volume is short of space: removing what no snapshot and not this run needs");
        let keep = ground.rules.options.publishing.keep();
        writer.collect_for_space(ground.rules.now, keep, wanted)?;
        space = without_cached(ground, writer.free_space()?, addition, promised)?;
        if let Some(problem) = shortage(&space, addition, promised) {
            return Err(problem);
        }
    }
    Ok(Reservation::new(file_system, addition.all_bytes(), space))
}

/// What a dry run says of the real volume, and whether there is too little of it.
pub(super) fn foreseen_room(
    ground: &Ground,
    plan: &Plan,
) -> Result<(Room, Option<Problem>), Problem> {
    let space = space(ground)?;
    let addition = plan.addition;
    let room = Room {
        files: addition.files,
        bytes: addition.bytes,
        index_bytes: addition.index_bytes,
        reserve_bytes: reserve_of(&space),
        free_bytes: space.free_bytes,
    };
    Ok((room, shortage(&space, addition, 0)))
}

/// What a transfer and contents of these sizes take, each content once and without what is there of it already.
pub(super) fn addition(
    ground: &Ground,
    transfer: &Sorted<Fetch>,
    stored: impl Iterator<Item = u64>,
    paths: u64,
) -> Result<Addition, Problem> {
    let space = space(ground)?;
    let known = ground.stock.shelves.known();
    let leftovers = known.map(Store::leftovers).transpose()?.unwrap_or_default();
    let mut sum = Addition {
        index_bytes: paths.saturating_mul(INDEX_BYTES_PER_PATH),
        ..Addition::default()
    };
    let mut add = |size, there| {
        let bytes = space.on_disk(size).saturating_sub(there);
        sum.bytes = sum.bytes.saturating_add(bytes);
        sum.files += 1;
    };
    stored.for_each(|size| add(size, 0));
    let mut last = None;
    for fetch in transfer.iter() {
        let Fetch {
            expected, exact, ..
        } = fetch?;
        if last != Some(expected) {
            let size = if exact { expected.size } else { 0 };
            add(size, leftovers.bytes(&expected.digest));
        }
        last = Some(expected);
    }
    Ok(sum)
}

/// Of the volume that the content will be needed on.
fn space(ground: &Ground) -> Result<Space, Problem> {
    Ok(match ground.stock.shelves.known() {
        Some(store) => store.free_space()?,
        None => Space::of(&ground.rules.options.store_dir)?,
    })
}

fn each_wanted_digest(plan: &Plan, wanted: &mut dyn FnMut(&Sha256)) -> Result<(), StoreError> {
    for want in plan.wants.iter() {
        if let Some(digest) = want?.sha256 {
            wanted(&digest);
        }
    }
    for fetch in plan.transfer.iter() {
        if let Digest::Sha256(digest) = fetch?.expected.digest {
            wanted(&digest);
        }
    }
    Ok(())
}

fn reserve_of(space: &Space) -> u64 {
    (space.total_bytes / 100).min(MAX_RESERVE_BYTES)
}

/// The room that there is once what clients asked for has made way, as far as that is needed: it can be fetched again.
fn without_cached(
    ground: &Ground,
    space: Space,
    addition: Addition,
    promised: u64,
) -> Result<Space, Problem> {
    let is_on_demand = ground.rules.options.payload == Payload::OnDemand;
    if !is_on_demand || shortage(&space, addition, promised).is_none() {
        return Ok(space);
    }
    let missing = needed(&space, addition, promised).saturating_sub(space.free_bytes);
    let writer = &ground.stock.shelves.writer;
    writer.evict_cached(missing)?;
    Ok(writer.free_space()?)
}

/// What must be free, with what stays in reserve and what is promised to others.
fn needed(space: &Space, addition: Addition, promised: u64) -> u64 {
    let bytes = addition.all_bytes();
    bytes
        .saturating_add(reserve_of(space))
        .saturating_add(promised)
}

fn shortage(space: &Space, addition: Addition, promised: u64) -> Option<Problem> {
    let (reserve, bytes) = (reserve_of(space), addition.all_bytes());
    let needed = needed(space, addition, promised);
    if bytes > 0 && needed > space.free_bytes {
        let text = format!(
            "the volume has {} free; this run adds {} (and {reserve} stay in reserve, {promised} are promised to other runs): free space, grow the volume (`spec.storage.size`) or copy less",
            counted(space.free_bytes, "byte"),
            bytes
        );
        return Some(Problem::new(Reason::StorageFull, text));
    }
    let free = space.free_inodes?;
    if addition.files > 0 && addition.files.saturating_add(RESERVE_INODES) > free {
        let text = format!(
            "the volume has {} free; this run adds {}: use a file system with more inodes, or copy less",
            counted(free, "inode"),
            counted(addition.files, "file")
        );
        return Some(Problem::new(Reason::StorageFull, text));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: Space = Space {
        free_bytes: 1_000_000,
        total_bytes: 10_000_000,
        free_inodes: Some(1_000),
        block_size: 4096,
    };

    #[test]
    fn bytes_reserve_promises_and_inodes_all_count() {
        let full = |bytes, files, promised| {
            let addition = Addition {
                bytes,
                files,
                index_bytes: 0,
            };
            shortage(&SPACE, addition, promised).is_some()
        };
        assert!(!full(900_000, 900, 0));
        assert!(full(900_001, 1, 0));
        assert!(full(800_000, 1, 100_001));
        assert!(full(1, 901, 0));
        assert!(
            !full(0, 0, u64::MAX),
            "a run that adds nothing needs no room"
        );
    }
}
