//! `mirrorfleet export`.

use std::path::PathBuf;

use fleet_formats::seam::Rejected;
use fleet_store::{Afterwards, ExportMode, ExportOptions, StandIns, Store};
use fleet_types::documents::{OwnFile, OwnFiles};
use fleet_types::{RepoPath, counted};
use indicatif::HumanBytes;

use crate::arguments::DataArguments;
use crate::failure::Failure;
use crate::progress::Display;
use crate::report::print;
use crate::resolve::format_of_snapshot;
use crate::runtime::{LogArguments, Verbosity};

/// Writes what a Mirror serves now as an ordinary tree of files
///
/// Files share their content with the store (reflink or hard link) where the file system can; hard links are not used for
/// indices, so that those have their own times. Called again, it writes
/// only what changed. Never edit a hard-linked file: it is the store's own; `mirrorfleet verify` finds such an edit.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    data: DataArguments,
    /// Name of the Mirror
    mirror: String,
    /// The folder to write; new, empty, or from an earlier export
    dest: PathBuf,
    /// Copy every file, so that nothing is shared with the store
    #[arg(long)]
    copy: bool,
}

pub fn run(arguments: Arguments, log: &LogArguments) -> Result<(), Failure> {
    log.init(Verbosity::Quiet, &Display::Silent)?;
    let store = super::store(&arguments.data.data, &arguments.mirror)?;
    let options = ExportOptions {
        mode: if arguments.copy {
            ExportMode::Copy
        } else {
            ExportMode::Auto
        },
        afterwards: own_files(&store)?,
        ..words(&store, &arguments.mirror)?
    };
    let report = store.export(&arguments.dest, &options)?;
    let how = match report.mode_used {
        ExportMode::Link => "hard links",
        ExportMode::Reflink => "reflinks",
        ExportMode::Copy | ExportMode::Auto => "copies",
    };
    print(&format!(
        "{}: exported snapshot {} to {}: {} written ({}, {how}), {} unchanged, {} removed\n",
        arguments.mirror,
        crate::report::short(&report.snapshot.to_string()),
        arguments.dest.display(),
        counted(report.written, "file"),
        HumanBytes(report.bytes),
        report.unchanged,
        report.removed
    ))
}

/// The order of the roots, the mark of a change, and where links stand for files, as the format of what is served has them.
fn words(store: &Store, mirror: &str) -> Result<ExportOptions, Failure> {
    let Some(snapshot) = store.current_snapshot()? else {
        return Ok(ExportOptions::default());
    };
    let meta = snapshot.meta();
    let unknown = |rejected: Rejected| Failure::new(rejected.reason, rejected.message);
    let format = format_of_snapshot(&meta.content).map_err(unknown)?;
    let mut roots_last = Vec::new();
    for state in &meta.revision {
        let plan = format.roots(&state.unit).map_err(unknown)?;
        let plan = plan.with_signatures();
        roots_last.extend(plan.written_last().into_iter().cloned());
    }
    let mark = format.state_files().update_mark(mirror);
    let twins = format.twin_folders(&meta.revision).into_iter();
    Ok(ExportOptions {
        roots_last,
        stand_ins: twins
            .map(|(links, files)| StandIns { links, files })
            .collect(),
        in_progress: mark.map(|mark| mark.path),
        ..ExportOptions::default()
    })
}

/// What the mirror says of itself.
fn own_files(store: &Store) -> Result<Vec<Afterwards>, Failure> {
    let own: Option<OwnFiles> = store.state(OwnFiles::DOCUMENT)?;
    let Some(own) = own else {
        return Ok(Vec::new());
    };
    let file = |file: OwnFile| {
        Some(Afterwards {
            path: RepoPath::new(&file.path).ok()?,
            content: file.content.into_bytes(),
            mtime: own.modified.0,
        })
    };
    Ok(own.files.into_iter().filter_map(file).collect())
}
