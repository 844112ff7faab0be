//! `mirrorfleet audit`: a mirror that is served, checked over its public URL; what the Job of a canary runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_api::{GoDuration, Mirror};
use fleet_sync::{AuditReport, Sampling, SyncOptions};
use fleet_types::{Outcome, Problem, counted};
use url::Url;

use crate::arguments::{ManifestArguments, ReferenceArguments, leave_behind};
use crate::failure::Failure;
use crate::manifests::Manifests;
use crate::progress::Display;
use crate::report::{OutputFormat, print_audit};
use crate::resolve::Resolver;
use crate::runtime::{LogArguments, Verbosity, block_on, now};

/// Checks a mirror that is served, over its URL, as clients do
///
/// Roots and indices are fetched and judged as those of an upstream: signature, keys, expiry, sizes and digests. Each root
/// and index is asked for by every name that it has, and files are drawn by lot from what indices list, with the signatures
/// over them. Nothing is kept. Exit codes are those of a sync from there.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    manifests: ManifestArguments,
    /// Name of the Mirror, whose manifest and Upstream say what is to be there and by whom it is signed
    #[arg(long, value_name = "NAME")]
    mirror: String,
    /// Where its files are, for example http://localhost:8080/debian/ [default: its path below the `publicUrl`, or the host of the route, of its region]
    #[arg(long, value_name = "URL", value_parser = served)]
    url: Option<Url>,
    /// Which region, where several can be reached from outside
    #[arg(long, value_name = "NAME", conflicts_with = "url")]
    region: Option<String>,
    /// How many listed files are drawn
    #[arg(long = "files", value_name = "COUNT", default_value_t = 32, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    drawn: u16,
    /// Larger files are not drawn, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    max_file_size: u32,
    /// How long it may take, for example 90s or 10m
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = time)]
    timeout: Duration,
    /// Draw the files that an audit with this seed drew; each report tells its own [default: by the clock]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// PEM file with certificates to believe besides the system's, for https
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// How to print what was found
    #[arg(short = 'o', long, value_enum, default_value = "text")]
    output: OutputFormat,
    #[command(flatten)]
    mounted: ReferenceArguments,
    /// Write what came of it to this file too, as a run's report of at most 2 KiB
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    termination_message: Option<PathBuf>,
}

fn served(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("{error}"))?;
    match url.scheme() {
        "http" | "https" if url.query().is_none() && url.fragment().is_none() => Ok(folder(url)),
        "http" | "https" => Err("files have neither a query nor a fragment".to_owned()),
        other => Err(format!("{other} is not supported; use http or https")),
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let time: GoDuration = text.parse().map_err(|error| format!("{error}"))?;
    match time.0 {
        time if time.is_zero() => Err("an audit takes some time".to_owned()),
        time => Ok(time),
    }
}

/// With a slash at its end.
fn folder(mut url: Url) -> Url {
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    url
}

pub fn run(arguments: Arguments, log: &LogArguments) -> Result<Outcome, Failure> {
    let display = Display::detect();
    log.init(Verbosity::Quiet, &display)?;
    block_on(|stop| async move {
        let started_at = now();
        let sampling = Sampling {
            files: usize::from(arguments.drawn),
            max_file_bytes: u64::from(arguments.max_file_size) << 20,
            seed: arguments.seed.unwrap_or_else(by_the_clock),
        };
        let report = match options(&arguments) {
            Ok(options) => {
                let progress = display.begin(&arguments.mirror);
                fleet_sync::audit(options, sampling, progress, stop).await
            }
            Err(failure) => {
                let url = arguments.url.as_ref().map_or("", Url::as_str);
                let problem = Problem::new(failure.reason, failure.message);
                AuditReport::not_begun(&arguments.mirror, url, problem)
            }
        };
        print_audit(&report, arguments.output)?;
        leave_behind(arguments.termination_message.as_deref(), || {
            report.as_run((started_at, now())).to_termination_message()
        })?;
        Ok(report.reason.outcome())
    })
}

fn by_the_clock() -> u64 {
    // Negative only before 1970.
    u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap_or_default()
}

fn options(arguments: &Arguments) -> Result<SyncOptions, Failure> {
    let manifests = Manifests::load(&arguments.manifests.files)?;
    let resolver = Resolver {
        manifests: &manifests,
        references: arguments.mounted.references(),
        data: Path::new(""),
    };
    let mirror = manifests.mirror(&arguments.mirror)?;
    let url = match &arguments.url {
        Some(url) => url.clone(),
        None => public_url(mirror, arguments.region.as_deref())?,
    };
    let ca = arguments.ca.as_deref().map(certificates).transpose()?;
    resolver.auditing(mirror, url, ca, arguments.timeout)
}

fn certificates(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| {
        Failure::invalid(format!("--ca {}: cannot be read: {error}", file.display()))
    })
}

/// Where the manifest says that clients find it.
fn public_url(mirror: &Mirror, region: Option<&str>) -> Result<Url, Failure> {
    let regions = mirror.spec.regions.iter();
    let meant = regions.filter(|one| region.is_none_or(|name| name == one.name));
    let public: Vec<(&str, String)> = meant
        .filter_map(|region| Some((region.name.as_str(), mirror.spec.outside(region)?)))
        .collect();
    let name = mirror.metadata.name.as_deref().unwrap_or_default();
    match public.as_slice() {
        [(region, base)] => {
            let url = format!("{base}/{}/", mirror.serving_path());
            url.parse().map_err(|error| {
                Failure::invalid(format!(
                    "Mirror {name}, region {region}: {base:?} is no URL of clients: {error}"
                ))
            })
        }
        [] => {
            let which = region.map_or("no region".to_owned(), |region| {
                format!("no region {region:?}")
            });
            Err(Failure::invalid(format!(
                "Mirror {name} has {which} with a publicUrl or a route; say with --url where its files are"
            )))
        }
        several => {
            let names: Vec<&str> = several.iter().map(|(name, _)| *name).collect();
            Err(Failure::invalid(format!(
                "Mirror {name} has {} with a publicUrl or a route: name one of {} with --region",
                counted(several.len(), "region"),
                names.join(", ")
            )))
        }
    }
}
