//! A copy of a snapshot that another mirror of ours made: *index → difference → room → fetch → close → adopt → remember*.
//!
//! # Whom we believe
//! Whoever started the run, and nobody else: they name the snapshot and pin the bytes of its index. The mirror that is
//! followed is asked for the index by its id and for content by digest, and all that it can do is to give nothing. There is
//! no keyring here, and nobody is given credentials: that the upstream's signatures are good was found out by the run that
//! made the snapshot.
//!
//! # What is fetched
//! The index as a whole, and each content once that the store lacks. What the newest snapshot here has under the same path
//! is there, unless it is known to be damaged; what else is there is found by its digest. So a run that was killed, or that
//! is told of another snapshot than the one before it, fetches nothing twice.
//!
//! # What a crash leaves
//! As after any run: files in `staging/` and blobs that nobody names yet, the index among them. It becomes a snapshot only
//! when all that it names is there, by one rename; the high-water marks are written before anything is served.

mod found;

use std::pin::pin;
use std::sync::Arc;

use fleet_fetch::{Meter, Sink, Want};
use fleet_formats::seam::Format;
use fleet_store::{Adoptable, EntryState, Prepared, RunSorter, Snapshot, Sorted, StoreError};
use fleet_types::documents::UnixSeconds;
use fleet_types::{Digest, Expected, Reason, Relation, RepoPath, UnitRevision};
use futures::future::{Either, select};

use self::found::Found;
use super::blocking::blocking;
use super::clock::kept;
use super::fetching::Fetch;
use super::judges::Judges;
use super::memory::Memory;
use super::outcome::Outcomes;
use super::plan::Refusals;
use super::preflight::{addition, preflight_sizes, reserve_for};
use super::publish::{Served, serve};
use super::repair::repair;
use super::room::Reservation;
use super::run::{Ending, Ground, Run};
use super::transfer::transfer;
use super::upstream::{Upstream, blob_path, of_source};
use crate::options::Follow;
use crate::{Phase, Problem, Publishing, RunResult};

/// Copies the snapshot, and serves it where it is this run that says what is served.
pub(super) async fn copy(run: &Run, follow: &Follow, meter: &Meter) -> Outcomes {
    let Ground {
        rules,
        stock,
        watch,
        ..
    } = &run.ground;
    let copied = bring_up(run, follow, meter).await;
    let shelves = stock.shelves.clone();
    // What was fetched may have been what was damaged.
    let settled = blocking(move || shelves.settle_damage()).await;
    let (units, nothing) = (&rules.units, Refusals::new());
    let (outcomes, confirmed) = match copied.and_then(|copied| settled.map(|()| copied)) {
        Ok(Copied { served, confirmed }) => {
            let served = Outcomes::of(units, nothing, Some(served), "");
            (served, Some(confirmed))
        }
        Err(problem) => {
            let problem = Problem {
                message: format!("copying snapshot {}: {}", follow.snapshot, problem.message),
                ..problem
            };
            let stopped = Outcomes::stopped(units, nothing, problem);
            (stopped.and(&stock.still_served()), None)
        }
    };
    outcomes
        .with_files(watch.files())
        .with_copy(watch.index_bytes(), confirmed)
}

struct Copied {
    served: Served,
    confirmed: UnixSeconds,
}

async fn bring_up(run: &Run, follow: &Follow, meter: &Meter) -> Result<Copied, Problem> {
    let (ground, upstream) = (&run.ground, &run.upstream);
    repair(ground, upstream).await?;
    let (at, wanted) = (ground.clone(), follow.clone());
    if let Some(confirmed) = blocking(move || confirm(&at, &wanted)).await? {
        let _ = run.ending.set(Ending::NothingNew);
        return Ok(confirmed);
    }
    ground.watch.progress.phase(Phase::List);
    let adoptable = fetch_index_and_open(ground, upstream, follow, meter).await?;
    ground.watch.progress.phase(Phase::Plan);
    let (at, wanted) = (ground.clone(), follow.clone());
    let planning = move || {
        check(&at, &wanted, &adoptable)?;
        let lacking = lacking(&at, &adoptable)?;
        let room = room_for(&at, &wanted, &lacking, &adoptable)?;
        Ok((lacking, room, adoptable))
    };
    let (lacking, room, adoptable) = blocking(planning).await?;
    ground.watch.progress.phase(Phase::Fetch);
    let (lacking, nothing) = (Arc::new(lacking), Arc::new(Sorted::empty()));
    let judges = Judges::start(ground, &nothing);
    let transferred = transfer(ground, upstream, lacking, nothing, &room, &judges).await?;
    ground.watch.count_files(transferred.files);
    let (at, wanted) = (ground.clone(), follow.clone());
    let (copied, ending) = blocking(move || adopt(&at, &wanted, adoptable)).await?;
    let _ = run.ending.set(ending);
    Ok(copied)
}

/// Where the very snapshot is here already and whole, it only counts as confirmed.
fn confirm(ground: &Ground, follow: &Follow) -> Result<Option<Copied>, Problem> {
    let Some(here) = here_already(ground, follow)? else {
        return Ok(None);
    };
    let revision = here.meta().revision.clone();
    let served = match &ground.rules.options.publishing {
        Publishing::ByRun { .. } => {
            no_older(ground, follow, &revision)?;
            serve(ground, &as_prepared(&here), revision)?
        }
        Publishing::ByOrder { .. } => Served {
            result: RunResult::Unchanged,
            reason: Reason::Unchanged,
            message: format!("snapshot {} is here already", here.id()),
            revision,
        },
    };
    remember(ground, &here)?;
    Ok(Some(Copied {
        served,
        confirmed: confirmed(follow, &here),
    }))
}

fn here_already(ground: &Ground, follow: &Follow) -> Result<Option<Arc<Snapshot>>, Problem> {
    let shelves = &ground.stock.shelves;
    let here = shelves.snapshot(&follow.snapshot).or_else(|problem| {
        let is_gone = problem.reason == Reason::SnapshotNotFound;
        is_gone.then_some(None).ok_or(problem)
    })?;
    let Some(here) = here.filter(|here| here.pin() == follow.index) else {
        return Ok(None);
    };
    let damage = &shelves.damage;
    let is_whole = damage.is_empty() || {
        let mut entries = here.iter();
        !entries
            .any(|(_, entry)| entry.state == EntryState::Present && damage.contains(&entry.digest))
    };
    Ok(is_whole.then_some(here))
}

fn as_prepared(snapshot: &Snapshot) -> Prepared {
    Prepared {
        id: snapshot.id(),
        existed: true,
        entries: snapshot.meta().entries,
        bytes: snapshot.meta().bytes,
    }
}

/// Never by the clock of this machine: it did not ask the upstream.
fn confirmed(follow: &Follow, snapshot: &Snapshot) -> UnixSeconds {
    let made = UnixSeconds(snapshot.meta().created);
    follow.confirmed.unwrap_or(made)
}

/// What content will be fetched by is opened meanwhile, as far as that takes no longer.
async fn fetch_index_and_open(
    ground: &Ground,
    upstream: &Upstream,
    follow: &Follow,
    meter: &Meter,
) -> Result<Adoptable, Problem> {
    let fetching = pin!(fetch_index(ground, upstream, follow, meter));
    let opening = pin!(upstream.open_for(follow.index.size));
    match select(fetching, opening).await {
        Either::Left((adoptable, _)) => adoptable,
        Either::Right(((), fetching)) => fetching.await,
    }
}

/// The index as it was pinned: what an earlier run has left of it, or from the mirror that is followed.
async fn fetch_index(
    ground: &Ground,
    upstream: &Upstream,
    follow: &Follow,
    meter: &Meter,
) -> Result<Adoptable, Problem> {
    let shelves = &ground.stock.shelves;
    let digest = follow.index.sha256;
    let left = shelves.has(&digest, follow.index.size);
    if left {
        match examine(ground, follow).await {
            Err(problem) if problem.reason == Reason::StoreCorrupt => shelves.damage.found(digest),
            other => return other,
        }
    }
    preflight_sizes(ground, std::iter::once(follow.index.size))?;
    let before = meter.bytes();
    let name = RepoPath::new(&format!("snapshots/{}", follow.snapshot));
    let want = Want {
        tag: 0,
        sources: name.into_iter().collect(),
        only: None,
        validators: None,
        likely_missing: false,
        sink: Sink::stored(follow.index.expected(), upstream.writers.clone()),
    };
    let arrival = upstream.fetcher.fetch_one(want).await?;
    let received = meter.bytes().saturating_sub(before);
    ground.watch.count_index_bytes(received);
    arrival.map_err(of_source)?;
    shelves.damage.arrived(&digest);
    upstream.make_durable(&shelves.damage).await?;
    examine(ground, follow).await
}

async fn examine(ground: &Ground, follow: &Follow) -> Result<Adoptable, Problem> {
    ground.watch.progress.phase(Phase::Verify);
    let (shelves, follow) = (ground.stock.shelves.clone(), follow.clone());
    blocking(move || Ok(shelves.writer.examine(&follow.snapshot, &follow.index)?)).await
}

/// Whether it is a snapshot of the same kind, and no older than what was accepted before, unless it is what servers are
/// ordered to serve.
fn check(ground: &Ground, follow: &Follow, adoptable: &Adoptable) -> Result<(), Problem> {
    let options = &ground.rules.options;
    let meta = adoptable.snapshot().meta();
    if meta.upstream_type != options.upstream_type {
        let text = format!(
            "it is of an upstream of type {}, and this mirror's is {}",
            meta.upstream_type, options.upstream_type
        );
        return Err(Problem::new(Reason::ContentTypeMismatch, text));
    }
    no_older(ground, follow, &meta.revision)
}

fn no_older(ground: &Ground, follow: &Follow, revision: &[UnitRevision]) -> Result<(), Problem> {
    let is_ordered = match &ground.rules.options.publishing {
        Publishing::ByOrder { order, .. } => {
            order.is_some_and(|order| order.snapshot == follow.snapshot.0)
        }
        Publishing::ByRun { .. } => false,
    };
    let mut units = revision.iter().filter(|_| !is_ordered);
    units.try_for_each(|unit| not_older(ground, unit))
}

fn not_older(ground: &Ground, unit: &UnitRevision) -> Result<(), Problem> {
    let options = &ground.rules.options;
    let memory = &ground.stock.memory;
    let Some(mark) = memory.high_water(&unit.unit, &options.high_water) else {
        return Ok(());
    };
    let format: &dyn Format = options.format.as_ref();
    if !unit.is_dated() || format.compare(unit, &mark.revision) != Relation::Older {
        return Ok(());
    }
    let text = format!(
        "{}: it has the state of {}, and that of {} was accepted before; only what servers are ordered to serve may be older",
        unit.unit,
        UnixSeconds(unit.date),
        UnixSeconds(mark.revision.date)
    );
    Err(Problem::new(Reason::RollbackDetected, text))
}

/// Each content that is not here, in the order of the digests, once for every path. What a run that was killed has staged
/// as a whole is here from then on.
fn lacking(ground: &Ground, adoptable: &Adoptable) -> Result<Sorted<Fetch>, Problem> {
    let (stock, damage) = (&ground.stock, &ground.stock.shelves.damage);
    let mut found = Found::new(&stock.shelves)?;
    let base = stock.base.as_ref().map(|base| base.snapshot.as_ref());
    let mut list = RunSorter::new(&stock.shelves.spill_dir());
    adoptable.each_present(base, |_, entry, is_vouched_for| -> Result<(), Problem> {
        ground.watch.stop.check()?;
        let is_here = match is_vouched_for {
            true => damage.is_empty() || !damage.contains(&entry.digest),
            false => stock.shelves.has(&entry.digest, entry.size),
        };
        let expected = Expected {
            size: entry.size,
            digest: Digest::Sha256(entry.digest),
        };
        let is_here = is_here || found.take(&expected)?;
        let path = blob_path(&entry.digest).filter(|_| !is_here);
        let fetch = path.map(|path| Fetch {
            expected,
            exact: true,
            path,
            units: Vec::new(),
        });
        Ok(fetch.map_or(Ok(()), |fetch| list.push(&fetch))?)
    })?;
    found.keep()?;
    Ok(list.finish()?)
}

/// Set aside; where there is too little, the problem says how much.
fn room_for(
    ground: &Ground,
    follow: &Follow,
    lacking: &Sorted<Fetch>,
    adoptable: &Adoptable,
) -> Result<Reservation, Problem> {
    let addition = addition(ground, lacking, std::iter::empty(), 0)?;
    // What it takes on the disk is what comes, but for the rounding to blocks: good enough to be shown.
    let progress = &ground.watch.progress;
    progress.planned(addition.files, addition.bytes);
    reserve_for(ground, addition, &|wanted| {
        wanted(&follow.index.sha256);
        adoptable.each_present(None, |_, entry, _| -> Result<(), StoreError> {
            wanted(&entry.digest);
            Ok(())
        })
    })
}

fn adopt(
    ground: &Ground,
    follow: &Follow,
    adoptable: Adoptable,
) -> Result<(Copied, Ending), Problem> {
    ground.watch.progress.phase(Phase::Check);
    ground.watch.stop.check()?;
    let stock = &ground.stock;
    let base = stock.base.as_ref().map(|base| base.snapshot.as_ref());
    let confirmed = confirmed(follow, adoptable.snapshot());
    // Before anything is served: a crash in between must not forget what was accepted.
    remember(ground, adoptable.snapshot())?;
    let revision = adoptable.snapshot().meta().revision.clone();
    ground.watch.progress.phase(Phase::Prepare);
    let prepared = stock.shelves.writer.adopt(adoptable, base)?;
    let served = serve(ground, &prepared, revision)?;
    Ok((Copied { served, confirmed }, Ending::Made(prepared.id)))
}

/// Notes the states that were accepted by whoever asked the upstream, and how its clock stood then.
fn remember(ground: &Ground, snapshot: &Snapshot) -> Result<(), Problem> {
    let options = &ground.rules.options;
    let mut memory = ground.stock.memory.clone();
    let meta = snapshot.meta();
    for revision in &meta.revision {
        memory.accept_copied(revision, &options.high_water);
        let unit = memory.units.entry(revision.unit.clone()).or_default();
        let clock = meta.clocks.get(&revision.unit);
        unit.clock = kept(options.format.as_ref(), unit.clock.as_ref(), clock);
    }
    memory
        .units
        .retain(|unit, _| ground.rules.units.contains(unit));
    if memory != ground.stock.memory {
        let writer = &ground.stock.shelves.writer;
        writer.state_write(Memory::DOCUMENT, &memory)?;
    }
    Ok(())
}
