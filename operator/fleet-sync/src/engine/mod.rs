//! One run, and one dry run: the stages put together.
//!
//! # Order
//!
//! 1. **Settle, repair** (`settle`, `repair`): what was decided about what is served is noted; what is known to be damaged is fetched again, before anything is compared with it.
//! 2. **List, verify** (`clock`, `states`, `list`): the state of each unit as far as it can be believed. Where nothing is new
//!    in the upstream and in our own choices, the run ends here.
//! 3. **Indices** (`indices`): the files that verified roots list.
//! 4. **Plan** (`gather`, `judge`, `shrink`): every path that the next snapshot is to hold, compared with the newest one
//!    that there is. Again without the units that turn out to be refused, until none is.
//! 5. **Fetch** (`preflight`, `transfer`): room is set aside, then payload comes, first what brings keys (`keys`).
//!    Signatures over payload are judged while the rest comes (`judges`). What cannot be had leads back to 4.
//! 6. **Check** (`endorse`, `check`): what the signatures came to may lead back to 4; then every path is accounted for; only
//!    this makes a `Closed`.
//! 7. **Prepare, publish** (`publish`): a `Closed` becomes a snapshot, what was accepted is noted, and `current` is switched.
//! 8. **Scrub, collect** (`scrub`, `publish::collect`): what is due of the stored files is looked at; then what nobody may
//!    ask for any more goes, also where nothing is new.
//!
//! A stage is given what it needs: the network is in `Upstream` alone, so that what plans, checks and publishes cannot reach
//! it. What was asked (`Rules`), what is here (`Stock`) and who looks on (`Watch`) make up the `Ground` that all stand on.
//!
//! A run that follows another mirror of ours has a way of its own in the place of 2 to 7 (`follow`). An audit of a mirror that
//! is served is 2 to 4 and the judges of 5, with nothing here before and nothing kept (`audit`).
//!
//! # Guarantees
//!
//! - What a snapshot gains, an index lists that was [`Verified`](fleet_formats::seam::Verified) in this run; units that are
//!   refused add nothing and keep what they had.
//! - No byte is taken that its index does not promise, and nothing is published before all that it needs is durable. What
//!   an index promises as a signature over another file is published where it was found to be one by those who are trusted,
//!   in this run or, over the same content and with the same choices, in an earlier one.
//! - The high-water marks are written before the switch: an older state is refused also after a crash in between.
//! - A unit that is refused costs no other unit anything, but that the first snapshot needs all of them.
//!
//! # What a crash leaves
//!
//! Until the switch the snapshot that was served, after it the new one; `current` is one rename. Files in `staging/` that
//! are hashed again before they are used, blobs that nobody names yet, perhaps an index that nobody serves: the next run
//! takes up what it can use, and collects the rest. Roots are in memory or, the large ones, in files without a name until
//! they are blobs, and leave nothing. Damage that was found is noted before it is mended.

mod ahead;
mod audit;
mod base;
mod blocking;
mod carry;
mod check;
mod clock;
mod damage;
mod endorse;
mod fetching;
mod follow;
mod gather;
mod given;
mod holes;
mod indices;
mod inputs;
mod judge;
mod judges;
mod keys;
mod known;
mod lacking;
mod left_out;
mod list;
mod lost;
mod memory;
mod merge;
mod mutation;
mod one_clock;
mod opening;
mod outcome;
mod own_files;
mod pace;
mod plan;
mod preflight;
mod presence;
mod publish;
mod reading;
mod remember;
mod repair;
mod room;
mod root;
mod roots;
mod rules;
mod run;
mod scrub;
mod settle;
mod shelves;
mod shrink;
mod stages;
mod states;
mod stock;
mod tally;
mod transfer;
mod unlisted;
mod updating;
mod upstream;
mod vouched;
mod vouching;
mod want;
mod watch;
mod witness;

use std::sync::Arc;
use std::time::Instant;

use fleet_fetch::{Meter, Stop};
use fleet_types::Reason;
use tokio_util::sync::CancellationToken;

use self::audit::Audited;
use self::blocking::{blocking, now};
use self::opening::{open_alone, open_dry, open_writer};
use self::outcome::{Cost, Outcomes};
use self::run::{Ground, Run};
use self::shelves::Shelves;
use crate::audit::{AuditReport, Sampling};
use crate::progress::watcher;
use crate::{PlanReport, Problem, Progress, Report, SyncOptions};

/// One run.
pub(crate) async fn sync(
    options: SyncOptions,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
) -> Report {
    let (started_at, clock) = (now(), Instant::now());
    let stop = Stop::new(&cancel, options.timeouts.total);
    let meter = Arc::new(Meter::new(options.politeness.bandwidth, watcher(&progress)));
    let opening = options.clone();
    let shelves = blocking(move || {
        let writer = open_writer(&opening)?;
        settle::settle(&writer, &opening.publishing, now())?;
        Ok(Arc::new(Shelves::of(writer, &opening.damaged)?))
    })
    .await;
    let outcomes = match &shelves {
        Ok(shelves) => sync_in(&options, shelves, &meter, &stop, &progress).await,
        Err(problem) => Outcomes::failed(&options.format.units(), problem.clone()),
    };
    stop.release();
    let cost = Cost {
        requests: meter.requests(),
        bytes: meter.bytes(),
        seconds: clock.elapsed().as_secs_f64(),
        started_at,
        finished_at: now(),
    };
    let mut report = outcomes.report(
        &options,
        &cost,
        shelves.as_ref().ok().map(|shelves| &shelves.writer),
    );
    if let Ok(shelves) = shelves {
        let left = own_files::Left::by(&options, &report, &shelves.writer);
        report = outcome::record(shelves, report, left).await;
    }
    report
}

async fn sync_in(
    options: &SyncOptions,
    shelves: &Arc<Shelves>,
    meter: &Arc<Meter>,
    stop: &Stop,
    progress: &Arc<dyn Progress>,
) -> Outcomes {
    match prepare_run(options, shelves, meter, stop, progress).await {
        Ok(run) => {
            let outcomes = match &options.follow {
                Some(follow) => follow::copy(&run, follow, meter).await,
                None => run.execute().await,
            };
            let outcomes = match scrub::scrub(&run.ground, &run.upstream).await {
                Ok(None) => outcomes,
                Ok(Some(found)) => outcomes.and(&found),
                // What the run itself came to counts; the next one looks again.
                Err(problem) => {
                    progress.note(&format!("looking for rot ended early: {}", problem.message));
                    outcomes
                }
            };
            let outcomes = match shelves.writer.what_was_set_aside().as_slice() {
                [] => outcomes,
                files => outcomes.and(&format!(
                    "damaged files of the store were set aside: {}",
                    files.join(", ")
                )),
            };
            // Waits for the writer threads, so not on a thread of the runtime's own.
            match blocking(move || close(run)).await {
                Ok(()) => outcomes,
                Err(problem) => Outcomes::failed(&options.format.units(), problem),
            }
        }
        Err(problem) => Outcomes::failed(&options.format.units(), problem),
    }
}

/// Ends a run, then collects.
fn close(run: Run) -> Result<(), Problem> {
    let Run {
        ground,
        upstream,
        ending,
    } = run;
    let Ground {
        rules,
        stock,
        watch,
        vouching: _,
    } = ground;
    let shelves = stock.shelves.clone();
    drop((upstream, stock));
    match ending.into_inner() {
        Some(ending) => publish::collect(&shelves, ending, &rules, watch.progress.as_ref()),
        None => Ok(()),
    }
}

async fn prepare_run(
    options: &SyncOptions,
    shelves: &Arc<Shelves>,
    meter: &Arc<Meter>,
    stop: &Stop,
    progress: &Arc<dyn Progress>,
) -> Result<Run, Problem> {
    let (options, shelves, meter, stop, progress) = (
        options.clone(),
        shelves.clone(),
        meter.clone(),
        stop.clone(),
        progress.clone(),
    );
    blocking(move || Run::new(options, shelves, &meter, stop, progress)).await
}

/// A dry run.
pub(crate) async fn plan(
    options: SyncOptions,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
) -> PlanReport {
    let clock = Instant::now();
    let stop = Stop::new(&cancel, options.timeouts.total);
    let meter = Arc::new(Meter::new(options.politeness.bandwidth, watcher(&progress)));
    let opening = options.clone();
    let planned = async {
        let shelves = Arc::new(blocking(move || open_dry(&opening)).await?);
        let run = prepare_run(&options, &shelves, &meter, &stop, &progress).await?;
        run.foresee().await
    };
    let planned = planned.await;
    stop.release();
    outcome::plan_report(&options, planned, &meter, clock.elapsed().as_secs_f64())
}

/// An audit of what is served at the options' authority.
pub(crate) async fn audit(
    options: SyncOptions,
    sampling: Sampling,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
) -> AuditReport {
    let clock = Instant::now();
    let stop = Stop::new(&cancel, options.timeouts.total);
    let meter = Arc::new(Meter::new(options.politeness.bandwidth, watcher(&progress)));
    let audited = audit_alone(&options, sampling, &meter, &stop, &progress).await;
    stop.release();
    let (mirror, url) = (&options.mirror, options.authority.as_str());
    let report = match audited {
        Ok(audited) => audited.report(mirror, url, &options.format.units()),
        Err(problem) => AuditReport::not_begun(mirror, url, out_of_time(problem, &options)),
    };
    AuditReport {
        seed: sampling.seed,
        requests: meter.requests(),
        bytes_fetched: meter.bytes(),
        seconds: clock.elapsed().as_secs_f64(),
        ..report
    }
}

async fn audit_alone(
    options: &SyncOptions,
    sampling: Sampling,
    meter: &Arc<Meter>,
    stop: &Stop,
    progress: &Arc<dyn Progress>,
) -> Result<Audited, Problem> {
    let opening = options.clone();
    let shelves = Arc::new(blocking(move || open_alone(&opening)).await?);
    let run = prepare_run(options, &shelves, meter, stop, progress).await?;
    let audited = run.audit(sampling).await;
    // Waits for the writer threads.
    blocking(move || {
        drop((run, shelves));
        Ok(())
    })
    .await?;
    audited
}

/// An audit keeps nothing, and its time is none of a manifest's.
fn out_of_time(problem: Problem, options: &SyncOptions) -> Problem {
    match problem.reason {
        Reason::SyncTimeout => Problem::new(
            Reason::SyncTimeout,
            format!(
                "the audit is not over after {} s, as long as it may take; let it draw fewer files, or give it more time",
                options.timeouts.total.as_secs()
            ),
        ),
        _ => problem,
    }
}
