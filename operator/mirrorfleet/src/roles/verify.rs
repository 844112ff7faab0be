//! `mirrorfleet verify`.

use std::collections::{BTreeMap, BTreeSet};

use fleet_store::{Finding, ScrubProgress, ScrubReport, Store, StoreError, Writer};
use fleet_sync::Damaged;
use fleet_types::{Outcome, Reason, Sha256, counted};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::arguments::DataArguments;
use crate::failure::Failure;
use crate::progress::Display;
use crate::report::print;
use crate::runtime::{LogArguments, Verbosity};

/// Checks that every blob hashes to its name and every snapshot is complete
///
/// Reads everything. Damage is listed, and the exit code is 4; what cannot be read is set aside, what is damaged is noted
/// in the store, and the next sync makes or fetches it again.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    data: DataArguments,
    /// Only this Mirror
    #[arg(long, value_name = "NAME")]
    mirror: Option<String>,
}

/// A scrub counts the first byte of the names of blobs.
const SHARDS: u64 = 256;

pub fn run(arguments: Arguments, log: &LogArguments) -> Result<Outcome, Failure> {
    log.init(Verbosity::Quiet, &Display::Silent)?;
    let mirrors = match arguments.mirror {
        Some(mirror) => vec![mirror],
        None => super::mirrors(&arguments.data.data)?,
    };
    if mirrors.is_empty() {
        return Err(Failure::invalid(format!(
            "--data {} holds no mirror",
            arguments.data.data.display()
        )));
    }
    let mut worst = Outcome::Good;
    for mirror in mirrors {
        let outcome = match verify(&arguments.data, &mirror) {
            Ok(outcome) => outcome,
            // One store that cannot be read does not keep the others from being checked.
            Err(failure) => {
                eprintln!("mirrorfleet: {mirror}: {failure}");
                failure.reason.outcome()
            }
        };
        worst = worst.worst(outcome);
    }
    Ok(worst)
}

fn verify(data: &DataArguments, mirror: &str) -> Result<Outcome, Failure> {
    let store = super::store(&data.data, mirror)?;
    let bar = ProgressBar::new(SHARDS);
    if let Ok(style) = ProgressStyle::with_template("{prefix:.bold} [{bar:24}] {msg}  ETA {eta}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(mirror.to_owned());
    let known: Option<Damaged> = store.state(Damaged::DOCUMENT).unwrap_or_default();
    let lost = known.unwrap_or_default().lost;
    let report = store.scrub_beside(&lost, &mut |progress: &ScrubProgress| {
        bar.set_position(u64::from(progress.shards_done));
        bar.set_message(format!(
            "{}, {}",
            counted(progress.blobs, "blob"),
            HumanBytes(progress.bytes)
        ));
    });
    bar.finish_and_clear();
    let report = report?;
    let mut text = text(mirror, &report, &served_names(&store, &report));
    if !report.is_clean() {
        text.push_str(&format!("  {}\n", note_damage(&store, &report, lost)?));
    }
    print(&text)?;
    Ok(if report.is_clean() {
        Outcome::Good
    } else {
        Reason::StoreCorrupt.outcome()
    })
}

/// Prepares what the next sync mends, and says what to do. A clean store is not written to, so that one on a read-only
/// volume can be checked.
fn note_damage(
    store: &Store,
    report: &ScrubReport,
    lost: BTreeSet<Sha256>,
) -> Result<String, Failure> {
    let written =
        Writer::open_existing(store.dir()).and_then(|writer| set_right(&writer, report, lost));
    match written {
        Ok(()) => Ok("what cannot be read was set aside, and damaged blobs were noted: the next sync makes or fetches all of it again".to_owned()),
        Err(StoreError::Busy { .. }) => {
            Ok("a sync is running, so nothing was noted: verify again when it is over".to_owned())
        }
        Err(error @ (StoreError::ReadOnly { .. } | StoreError::NotPermitted { .. })) => {
            let why = match error {
                StoreError::ReadOnly { .. } => "it is mounted read-only here",
                _ => "this user may not write to it",
            };
            Ok(elsewhere(report, why))
        }
        Err(other) => Err(other.into()),
    }
}

fn set_right(
    writer: &Writer,
    report: &ScrubReport,
    lost: BTreeSet<Sha256>,
) -> Result<(), StoreError> {
    for finding in &report.findings {
        match finding {
            Finding::SnapshotDamaged { snapshot, .. } => drop(writer.take_snapshot(snapshot)?),
            Finding::StrangeFile { path } => writer.set_aside_stranger(path)?,
            Finding::FileDamaged { .. } => drop(writer.take_retained()?),
            _ => {}
        }
    }
    let blobs = report.damaged.clone();
    if !blobs.is_empty() {
        let lost = lost.difference(&blobs).copied().collect();
        writer.state_write(Damaged::DOCUMENT, &Damaged { blobs, lost })?;
    }
    Ok(())
}

/// Findings that are worth reading one by one.
const MOST_TOLD: usize = 20;

/// Digests that a person is asked to hand on.
const MAX_HANDED_ON: usize = 16;

/// For a store that cannot be written to from here, as in a serving pod.
fn elsewhere(report: &ScrubReport, why: &str) -> String {
    let blobs: Vec<_> = report.damaged.iter().take(MAX_HANDED_ON).collect();
    let told = match serde_json::to_string(&blobs) {
        Ok(list) if !blobs.is_empty() => format!(
            "; a damaged blob is fetched again by the sync whose own check finds it, within a week, or at once by `mirrorfleet sync … --damaged '{list}'`"
        ),
        _ => String::new(),
    };
    format!(
        "nothing was noted in the store, since {why}; the next sync sets aside what cannot be read{told}"
    )
}

/// Under which names clients get what is damaged.
fn served_names(store: &Store, report: &ScrubReport) -> BTreeMap<Sha256, String> {
    let damaged = &report.damaged;
    let mut names = BTreeMap::new();
    if damaged.is_empty() {
        return names;
    }
    // A snapshot that cannot be read is a finding of its own.
    let Ok(Some(snapshot)) = store.current_snapshot() else {
        return names;
    };
    for (path, entry) in snapshot.iter() {
        if damaged.contains(&entry.digest) {
            names
                .entry(entry.digest)
                .or_insert_with(|| path.to_string());
        }
    }
    names
}

fn text(mirror: &str, report: &ScrubReport, names: &BTreeMap<Sha256, String>) -> String {
    let word = if report.is_clean() {
        "clean"
    } else {
        "DAMAGED"
    };
    let mut text = format!(
        "{mirror}: {word}: {}, {}, {} checked\n",
        counted(report.blobs, "blob"),
        HumanBytes(report.bytes),
        counted(report.snapshots, "snapshot")
    );
    let told = report.findings.iter().take(MOST_TOLD);
    for finding in told.clone() {
        text.push_str(&format!("  {}\n", describe(finding, names)));
    }
    let more = report.findings_total.saturating_sub(told.count() as u64);
    if more > 0 {
        text.push_str(&format!("  … and {}\n", counted(more, "more finding")));
    }
    for (snapshot, files) in &report.lacking {
        text.push_str(&format!(
            "  snapshot {snapshot}, which is not served, lacks {} that the upstream no longer has: do not roll back \
             to it; it goes when `snapshots.keep` newer ones are there\n",
            counted(*files, "file")
        ));
    }
    if report.retained_lacking > 0 {
        text.push_str(&format!(
            "  {} of snapshots that are no longer kept cannot be had any more; no snapshot lacks them\n",
            counted(report.retained_lacking, "file")
        ));
    }
    text
}

fn describe(finding: &Finding, names: &BTreeMap<Sha256, String>) -> String {
    match finding {
        Finding::BlobDamaged { digest, problem } => {
            let served = names.get(digest);
            let served = served.map_or_else(String::new, |path| format!(", served as {path:?}"));
            format!("blob {digest}{served}: {problem}")
        }
        Finding::StrangeFile { .. } => finding.to_string(),
        Finding::BlobMissing {
            digest,
            snapshot,
            path,
        } => format!("blob {digest} is missing: snapshot {snapshot} names it {path:?}"),
        Finding::BlobWrongSize {
            digest,
            snapshot,
            path,
            expected,
            found,
        } => {
            format!(
                "blob {digest} has {} instead of {expected}: snapshot {snapshot} names it {path:?}",
                counted(*found, "byte")
            )
        }
        Finding::RetainedLacking { .. } => finding.to_string(),
        Finding::SnapshotDamaged { snapshot, problem } => format!("snapshot {snapshot}: {problem}"),
        Finding::FileDamaged { name, problem } => format!("{name}: {problem}"),
    }
}
