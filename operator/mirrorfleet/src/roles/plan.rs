//! `mirrorfleet plan`.

use fleet_sync::{PlanReport, Share};
use fleet_types::Outcome;
use tokio_util::sync::CancellationToken;

use crate::arguments::{DataArguments, ManifestArguments};
use crate::failure::Failure;
use crate::manifests::Manifests;
use crate::progress::Display;
use crate::report::{OutputFormat, not_begun, print_plan};
use crate::resolve::{References, Resolver};
use crate::runtime::{LogArguments, Verbosity, block_on, now};

/// Tells what a sync would fetch, keep and remove, and changes nothing
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    manifests: ManifestArguments,
    #[command(flatten)]
    data: DataArguments,
    /// Only this Mirror
    #[arg(long, value_name = "NAME")]
    mirror: Option<String>,
    /// How to print what was found out
    #[arg(short = 'o', long, value_enum, default_value = "text")]
    output: OutputFormat,
}

pub fn run(arguments: Arguments, log: &LogArguments) -> Result<Outcome, Failure> {
    let display = Display::detect();
    log.init(Verbosity::Quiet, &display)?;
    let manifests = Manifests::load(&arguments.manifests.files)?;
    block_on(|stop| plan(arguments, manifests, display, stop))
}

async fn plan(
    arguments: Arguments,
    manifests: Manifests,
    display: Display,
    stop: CancellationToken,
) -> Result<Outcome, Failure> {
    let resolver = Resolver {
        manifests: &manifests,
        references: References::Manifests,
        data: &arguments.data.data,
    };
    let chosen: Vec<_> = match &arguments.mirror {
        Some(name) => vec![manifests.mirror(name)?],
        None => manifests.mirrors.values().collect(),
    };
    let mut worst = Outcome::Good;
    for mirror in chosen {
        let name = mirror.metadata.name.as_deref().unwrap_or_default();
        let options = resolver.options(mirror, Vec::new());
        let kind = (options.as_ref().ok()).map(|options| options.upstream_type.clone());
        let report = match options {
            Ok(options) => fleet_sync::plan(options, display.begin(name), stop.clone()).await,
            Err(failure) => nothing_planned(name, &failure),
        };
        print_plan(&report, kind.as_deref(), arguments.output)?;
        worst = worst.worst(report.reason.outcome());
    }
    Ok(worst)
}

/// The answer where a manifest keeps a plan from being made.
pub fn nothing_planned(mirror: &str, failure: &Failure) -> PlanReport {
    let report = not_begun(mirror, failure, None, now());
    PlanReport {
        mirror: report.mirror,
        result: report.result,
        reason: report.reason,
        message: report.message,
        units: report.units,
        fetch: Share::default(),
        keep: Share::default(),
        remove: Share::default(),
        exclude: Share::default(),
        on_demand: Share::default(),
        room: None,
        revision: report.revision,
        requests: 0,
        bytes_fetched: 0,
        seconds: 0.0,
        retry_after_seconds: None,
    }
}
