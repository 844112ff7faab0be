//! Repair: what `mirrorfleet verify` found damaged is fetched again, for whichever kept snapshot names it, and for names
//! that went and that clients may still ask for.

use std::collections::{BTreeMap, BTreeSet};

use fleet_fetch::{Arrival, Delivery, FailureKind, Sink, Want};
use fleet_store::{Entry, EntryState};
use fleet_types::{Digest, Expected, RepoPath, Sha256, counted};

use super::blocking::blocking;
use super::damage::Damage;
use super::preflight::preflight_sizes;
use super::run::Ground;
use super::upstream::Upstream;
use crate::{Phase, Problem};

/// The names of one content that are tried upstream.
const MAX_SOURCES: usize = 4;

/// A damaged blob as the snapshots name it.
struct Named {
    size: u64,
    /// Whether each may name something else upstream by now, and the name: names that never change come first.
    names: BTreeSet<(bool, RepoPath)>,
}

/// Fetches damaged blobs again where the upstream still has them. What cannot be had stays on the list and counts
/// as missing.
pub(super) async fn repair(ground: &Ground, upstream: &Upstream) -> Result<(), Problem> {
    if ground.stock.shelves.damage.is_empty() {
        return Ok(());
    }
    ground.watch.progress.phase(Phase::Fetch);
    let at = ground.clone();
    let named: Vec<(Sha256, Named)> =
        blocking(move || Ok(named_damage(&at)?.into_iter().collect())).await?;
    preflight_sizes(ground, named.iter().map(|(_, named)| named.size))?;
    ground.watch.progress.note(&format!(
        "fetching {} again, found damaged",
        counted(named.len(), "file")
    ));
    let wants: Vec<_> = named
        .iter()
        .enumerate()
        .map(|(tag, (digest, named))| Ok(repair_want(upstream, tag, *digest, named)))
        .collect();
    let mut not_there = BTreeSet::new();
    let mut deliver = |delivery: Delivery| {
        let asked = usize::try_from(delivery.tag).ok();
        let asked = asked.and_then(|tag| named.get(tag));
        match delivery.result {
            Ok(Arrival::Complete(received)) => {
                ground.watch.count_files(1);
                ground.stock.shelves.damage.arrived(&received.digest);
            }
            Ok(Arrival::NotModified) => {}
            Err(error) => {
                let lacks = matches!(error.kind, FailureKind::NotFound | FailureKind::Mismatch);
                not_there.extend(asked.filter(|_| lacks).map(|(digest, _)| *digest));
                ground.watch.progress.note(&format!(
                    "a damaged file cannot be fetched again: {}",
                    error.message
                ));
            }
        }
        Ok(())
    };
    let damage = &ground.stock.shelves.damage;
    upstream.fetch_durably(damage, wants, &mut deliver).await?;
    let at = ground.clone();
    blocking(move || lose(&at, not_there)).await
}

/// What the upstream does not have and neither the newest snapshot nor the served one names is lost. Other bytes in
/// its place go.
fn lose(ground: &Ground, not_there: BTreeSet<Sha256>) -> Result<(), Problem> {
    let damage = &ground.stock.shelves.damage;
    let mut lost = not_there;
    lost.extend(damage.lost());
    if lost.is_empty() {
        return Ok(());
    }
    let served = ground
        .stock
        .shelves
        .writer
        .current_snapshot()
        .ok()
        .flatten();
    let newest = ground.stock.base.as_ref().map(|base| &base.snapshot);
    let another = served
        .as_ref()
        .filter(|served| newest.is_none_or(|newest| newest.id() != served.id()));
    for snapshot in newest.into_iter().chain(another) {
        for (_, entry) in snapshot.iter() {
            lost.remove(&entry.digest);
        }
    }
    for digest in &lost {
        ground
            .stock
            .shelves
            .writer
            .set_aside_blob(digest, "it is damaged, and the upstream no longer has it")?;
    }
    damage.lose(lost);
    Ok(())
}

fn repair_want(upstream: &Upstream, tag: usize, digest: Sha256, named: &Named) -> Want {
    let expected = Expected {
        size: named.size,
        digest: Digest::Sha256(digest),
    };
    let paths = named.names.iter().take(MAX_SOURCES).map(|(_, path)| path);
    Want {
        tag: tag as u64,
        sources: upstream.sources_of(&digest, paths),
        only: None,
        validators: None,
        likely_missing: false,
        sink: Sink::stored(expected, upstream.writers.clone()),
    }
}

/// Looks for the damaged blobs in all kept snapshots and among the names that went. What nothing names is of no use.
fn named_damage(ground: &Ground) -> Result<BTreeMap<Sha256, Named>, Problem> {
    let damage = &ground.stock.shelves.damage;
    let mut found = BTreeMap::new();
    let kept = ground
        .stock
        .base
        .iter()
        .flat_map(|base| base.older.iter().chain([&base.snapshot]));
    for snapshot in kept {
        ground.watch.stop.check()?;
        find_names(snapshot.iter(), damage, &mut found);
    }
    let retained = ground.stock.base.iter().flat_map(|base| &base.retained);
    let gone = retained.flat_map(|list| list.iter());
    let gone = gone.map(|(path, gone)| (path, gone.entry));
    find_names(gone, damage, &mut found);
    for digest in damage.open() {
        if !found.contains_key(&digest) {
            let why = "it is damaged, and nothing names it";
            ground.stock.shelves.writer.set_aside_blob(&digest, why)?;
            damage.give_up(&digest);
        }
    }
    Ok(found)
}

fn find_names(
    names: impl Iterator<Item = (RepoPath, Entry)>,
    damage: &Damage,
    found: &mut BTreeMap<Sha256, Named>,
) {
    for (path, entry) in names {
        if entry.state != EntryState::Present || !damage.contains(&entry.digest) {
            continue;
        }
        let named = found.entry(entry.digest).or_insert_with(|| Named {
            size: entry.size,
            names: BTreeSet::new(),
        });
        named.names.insert((entry.mutable, path));
    }
}
