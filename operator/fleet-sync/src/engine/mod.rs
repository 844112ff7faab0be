//! The order of things: each stage is a module; here they are put together, once for a run and once for a dry run.

mod base;
mod carry;
mod check;
mod gather;
mod holes;
mod indices;
mod inputs;
mod judge;
mod lacking;
mod left_out;
mod list;
mod lost;
mod memory;
mod merge;
mod outcome;
mod preflight;
mod presence;
mod publish;
mod reading;
mod repair;
mod room;
mod roots;
mod run;
mod scrub;
mod shelves;
mod shrink;
mod stages;
mod states;
mod trace;
mod transfer;
mod unlisted;
mod updating;
mod want;
mod witness;

use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use self::outcome::{Cost, Outcomes};
use self::run::{Run, blocking, now, open_dry, open_writer};
use self::shelves::Shelves;
use crate::fetch::Meter;
use crate::stop::Stop;
use crate::{PlanReport, Problem, Progress, Report, SyncOptions};

/// One run.
pub(crate) async fn sync(
    options: SyncOptions,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
) -> Report {
    let (started_at, clock) = (now(), Instant::now());
    let stop = Stop::new(&cancel, options.timeouts.total);
    let meter = Arc::new(Meter::new(options.politeness.bandwidth, progress.clone()));
    let opening = options.clone();
    let shelves = blocking(move || {
        let writer = open_writer(&opening)?;
        publish::settle_pin(&writer, opening.pinned.as_deref(), now())?;
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
        let trace = trace::of(&options, &report, &shelves.writer);
        report = outcome::record(shelves, report, trace).await;
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
            let run = Arc::new(run);
            let outcomes = run.clone().execute().await;
            let outcomes = match run.clone().scrub().await {
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
            match blocking(move || publish::close(run)).await {
                Ok(()) => outcomes,
                Err(problem) => Outcomes::failed(&options.format.units(), problem),
            }
        }
        Err(problem) => Outcomes::failed(&options.format.units(), problem),
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
    let meter = Arc::new(Meter::new(options.politeness.bandwidth, progress.clone()));
    let opening = options.clone();
    let planned = async {
        let shelves = Arc::new(blocking(move || open_dry(&opening)).await?);
        let run = Arc::new(prepare_run(&options, &shelves, &meter, &stop, &progress).await?);
        run.foresee().await
    };
    let planned = planned.await;
    stop.release();
    outcome::plan_report(&options, planned, &meter, clock.elapsed().as_secs_f64())
}
