//! Reports on standard output: one JSON object a Mirror, or a few lines for people.

mod audit;

use std::fmt::Write as _;
use std::io::{self, Write};

use fleet_api::upstream::UpstreamType;
use fleet_sync::{PlanReport, Report, RunResult, Share, UnitReport};
use fleet_types::documents::UnixSeconds;
use fleet_types::{Outcome, Reason, counted};
use indicatif::HumanBytes;
use serde::Serialize;

pub use audit::print_audit;

use crate::failure::Failure;

/// How results are written to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum OutputFormat {
    /// A few lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Writes one text to standard output. A reader that has gone away (`| head`) is no error.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::output("standard output", error))
        }
        _ => Ok(()),
    }
}

/// Says where something listens: on standard output, or on standard error where that holds JSON.
pub fn announce(text: &str, format: OutputFormat) {
    match format {
        OutputFormat::Json => eprint!("{text}"),
        OutputFormat::Text => {
            if let Err(failure) = print(text) {
                tracing::warn!(%failure, "the address could not be printed");
            }
        }
    }
}

/// Writes one value as a line of JSON.
pub fn print_json<T: serde::Serialize>(value: &T) -> Result<(), Failure> {
    let text =
        serde_json::to_string(value).map_err(|error| Failure::output("the JSON report", error))?;
    print(&format!("{text}\n"))
}

/// A report as it is printed: Debian's units are there a second time as `suites`, the name that they had first.
#[derive(Serialize)]
struct Printed<'a, T> {
    #[serde(flatten)]
    report: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    suites: Option<Vec<Suite<'a>>>,
}

#[derive(Serialize)]
struct Suite<'a> {
    suite: &'a str,
    #[serde(flatten)]
    report: &'a UnitReport,
}

/// `upstream_type` is none where the manifests could not be read so far.
fn printed<'a, T>(
    report: &'a T,
    units: &'a [UnitReport],
    upstream_type: Option<&str>,
) -> Printed<'a, T> {
    let has_suites = upstream_type.is_none_or(|kind| kind == UpstreamType::Debian.as_str());
    let suite = |report: &'a UnitReport| Suite {
        suite: &report.unit,
        report,
    };
    Printed {
        report,
        suites: has_suites.then(|| units.iter().map(suite).collect()),
    }
}

/// Writes what a run came to.
pub fn print_run(
    report: &Report,
    upstream_type: Option<&str>,
    format: OutputFormat,
) -> Result<(), Failure> {
    match format {
        OutputFormat::Json => print_json(&printed(report, &report.units, upstream_type)),
        OutputFormat::Text => print(&run_text(report)),
    }
}

/// Writes what a run would do.
pub fn print_plan(
    report: &PlanReport,
    upstream_type: Option<&str>,
    format: OutputFormat,
) -> Result<(), Failure> {
    match format {
        OutputFormat::Json => print_json(&printed(report, &report.units, upstream_type)),
        OutputFormat::Text => print(&plan_text(report)),
    }
}

/// The report of a run that could not begin. `served` is the snapshot that stays served.
pub fn not_begun(mirror: &str, failure: &Failure, served: Option<String>, now: i64) -> Report {
    Report {
        mirror: mirror.to_owned(),
        result: RunResult::Failed,
        reason: failure.reason,
        message: failure.message.clone(),
        snapshot: served,
        started_at: UnixSeconds(now),
        finished_at: UnixSeconds(now),
        ..Report::default()
    }
}

fn run_text(report: &Report) -> String {
    let outcome = report.reason.outcome();
    let word = verdict(report.result, outcome);
    let mut text = headline(&report.mirror, word, report.reason);
    say(&mut text, &report.message, &report.units);
    if let Some(id) = &report.snapshot {
        line(&mut text, format_args!("  snapshot  {}", short(id)));
    }
    line(
        &mut text,
        format_args!(
            "  fetched   {}, {}, {}, {:.1} s",
            counted(report.files_fetched, "file"),
            HumanBytes(report.bytes_fetched),
            counted(report.requests, "request"),
            report.seconds
        ),
    );
    if report.index_bytes > 0 {
        line(
            &mut text,
            format_args!(
                "  of these  {} were the snapshot's index",
                HumanBytes(report.index_bytes)
            ),
        );
    }
    if let Some(seconds) = report.retry_after_seconds {
        line(
            &mut text,
            format_args!("  the upstream asks to be left alone for {seconds} s"),
        );
    }
    if outcome == Outcome::Upstream && report.bytes_fetched > 0 {
        line(
            &mut text,
            format_args!("  what was fetched is kept: the next run goes on from there"),
        );
    }
    text
}

fn plan_text(report: &PlanReport) -> String {
    let word = match (report.result, report.reason.outcome()) {
        (RunResult::Published, Outcome::Good) => "would publish",
        (RunResult::Published, _) => "would publish in part",
        (result, outcome) => verdict(result, outcome),
    };
    let mut text = headline(&report.mirror, word, report.reason);
    say(&mut text, &report.message, &report.units);
    let shares = [
        ("fetch", &report.fetch),
        ("keep", &report.keep),
        ("remove", &report.remove),
        ("exclude", &report.exclude),
    ];
    let on_demand = (report.on_demand.files > 0).then_some(("on demand", &report.on_demand));
    for (word, share) in shares.into_iter().chain(on_demand) {
        line(
            &mut text,
            format_args!(
                "  {word:<8}  {}, {}",
                counted(share.files, "file"),
                HumanBytes(share.bytes)
            ),
        );
    }
    if let Some(room) = &report.room {
        line(
            &mut text,
            format_args!(
                "  disk      {} to be added in {}, and up to {} for the index; {} free, of which {} stay in reserve",
                HumanBytes(room.bytes),
                counted(room.files, "file"),
                HumanBytes(room.index_bytes),
                HumanBytes(room.free_bytes),
                HumanBytes(room.reserve_bytes)
            ),
        );
    }
    for (mark, share) in [('+', &report.fetch), ('-', &report.remove)] {
        sample(&mut text, mark, share);
    }
    line(
        &mut text,
        format_args!(
            "  to find out: {}, {}, {:.1} s",
            counted(report.requests, "request"),
            HumanBytes(report.bytes_fetched),
            report.seconds
        ),
    );
    text
}

/// How a run ended, in a word or three.
fn verdict(result: RunResult, outcome: Outcome) -> &'static str {
    match (result, outcome) {
        (RunResult::Published, Outcome::Good) => "published",
        (RunResult::Published, _) => "published in part",
        (RunResult::Prepared, Outcome::Good) => "prepared",
        (RunResult::Prepared, _) => "prepared in part",
        (RunResult::Unchanged, _) => "unchanged",
        (RunResult::Failed, Outcome::Refused) => "refused",
        (RunResult::Failed, _) => "failed",
    }
}

/// The reason is said where it says more than the word does.
fn headline(mirror: &str, word: &str, reason: Reason) -> String {
    match reason {
        Reason::Published | Reason::Prepared | Reason::Unchanged => {
            format!("{mirror}: {word}\n")
        }
        reason => format!("{mirror}: {word} ({reason})\n"),
    }
}

/// What the run says, and its suites: each thing once, where it belongs. What the run says of its worst suite is what that
/// suite says, and suites that share a fate share its words.
fn say(text: &mut String, message: &str, suites: &[UnitReport]) {
    let failed = |suite: &&UnitReport| suite.result == RunResult::Failed;
    let of_suite = |suite: &UnitReport| message.strip_prefix(suite.message.as_str());
    let rest = suites.iter().filter(failed).find_map(of_suite);
    let rest = rest.map_or(message, |rest| rest.trim_start_matches("; "));
    if !rest.is_empty() {
        line(text, format_args!("  {rest}"));
    }
    let mut last: Option<&UnitReport> = None;
    for suite in suites {
        let name = &suite.unit;
        let same =
            |last: &UnitReport| (last.reason, &last.message) == (suite.reason, &suite.message);
        let state = match suite.result {
            RunResult::Published | RunResult::Prepared => well("new state", &suite.message),
            RunResult::Unchanged => well("unchanged", &suite.message),
            RunResult::Failed if last.is_some_and(same) => format!("{}, as above", suite.reason),
            RunResult::Failed => format!("{}: {}", suite.reason, without(name, &suite.message)),
        };
        line(text, format_args!("  suite     {name}: {state}"));
        last = Some(suite);
    }
}

/// A message that names its suite first, behind that name.
fn without<'a>(name: &str, message: &'a str) -> &'a str {
    let bare = message.strip_prefix("suite ").unwrap_or(message);
    let rest = bare.strip_prefix(name);
    rest.and_then(|rest| rest.strip_prefix(": "))
        .unwrap_or(message)
}

/// What is to be known of a suite that went well stands behind it.
fn well(state: &str, message: &str) -> String {
    match message {
        "" => state.to_owned(),
        message => format!("{state}; {message}"),
    }
}

fn sample(text: &mut String, mark: char, share: &Share) {
    for path in &share.sample {
        line(text, format_args!("    {mark} {path}"));
    }
    let more = share.files.saturating_sub(share.sample.len() as u64);
    if more > 0 {
        line(text, format_args!("    {mark} … and {more} more"));
    }
}

/// As much of a snapshot's id as people need; every command accepts it.
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    let _ = text.write_fmt(arguments);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use fleet_types::Reason;

    use super::*;

    fn failed(name: &str, message: &str) -> UnitReport {
        UnitReport {
            unit: name.into(),
            result: RunResult::Failed,
            reason: Reason::KeyExpired,
            message: message.into(),
            left_out: None,
        }
    }

    #[test]
    fn a_refusal_says_what_where_and_what_still_works_once() {
        let message = "suite trixie: the signing key expired; nothing was served yet";
        let failure = Failure::new(Reason::KeyExpired, message);
        let mut report = not_begun("debian", &failure, Some("ab".repeat(32)), 0);
        report.units = vec![failed("trixie", "suite trixie: the signing key expired")];
        assert_eq!(
            run_text(&report),
            "debian: refused (KeyExpired)\n  nothing was served yet\n  suite     trixie: KeyExpired: the signing key expired\n\
             \u{20} snapshot  abababababab\n  fetched   0 files, 0 B, 0 requests, 0.0 s\n"
        );
    }

    #[test]
    fn what_ends_a_whole_run_is_said_once_however_many_suites_it_has() {
        let failure = Failure::new(Reason::StorageFull, "the volume is full");
        let mut report = not_begun("debian", &failure, None, 0);
        report.units = ["a", "b", "c"]
            .map(|name| failed(name, "the volume is full"))
            .into();
        let text = run_text(&report);
        assert_eq!(text.matches("the volume is full").count(), 1, "{text}");
        assert_eq!(text.matches("as above").count(), 2, "{text}");
    }

    #[test]
    fn a_good_run_is_short() {
        let mut report = not_begun(
            "debian",
            &Failure::new(Reason::Unchanged, "nothing is new"),
            None,
            0,
        );
        report.result = RunResult::Unchanged;
        let text = run_text(&report);
        assert!(text.starts_with("debian: unchanged\n"), "{text}");
        assert!(!text.contains("kept"), "{text}");
    }

    #[test]
    fn units_are_printed_for_every_type_and_a_second_time_as_the_suites_of_debian() {
        let failure = Failure::new(Reason::KeyExpired, "x");
        let mut report = not_begun("m", &failure, None, 0);
        report.units = vec![failed("trixie", "why")];
        let json = |upstream_type: &str| {
            serde_json::to_value(printed(&report, &report.units, Some(upstream_type))).unwrap()
        };
        let (debian, other) = (json("Debian"), json("Arch"));
        assert_eq!(debian["units"][0]["unit"], "trixie");
        assert_eq!(debian["suites"][0]["suite"], "trixie");
        for field in ["result", "reason", "message"] {
            assert_eq!(debian["suites"][0][field], debian["units"][0][field]);
        }
        assert_eq!(other["units"], debian["units"]);
        assert_eq!(other.get("suites"), None);
    }
}
