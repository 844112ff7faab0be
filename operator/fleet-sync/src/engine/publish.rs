//! Publish and collect.

use std::collections::BTreeMap;

use fleet_formats::seam::{UnitIndex, Verified};
use fleet_store::{Prepared, Publication, SnapshotId, SnapshotMeta};
use fleet_types::{ClockReading, Reason, UnitRevision, counted};

use super::base::Content;
use super::check::Closed;
use super::gather::Stance;
use super::left_out::left_out;
use super::memory::OmittedIndex;
use super::remember::remember;
use super::rules::Rules;
use super::run::{Ending, Ground};
use super::shelves::Shelves;
use crate::{Phase, Problem, Progress, Publishing, RunResult};

/// What a run did to what is served.
pub(super) struct Served {
    pub result: RunResult,
    pub reason: Reason,
    pub message: String,
    pub revision: Vec<UnitRevision>,
}

/// What the next snapshot says about itself.
fn meta(ground: &Ground, stances: &[Stance]) -> Result<SnapshotMeta, Problem> {
    let revision = revision(ground, stances);
    let mut carried = BTreeMap::new();
    let mut left_out = left_out(ground);
    left_out.retain(|unit, _| ground.rules.units.contains(unit));
    if let Some(base) = &ground.stock.base {
        let of_carried = ground
            .rules
            .units
            .iter()
            .zip(stances)
            .filter(|(_, stance)| matches!(stance, Stance::Carry));
        carried.extend(
            of_carried.map(|(unit, _)| (unit.clone(), base.content.slice_of(unit).clone())),
        );
    }
    let content = Content {
        slice: ground.rules.options.content.clone(),
        carried,
        left_out,
    };
    let content = serde_json::to_value(content).map_err(|e| {
        Problem::new(
            Reason::InvalidSpec,
            format!("the content block cannot be recorded: {e}"),
        )
    })?;
    Ok(SnapshotMeta {
        upstream_type: ground.rules.options.upstream_type.clone(),
        inputs: ground.rules.inputs,
        content,
        revision,
        created: created(ground),
        parent: ground.stock.base.as_ref().map(|base| base.snapshot.id()),
        links: links(ground, stances),
        openings: openings(ground, stances),
        clocks: clocks(ground, stances),
        changes: None,
        entries: 0,
        bytes: 0,
    })
}

/// The state of each unit, by name.
pub(super) fn revision(ground: &Ground, stances: &[Stance]) -> Vec<UnitRevision> {
    let of = |(unit, stance): (&String, &Stance)| match stance {
        Stance::Advance(advance) => Some(advance.listed.index.revision.clone()),
        Stance::Carry => ground.stock.state_of(unit).cloned(),
        Stance::LeaveOut => None,
    };
    let mut revision: Vec<_> = ground
        .rules
        .units
        .iter()
        .zip(stances)
        .filter_map(of)
        .collect();
    revision.sort_by(|a, b| a.unit.cmp(&b.unit));
    revision
}

/// The other names of each unit's directory; those of a carried unit are as the base has them.
fn links(ground: &Ground, stances: &[Stance]) -> BTreeMap<String, String> {
    let mut links = BTreeMap::new();
    for (unit, base) in carried(ground, stances) {
        let of_unit = base
            .links
            .iter()
            .filter(|(_, target)| is_root(ground, unit, target));
        links.extend(of_unit.map(|(link, target)| (link.clone(), target.clone())));
    }
    for index in advancing(stances) {
        let pairs = index.links.iter();
        links.extend(pairs.map(|(link, target)| (link.to_string(), target.to_string())));
    }
    links
}

/// The file that a client reads first of each unit.
fn openings(ground: &Ground, stances: &[Stance]) -> BTreeMap<String, bool> {
    let mut openings = BTreeMap::new();
    for (unit, base) in carried(ground, stances) {
        let of_unit = base.openings.iter().filter(|(path, _)| {
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            is_root(ground, unit, directory)
        });
        openings.extend(of_unit.map(|(path, fixed)| (path.clone(), *fixed)));
    }
    for index in advancing(stances) {
        let first = index.roots.first();
        openings.extend(first.map(|(path, _)| (path.to_string(), index.fixed_names)));
    }
    openings
}

/// How the upstream's clock stood when each unit was read.
fn clocks(ground: &Ground, stances: &[Stance]) -> BTreeMap<String, ClockReading> {
    let memory = &ground.stock.memory.units;
    let of = |(unit, stance): (&String, &Stance)| {
        let clock = match stance {
            Stance::Advance(advance) => advance.listed.clock.clone(),
            Stance::Carry => memory.get(unit)?.clock.clone(),
            Stance::LeaveOut => None,
        };
        clock.map(|clock| (unit.clone(), clock))
    };
    ground
        .rules
        .units
        .iter()
        .zip(stances)
        .filter_map(of)
        .collect()
}

/// The units that stay as they are in the base, and what the base says about itself.
fn carried<'a>(
    ground: &'a Ground,
    stances: &'a [Stance],
) -> impl Iterator<Item = (&'a String, &'a SnapshotMeta)> {
    let base = ground.stock.base.as_ref().map(|base| base.snapshot.meta());
    let units = ground.rules.units.iter().zip(stances);
    units.filter_map(move |(unit, stance)| match stance {
        Stance::Carry => Some((unit, base?)),
        Stance::Advance(_) | Stance::LeaveOut => None,
    })
}

/// Whether a unit's roots are in this directory.
fn is_root(ground: &Ground, unit: &str, directory: &str) -> bool {
    let plan = ground.rules.options.format.roots(unit);
    plan.is_ok_and(|plan| {
        let mut roots = plan.probes.iter();
        roots.any(|root| root.path.parent().unwrap_or_default() == directory)
    })
}

/// Snapshots are ordered by this: it grows even where two runs share a second or the clock was set back.
fn created(ground: &Ground) -> i64 {
    ground.stock.base.as_ref().map_or(ground.rules.now, |base| {
        let before = base.snapshot.meta().created;
        ground.rules.now.max(before.saturating_add(1))
    })
}

/// Makes a closed want-list the snapshot that is served, unless a person decided otherwise. With the snapshot, where it
/// is a new one.
pub(super) fn publish(
    ground: &Ground,
    closed: Closed,
    stances: &[Stance],
    left_out: &[(u16, OmittedIndex)],
) -> Result<(Served, Option<SnapshotId>), Problem> {
    ground.watch.progress.phase(Phase::Prepare);
    let meta = meta(ground, stances)?;
    let revision = meta.revision.clone();
    if let Some(newest) = the_same(ground, &closed, &meta) {
        remember(ground, stances, left_out)?;
        return Ok((settle_unchanged(ground, newest, revision)?, None));
    }
    let prepared = closed.prepare(meta)?;
    // Before the switch: a crash in between must not forget what was accepted.
    remember(ground, stances, left_out)?;
    Ok((serve(ground, &prepared, revision)?, Some(prepared.id)))
}

/// The base, where the next snapshot would be no other.
fn the_same(ground: &Ground, closed: &Closed, meta: &SnapshotMeta) -> Option<SnapshotId> {
    let base = ground
        .stock
        .base
        .as_ref()
        .filter(|_| !closed.is_changed())?;
    let before = base.snapshot.meta();
    let same = before.inputs == meta.inputs
        && before.content == meta.content
        && before.revision == meta.revision
        && before.upstream_type == meta.upstream_type
        && before.links == meta.links
        && before.openings == meta.openings;
    (same && !ground.stock.is_damaged()).then(|| base.snapshot.id())
}

/// Serves what is prepared, unless a person decided otherwise or others order what is.
pub(super) fn serve(
    ground: &Ground,
    prepared: &Prepared,
    revision: Vec<UnitRevision>,
) -> Result<Served, Problem> {
    let (id, entries) = (prepared.id, prepared.entries);
    match &ground.rules.options.publishing {
        Publishing::ByRun { skip, .. } => {
            ground.watch.progress.phase(Phase::Publish);
            by_run(ground, (id, entries), skip, revision)
        }
        Publishing::ByOrder { .. } => Ok(Served {
            result: RunResult::Prepared,
            reason: Reason::Prepared,
            message: format!(
                "snapshot {id} with {} is prepared",
                counted(entries, "path")
            ),
            revision,
        }),
    }
}

/// Serves the newest snapshot, of this id and with so many paths, unless a person decided otherwise.
fn by_run(
    ground: &Ground,
    (newest, entries): (SnapshotId, u64),
    skip: &[String],
    revision: Vec<UnitRevision>,
) -> Result<Served, Problem> {
    let (writer, now) = (&ground.stock.shelves.writer, ground.rules.now);
    let skips = |id: &SnapshotId| {
        let id = id.to_string();
        skip.iter().any(|beginning| id.starts_with(beginning))
    };
    let other = match skips(&newest) {
        true => writer
            .snapshots()?
            .into_iter()
            .rfind(|info| !skips(&info.id)),
        false => None,
    };
    let Some(other) = other else {
        let publication = writer.publish(&newest, now)?;
        return Ok(served(publication, newest, entries, revision));
    };
    let publication = match writer.publish(&other.id, now)? {
        held @ Publication::HeldByPin { .. } => held,
        _ => Publication::HeldByRollback { serving: other.id },
    };
    Ok(served(publication, newest, entries, revision))
}

/// Nothing is new: what is prepared is served, unless a person decided otherwise or others order what is.
pub(super) fn settle_unchanged(
    ground: &Ground,
    newest: SnapshotId,
    revision: Vec<UnitRevision>,
) -> Result<Served, Problem> {
    let base = ground.stock.base.as_ref();
    let entries = base.map_or(0, |base| base.snapshot.len());
    match &ground.rules.options.publishing {
        Publishing::ByRun { skip, .. } => by_run(ground, (newest, entries), skip, revision),
        Publishing::ByOrder { .. } => Ok(served(Publication::Unchanged, newest, entries, revision)),
    }
}

/// Gives up what nobody needs any more. The run is over: it had all kept snapshots open, and of one that somebody has open
/// no blob is removed.
pub(super) fn collect(
    shelves: &Shelves,
    ending: Ending,
    rules: &Rules,
    progress: &dyn Progress,
) -> Result<(), Problem> {
    let (writer, now) = (&shelves.writer, rules.now);
    let mut keep = rules.options.publishing.keep().to_vec();
    let made = match ending {
        Ending::Made(made) => Some(made),
        Ending::NothingNew if writer.is_collection_due(now, &keep)? => None,
        Ending::NothingNew => return Ok(()),
    };
    keep.extend(made);
    progress.phase(Phase::Collect);
    let collected = writer.collect(now, &keep)?;
    tracing::info!(snapshot = ?made, blobs = collected.blobs_removed, bytes = collected.bytes_freed, "collected");
    Ok(())
}

fn advancing(stances: &[Stance]) -> impl Iterator<Item = &Verified<UnitIndex>> {
    stances.iter().filter_map(|stance| match stance {
        Stance::Advance(advance) => Some(&advance.listed.index),
        Stance::Carry | Stance::LeaveOut => None,
    })
}

fn served(
    publication: Publication,
    id: SnapshotId,
    entries: u64,
    revision: Vec<UnitRevision>,
) -> Served {
    let (result, reason, message) = match publication {
        Publication::Switched { .. } => (
            RunResult::Published,
            Reason::Published,
            format!("snapshot {id} with {} is served", counted(entries, "path")),
        ),
        Publication::Unchanged => (
            RunResult::Unchanged,
            Reason::Unchanged,
            "the upstream and our own choices are as they were".to_owned(),
        ),
        Publication::HeldByPin { pinned } => (
            RunResult::Unchanged,
            Reason::Pinned,
            format!("snapshot {id} is prepared; the pinned {pinned} is served"),
        ),
        Publication::HeldByRollback { serving } => (
            RunResult::Unchanged,
            Reason::RolledBack,
            format!(
                "a person rolled back from {id}; {serving} is served until the upstream publishes something newer"
            ),
        ),
    };
    Served {
        result,
        reason,
        message,
        revision,
    }
}
