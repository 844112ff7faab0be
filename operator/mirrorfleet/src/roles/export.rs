//! `mirrorfleet export`.

use std::path::PathBuf;

use fleet_store::{Afterwards, ExportMode, ExportOptions, Store};
use fleet_types::RepoPath;
use fleet_types::documents::{OwnFile, OwnFiles};
use indicatif::HumanBytes;

use crate::failure::Failure;
use crate::progress::Display;
use crate::report::print;
use crate::runtime::{DataArguments, LogArguments, Verbosity};

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

/// Written after everything else, in this order, so that a reader of the tree never sees an index of files that are
/// not there yet.
const ROOTS_LAST: [&str; 3] = ["Release.gpg", "Release", "InRelease"];

pub fn run(arguments: Arguments, log: &LogArguments) -> Result<(), Failure> {
    log.init(Verbosity::Quiet, &Display::Silent)?;
    let store = super::store(&arguments.data.data, &arguments.mirror)?;
    let options = ExportOptions {
        mode: if arguments.copy {
            ExportMode::Copy
        } else {
            ExportMode::Auto
        },
        roots_last: ROOTS_LAST.map(str::to_owned).into(),
        afterwards: own_files(&store)?,
    };
    let report = store.export(&arguments.dest, &options)?;
    let how = match report.mode_used {
        ExportMode::Link => "hard links",
        ExportMode::Reflink => "reflinks",
        ExportMode::Copy | ExportMode::Auto => "copies",
    };
    print(&format!(
        "{}: exported snapshot {} to {}: {} files written ({}, {how}), {} unchanged, {} removed\n",
        arguments.mirror,
        crate::report::short(&report.snapshot.to_string()),
        arguments.dest.display(),
        report.written,
        HumanBytes(report.bytes),
        report.unchanged,
        report.removed
    ))
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
