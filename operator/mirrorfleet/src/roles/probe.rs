//! `mirrorfleet probe`: asks an upstream which state it has, as the controller does; what a probe Job runs.

mod line;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use fleet_api::upstream::UpstreamType;
use fleet_api::{Mirror, Upstream};
use fleet_controller::probe::{
    Audience, Budget, Declared, Findings, Inquiry, Memory, ProbeError, declared,
};
use fleet_fetch::Access;
use fleet_types::documents::{ProbeFailure, ProbeReport, ProbedEndpoint, ProbedUnit, UnixSeconds};
use fleet_types::{Outcome, Problem, Reason};
use jiff::Timestamp;
use url::Url;

use self::line::Line;
use crate::arguments::{ManifestArguments, ReferenceArguments, leave_behind};
use crate::failure::Failure;
use crate::manifests::Manifests;
use crate::progress::Display;
use crate::report::{OutputFormat, print, print_json, short};
use crate::resolve::Resolver;
use crate::runtime::{LogArguments, Verbosity, block_on_one};

/// Asks an upstream and its endpoints which state they have, by one small request for each suite or repository
///
/// No signature is looked at and nothing is stored. The controller does the same. A Job runs this where the controller may not
/// ask: an upstream that needs a login, and rsync endpoints, for which the program rsync is needed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    manifests: ManifestArguments,
    /// Name of the Upstream
    #[arg(long, value_name = "NAME")]
    upstream: String,
    /// Ask for this suite or repository; may be given several times [default: all that Mirrors of it declare]
    #[arg(long, value_name = "UNIT")]
    unit: Vec<String>,
    /// How to print what was told
    #[arg(short = 'o', long, value_enum, default_value = "text")]
    output: OutputFormat,
    #[command(flatten)]
    mounted: ReferenceArguments,
    /// Write what was told to this file too, in at most 4 KiB of JSON
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    termination_message: Option<PathBuf>,
}

pub fn run(arguments: Arguments, log: &LogArguments) -> Result<Outcome, Failure> {
    log.init(Verbosity::Quiet, &Display::Silent)?;
    block_on_one(|_| async move {
        let report = ask(&arguments).await.unwrap_or_else(|failure| ProbeReport {
            failure: Some(ProbeFailure {
                reason: failure.reason,
                message: failure.message,
            }),
            ..ProbeReport::default()
        });
        match arguments.output {
            OutputFormat::Json => print_json(&report)?,
            OutputFormat::Text => print(&text(&arguments.upstream, &report))?,
        }
        leave_behind(arguments.termination_message.as_deref(), || {
            report.to_termination_message()
        })?;
        Ok(outcome(&report))
    })
}

async fn ask(arguments: &Arguments) -> Result<ProbeReport, Failure> {
    let manifests = Manifests::load(&arguments.manifests.files)?;
    let resolver = Resolver {
        manifests: &manifests,
        references: arguments.mounted.references(),
        data: Path::new(""),
    };
    let name = &arguments.upstream;
    let mirrors = manifests.mirrors.values();
    let mirrors: Vec<&Mirror> = mirrors
        .filter(|mirror| mirror.spec.upstream_ref.name == *name)
        .collect();
    let Some(first) = mirrors.first() else {
        return Err(Failure::invalid(format!(
            "--upstream {name}: no Mirror among the manifests names it in spec.upstreamRef, so there is nothing to ask for"
        )));
    };
    let upstream = resolver.upstream_of(first)?;
    can_be_asked(name, upstream)?;
    let access = resolver.access(first, upstream)?;
    let declared = wanted(arguments, declared(mirrors))?;
    let asked = Asked { upstream, access };
    let authority = asked.authority(&declared).await?;
    let mut report = ProbeReport {
        failure: None,
        units: authority.iter().map(unit).collect(),
        endpoints: Vec::new(),
    };
    let mut told = declared;
    told.retain(|unit, _| authority.get(unit).is_some_and(Result::is_ok));
    for endpoint in asked.endpoints() {
        let others = asked.endpoint(&endpoint.url, &told).await;
        let differs =
            |(unit, found): &(&String, &Result<_, _>)| authority.get(*unit) != Some(*found);
        report.endpoints.push(ProbedEndpoint {
            name: endpoint.name.clone(),
            others: others.iter().filter(differs).map(unit).collect(),
            untold: Vec::new(),
        });
    }
    Ok(report)
}

fn can_be_asked(name: &str, upstream: &Upstream) -> Result<(), Failure> {
    let spec = &upstream.spec;
    if spec.upstream_type == UpstreamType::Npm {
        return Err(Failure::invalid(format!(
            "Upstream {name}: an npm registry has no revision to ask for: it is asked for each package when a client wants it"
        )));
    }
    match spec.authority.url.scheme() {
        "http" | "https" => Ok(()),
        other => Err(Failure::invalid(format!(
            "Upstream {name}: authority.url is a {other} URL; a probe asks over http and https"
        ))),
    }
}

fn wanted(arguments: &Arguments, mut declared: Declared) -> Result<Declared, Failure> {
    if let Some(unknown) = arguments
        .unit
        .iter()
        .find(|unit| !declared.contains_key(*unit))
    {
        let units: Vec<&str> = declared.keys().map(String::as_str).collect();
        return Err(Failure::invalid(format!(
            "--unit {unknown}: no Mirror of Upstream {} declares it; they declare {}",
            arguments.upstream,
            units.join(", ")
        )));
    }
    if !arguments.unit.is_empty() {
        declared.retain(|unit, _| arguments.unit.contains(unit));
    }
    Ok(declared)
}

/// An Upstream with what it takes to ask it.
struct Asked<'a> {
    upstream: &'a Upstream,
    access: Access,
}

impl Asked<'_> {
    /// Those that are asked besides the authority.
    fn endpoints(&self) -> impl Iterator<Item = &fleet_api::upstream::Endpoint> {
        let plain = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
        let authority = plain(&self.upstream.spec.authority.url);
        let endpoints = self.upstream.spec.endpoints.iter();
        endpoints.filter(move |endpoint| {
            matches!(endpoint.url.scheme(), "http" | "https" | "rsync")
                && plain(&endpoint.url) != authority
        })
    }

    async fn authority(&self, declared: &Declared) -> Result<Findings, Failure> {
        let line = self.line(&self.upstream.spec.authority.url);
        let line = line.map_err(|problem| Failure::new(problem.reason, problem.message))?;
        let (memory, budget) = (Memory::default(), Budget::default());
        let inquiry = self.inquiry(declared, &line, &memory, &budget);
        Ok(inquiry.of_authority().await)
    }

    /// One that cannot be asked is no reason to say nothing of the others.
    async fn endpoint(&self, url: &Url, declared: &Declared) -> Findings {
        let line = match self.line(url) {
            Ok(line) => line,
            Err(Problem {
                reason, message, ..
            }) => {
                let error = ProbeError::new(reason, message);
                let units = declared.keys().cloned();
                return units.map(|unit| (unit, Err(error.clone()))).collect();
            }
        };
        let (memory, budget) = (Memory::default(), Budget::default());
        let inquiry = self.inquiry(declared, &line, &memory, &budget);
        inquiry.of_endpoint(url).await
    }

    fn line(&self, place: &Url) -> Result<Line, Problem> {
        let contact = &self.upstream.spec.politeness.contact;
        Line::to(place, &self.access, contact)
    }

    fn inquiry<'i>(
        &'i self,
        declared: &'i Declared,
        fetcher: &'i Line,
        memory: &'i Memory,
        budget: &'i Budget,
    ) -> Inquiry<'i, Line> {
        Inquiry {
            upstream: self.upstream,
            declared,
            fetcher,
            memory,
            budget,
            // It is asked from a network of the tenant's own, with the tenant's own login.
            audience: Audience::Tenant,
            now: Timestamp::now(),
        }
    }
}

fn unit((unit, found): (&String, &Result<fleet_types::UnitRevision, ProbeError>)) -> ProbedUnit {
    let unit = unit.clone();
    match found {
        Ok(revision) => ProbedUnit {
            unit,
            digest: revision.digest.to_string(),
            date: revision.is_dated().then_some(revision.date),
            failure: None,
        },
        Err(ProbeError { reason, message }) => ProbedUnit {
            unit,
            failure: Some(ProbeFailure {
                reason: *reason,
                message: message.clone(),
            }),
            ..ProbedUnit::default()
        },
    }
}

/// That of the authority: an endpoint that does not answer is passed over by runs.
fn outcome(report: &ProbeReport) -> Outcome {
    let units = report.units.iter().filter_map(|unit| unit.failure.as_ref());
    let failures = report.failure.iter().chain(units);
    failures
        .map(|failure: &ProbeFailure| failure.reason)
        .map(Reason::outcome)
        .fold(Outcome::Good, Outcome::worst)
}

fn text(upstream: &str, report: &ProbeReport) -> String {
    let mut text = format!("{upstream}\n");
    if let Some(failure) = &report.failure {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}: {}", failure.reason, failure.message);
    }
    for unit in &report.units {
        let _ = writeln!(text, "  {}", words(unit));
    }
    for endpoint in &report.endpoints {
        match endpoint.others.is_empty() {
            true => {
                let _ = writeln!(text, "  endpoint {}: the same", endpoint.name);
            }
            false => {
                let _ = writeln!(text, "  endpoint {}, what is not the same:", endpoint.name);
            }
        }
        for unit in &endpoint.others {
            let _ = writeln!(text, "    {}", words(unit));
        }
    }
    text
}

fn words(told: &ProbedUnit) -> String {
    let unit = &told.unit;
    match (&told.failure, told.date) {
        (Some(failure), _) => format!("{unit}: {}: {}", failure.reason, failure.message),
        (None, Some(date)) => format!("{unit}: {}, of {}", short(&told.digest), UnixSeconds(date)),
        (None, None) => format!("{unit}: {}", short(&told.digest)),
    }
}
