//! `mirrorfleet local`: the whole way in one process.

mod checks;
mod daemon;
mod freshness;
mod fronts;
mod lane;
mod memory;
#[cfg(test)]
mod one_judge;
mod page;
mod registries;
mod work;

use std::net::SocketAddr;
use std::path::Path;

use fleet_sync::Report;
use fleet_types::Outcome;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio_util::sync::CancellationToken;

use crate::arguments::{DataArguments, ListenArguments, ManifestArguments};
use crate::failure::Failure;
use crate::manifests::Manifests;
use crate::progress::Display;
use crate::report::{OutputFormat, print_run};
use crate::runtime::{LogArguments, Verbosity, block_on, block_on_one};
use work::Task;

/// Syncs on schedule and serves, in one process on this machine
///
/// With --once: syncs everything now, prints a report and exits. Without: syncs each Mirror at once and then by its
/// schedule, and serves each under `/<spec.serving.path, by default its name>/`. An npm registry is not synced but filled
/// when clients ask. SIGHUP reads the manifests again.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    manifests: ManifestArguments,
    #[command(flatten)]
    data: DataArguments,
    /// Where to serve; port 0 takes a free one
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:8080",
        env = "MIRRORFLEET_LISTEN",
        hide_env_values = true
    )]
    listen: SocketAddr,
    #[command(flatten)]
    beside: ListenArguments,
    /// Where to serve the status page, or `none` [default: on this machine only, at the port of --listen and ten, if that is free]
    #[arg(
        long,
        value_name = "ADDR",
        env = "MIRRORFLEET_STATUS_LISTEN",
        hide_env_values = true
    )]
    status_listen: Option<page::Place>,
    /// Show on the status page fixed words only, for strangers: no sentence in which words of an upstream may stand
    #[arg(long)]
    status_fixed_words: bool,
    /// Sync everything now, print a report, exit; never listens, ignores schedule, jitter and minInterval
    #[arg(long)]
    once: bool,
    /// How to print reports
    #[arg(short = 'o', long, value_enum, default_value = "text")]
    output: OutputFormat,
}

pub fn run(arguments: Arguments, log: &LogArguments) -> Result<Outcome, Failure> {
    let display = Display::detect();
    log.init(
        if arguments.once {
            Verbosity::Quiet
        } else {
            Verbosity::Daemon
        },
        &display,
    )?;
    let manifests = Manifests::load(&arguments.manifests.files)?;
    make_data(&arguments.data.data)?;
    if arguments.once {
        block_on_one(|stop| async move { once(&arguments, &manifests, &display, stop).await })
    } else {
        block_on(|stop| daemon::run(arguments, manifests, display, stop))
    }
}

fn make_data(data: &Path) -> Result<(), Failure> {
    let shown = format!("--data {}", data.display());
    if data.exists() && !data.is_dir() {
        return Err(Failure::invalid(format!(
            "{shown} is a file; name a directory, which need not exist"
        )));
    }
    std::fs::create_dir_all(data).map_err(|error| Failure::output(&shown, error))
}

async fn once(
    arguments: &Arguments,
    manifests: &Manifests,
    display: &Display,
    stop: CancellationToken,
) -> Result<Outcome, Failure> {
    for name in work::on_demand(manifests) {
        eprintln!(
            "mirrorfleet local: Mirror {name} is filled when clients ask: there is nothing to sync"
        );
    }
    let lanes = work::lanes(manifests, &arguments.data.data);
    let (sender, mut reports) = tokio::sync::mpsc::unbounded_channel();
    let mut running: FuturesUnordered<_> = lanes
        .values()
        .map(|tasks| {
            one_after_another(
                tasks,
                &arguments.data.data,
                display,
                stop.clone(),
                sender.clone(),
            )
        })
        .collect();
    drop(sender);
    let mut worst = Outcome::Good;
    let mut more = true;
    while more {
        tokio::select! {
            biased;
            report = reports.recv() => match report {
                Some((report, kind)) => {
                    worst = worst.worst(report.reason.outcome());
                    print_run(&report, kind.as_deref(), arguments.output)?;
                }
                None => more = false,
            },
            Some(()) = running.next(), if !running.is_empty() => {}
        }
    }
    Ok(worst)
}

/// Mirrors of one Upstream share its budget, so they take turns.
async fn one_after_another(
    tasks: &[Task],
    data: &Path,
    display: &Display,
    stop: CancellationToken,
    reports: tokio::sync::mpsc::UnboundedSender<(Report, Option<String>)>,
) {
    for task in tasks {
        let report = work::run(task, data, display.begin(&task.mirror), stop.clone()).await;
        // The receiver lives as long as any of these.
        let _ = reports.send((report, task.upstream_type()));
    }
}
