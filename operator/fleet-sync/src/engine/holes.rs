//! What the snapshot that is served lacks although its signed index lists it: asked for again in every run, without
//! conditions, as long as the state is the same. A request for each file, and no new snapshot where nothing came.
//!
//! A form of an index that is served in another form is no hole: no client needs it, and archives list many that they
//! never serve. It is asked for with every new state.

use std::collections::{BTreeMap, BTreeSet};

use fleet_fetch::{Arrival, Delivery, Sink, Want};
use fleet_formats::seam::{IndexFile, IndexGroup};
use fleet_store::EntryState;
use fleet_types::{Digest, Expected, RepoPath};

use super::indices::{is_same, notes_of};
use super::list::Listed;
use super::memory::OmittedIndex;
use super::presence::note;
use super::run::Ground;
use super::upstream::Upstream;
use crate::Problem;

/// What came of asking again.
#[derive(Default)]
pub(super) struct Again {
    /// Something is there that was not.
    pub arrived: bool,
    /// Index files that are still not there.
    pub absent: BTreeSet<RepoPath>,
}

/// Something that is asked for again.
struct Hole<'a> {
    unit: &'a str,
    path: RepoPath,
    expected: Expected,
    /// The index files that stay out with it.
    files: Vec<RepoPath>,
}

/// Asks again for what the base lacks of units that are as they were.
pub(super) async fn ask_again(
    ground: &Ground,
    upstream: &Upstream,
    listed: &BTreeMap<u16, Listed>,
) -> Result<Again, Problem> {
    let mut again = Again::default();
    let unchanged = listed.values().filter(|listed| listed.unchanged);
    let holes: Vec<Hole<'_>> = unchanged
        .flat_map(|listed| holes(ground, listed, &mut again.absent))
        .collect();
    if holes.is_empty() {
        return Ok(again);
    }
    let wants = holes.iter().enumerate().map(|(tag, hole)| {
        Ok(Want {
            tag: tag as u64,
            sources: vec![hole.path.clone()],
            only: None,
            validators: None,
            likely_missing: false,
            sink: Sink::stored(hole.expected, upstream.writers.clone()),
        })
    });
    let mut notes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut deliver = |delivery: Delivery| {
        let hole = usize::try_from(delivery.tag)
            .ok()
            .and_then(|tag| holes.get(tag));
        match (hole, delivery.result) {
            (_, Ok(Arrival::Complete(received))) => {
                again.arrived = true;
                ground.watch.count_files(1);
                ground.stock.shelves.damage.arrived(&received.digest);
            }
            (Some(hole), Err(error)) => {
                again.absent.extend(hole.files.iter().cloned());
                let note = note(&hole.path, &error, false);
                notes.entry(hole.unit).or_default().extend(note);
            }
            _ => {}
        }
        Ok(())
    };
    let damage = &ground.stock.shelves.damage;
    upstream
        .fetch_durably(damage, wants.collect(), &mut deliver)
        .await?;
    for (unit, notes) in notes {
        notes_of(&ground.watch, unit, notes);
    }
    Ok(again)
}

fn holes<'a>(
    ground: &Ground,
    listed: &'a Listed,
    absent: &mut BTreeSet<RepoPath>,
) -> Vec<Hole<'a>> {
    let unit = listed.index.revision.unit.as_str();
    let left_out = ground
        .stock
        .memory
        .units
        .get(unit)
        .map(|memory| memory.left_out.as_slice())
        .unwrap_or_default();
    let mut holes = Vec::new();
    for group in &listed.index.groups {
        let out = left_out
            .iter()
            .find(|out| out.stem == group.stem.as_str())
            .filter(|_| !group.required);
        match out {
            Some(out) => holes.extend(hole_of_left_out(ground, unit, group, out, absent)),
            None => holes.extend(holes_of_group(ground, unit, group)),
        }
    }
    holes
}

/// The file that keeps an index out, if it is one that can come.
fn hole_of_left_out<'a>(
    ground: &Ground,
    unit: &'a str,
    group: &IndexGroup,
    out: &OmittedIndex,
    absent: &mut BTreeSet<RepoPath>,
) -> Option<Hole<'a>> {
    let files: Vec<RepoPath> = group.files.iter().map(|file| file.path.clone()).collect();
    let missing = out.missing.as_ref();
    let asked = missing.and_then(|missing| {
        Some(Hole {
            unit,
            path: RepoPath::new(&missing.path).ok()?,
            expected: Expected {
                size: missing.size,
                digest: Digest::Sha256(missing.sha256),
            },
            files: files.clone(),
        })
    });
    if asked.is_none() {
        absent.extend(files);
        ground.watch.note(unit, &out.note());
    }
    asked
}

fn holes_of_group<'a>(ground: &Ground, unit: &'a str, group: &IndexGroup) -> Vec<Hole<'a>> {
    let state = |file: &IndexFile| {
        let entry = ground.stock.entry(&file.path)?;
        is_same(&entry, file).then_some(entry.state)
    };
    let mut files = group.files.iter();
    if files.any(|file| state(file) == Some(EntryState::Present)) {
        return Vec::new();
    }
    let absent = group.files.iter().filter(|file| {
        state(file) == Some(EntryState::AbsentUpstream)
            && !ground.rules.exclude.is_match(file.path.as_str())
    });
    absent
        .map(|file| Hole {
            unit,
            path: file.path.clone(),
            expected: file.expected,
            files: vec![file.path.clone()],
        })
        .collect()
}
