//! Reports on standard output: one JSON object a Mirror, or a few lines for people.

use std::fmt::Write as _;
use std::io::{self, Write};

use fleet_sync::{PlanReport, Report, RunResult, Share, SuiteReport};
use fleet_types::{Outcome, Reason};
use indicatif::HumanBytes;

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

/// Writes one value as a line of JSON.
pub fn print_json<T: serde::Serialize>(value: &T) -> Result<(), Failure> {
    let text =
        serde_json::to_string(value).map_err(|error| Failure::output("the JSON report", error))?;
    print(&format!("{text}\n"))
}

/// Writes what a run came to.
pub fn print_run(report: &Report, format: OutputFormat) -> Result<(), Failure> {
    match format {
        OutputFormat::Json => print_json(report),
        OutputFormat::Text => print(&run_text(report)),
    }
}

/// Writes what a run would do.
pub fn print_plan(report: &PlanReport, format: OutputFormat) -> Result<(), Failure> {
    match format {
        OutputFormat::Json => print_json(report),
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
        suites: Vec::new(),
        snapshot: served,
        revision: Vec::new(),
        accepted: Vec::new(),
        files_fetched: 0,
        bytes_fetched: 0,
        requests: 0,
        seconds: 0.0,
        retry_after_seconds: None,
        started_at: now,
        finished_at: now,
    }
}

fn run_text(report: &Report) -> String {
    let outcome = report.reason.outcome();
    let word = verdict(report.result, outcome);
    let mut text = headline(&report.mirror, word, report.reason);
    say(&mut text, &report.message, &report.suites);
    if let Some(id) = &report.snapshot {
        line(&mut text, format_args!("  snapshot  {}", short(id)));
    }
    line(
        &mut text,
        format_args!(
            "  fetched   {} files, {}, {} requests, {:.1} s",
            report.files_fetched,
            HumanBytes(report.bytes_fetched),
            report.requests,
            report.seconds
        ),
    );
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
    say(&mut text, &report.message, &report.suites);
    for (word, share) in [
        ("fetch", &report.fetch),
        ("keep", &report.keep),
        ("remove", &report.remove),
        ("exclude", &report.exclude),
    ] {
        line(
            &mut text,
            format_args!(
                "  {word:<8}  {} files, {}",
                share.files,
                HumanBytes(share.bytes)
            ),
        );
    }
    if let Some(room) = &report.room {
        line(
            &mut text,
            format_args!(
                "  disk      {} to be added in {} files, and up to {} for the index; {} free, of which {} stay in reserve",
                HumanBytes(room.bytes),
                room.files,
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
            "  to find out: {} requests, {}, {:.1} s",
            report.requests,
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
        (RunResult::Unchanged, _) => "unchanged",
        (RunResult::Failed, Outcome::Refused) => "refused",
        (RunResult::Failed, _) => "failed",
    }
}

/// The reason is said where it says more than the word does.
fn headline(mirror: &str, word: &str, reason: Reason) -> String {
    match reason {
        Reason::Published | Reason::Unchanged => format!("{mirror}: {word}\n"),
        reason => format!("{mirror}: {word} ({reason})\n"),
    }
}

/// What the run says, and its suites: each thing once, where it belongs. What the run says of its worst suite is what that
/// suite says, and suites that share a fate share its words.
fn say(text: &mut String, message: &str, suites: &[SuiteReport]) {
    let failed = |suite: &&SuiteReport| suite.result == RunResult::Failed;
    let of_suite = |suite: &SuiteReport| message.strip_prefix(suite.message.as_str());
    let rest = suites.iter().filter(failed).find_map(of_suite);
    let rest = rest.map_or(message, |rest| rest.trim_start_matches("; "));
    if !rest.is_empty() {
        line(text, format_args!("  {rest}"));
    }
    let mut last: Option<&SuiteReport> = None;
    for suite in suites {
        let name = &suite.suite;
        let same =
            |last: &SuiteReport| (last.reason, &last.message) == (suite.reason, &suite.message);
        let state = match suite.result {
            RunResult::Published => well("new state", &suite.message),
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

    fn failed(name: &str, message: &str) -> SuiteReport {
        SuiteReport {
            suite: name.into(),
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
        report.suites = vec![failed("trixie", "suite trixie: the signing key expired")];
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
        report.suites = ["a", "b", "c"]
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
}
