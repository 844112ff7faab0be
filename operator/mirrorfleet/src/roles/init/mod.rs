//! `mirrorfleet init`: manifests from this machine's own apt sources, keyrings and logins included, or from pacman's
//! configuration, or npm's.

mod address;
mod archives;
mod auth;
mod configuration;
mod deb822;
mod documents;
mod files;
mod key_file;
mod keyring;
mod machine;
mod manifest;
mod names;
mod npmrc;
mod one_line;
mod options;
mod pacman;
mod pacman_keys;
mod repositories;
mod sig_level;
mod signed_by;
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::progress::Display;
use crate::runtime::{LogArguments, Verbosity};
use archives::{Archives, Context, Trust};
use documents::Written;
use machine::Machine;
use source::Source;

/// What is read where nothing is named.
const APT: &str = "/etc/apt";
const PACMAN: &str = "/etc/pacman.conf";

/// Writes manifests for what this machine's apt, pacman or npm uses
///
/// Reads the sources, keyrings and logins that apt reads, and writes an Upstream, a Mirror and a Secret with the public
/// keys for each archive, named after its host. A pacman.conf or a mirrorlist becomes an Upstream and a Mirror for all
/// repositories of the same servers. An .npmrc becomes both for each of its registries. What no manifest can say is told. The result works for `mirrorfleet
/// local -f` and `kubectl apply -f`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A *.list or *.sources file, a folder like /etc/apt, a pacman.conf, a mirrorlist or an .npmrc [default: /etc/apt, or
    /// /etc/pacman.conf where there is no apt]
    #[arg(long, value_name = "FILE|DIR")]
    from: Vec<PathBuf>,
    /// Only this suite, as it is written in the sources; may be repeated [default: all]
    #[arg(long = "suite", value_name = "SUITE")]
    suites: Vec<String>,
    /// Where to write the manifests, readable by nobody else [default: standard output, without logins]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn run(arguments: Arguments, log: &LogArguments) -> Result<(), Failure> {
    log.init(Verbosity::Quiet, &Display::Silent)?;
    let mut notes = Vec::new();
    let result = manifests(&arguments, &mut notes);
    let text = result.and_then(|written| match &arguments.out {
        None => {
            notes.extend(written.withheld());
            written.to_yaml(false)
        }
        Some(_) => written.to_yaml(true),
    });
    let mut told = BTreeSet::new();
    for note in notes.iter().filter(|note| told.insert(note.as_str())) {
        eprintln!("mirrorfleet init: {note}");
    }
    match (&arguments.out, text?) {
        (None, text) => crate::report::print(&text),
        (Some(path), text) => write_private(path, &text),
    }
}

/// The file may hold a login, so it is nobody else's, also where it was there before.
fn write_private(path: &PathBuf, text: &str) -> Result<(), Failure> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let write = || {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(path)?;
        if file.metadata()?.is_file() {
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
        }
        file.write_all(text.as_bytes())
    };
    write().map_err(|error| Failure::output(&format!("--out {}", path.display()), error))
}

fn manifests(arguments: &Arguments, notes: &mut Vec<String>) -> Result<Written, Failure> {
    let named = match arguments.from.as_slice() {
        [] if !Path::new(APT).exists() && Path::new(PACMAN).exists() => vec![PACMAN.into()],
        from => from.to_vec(),
    };
    let (of_npm, named): (Vec<PathBuf>, Vec<PathBuf>) =
        named.into_iter().partition(|path| npmrc::is_of_npm(path));
    let (of_pacman, of_apt): (Vec<PathBuf>, Vec<PathBuf>) = named
        .into_iter()
        .partition(|path| pacman::is_of_pacman(path));
    let mut written = Written::default();
    if (of_pacman.is_empty() && of_npm.is_empty()) || !of_apt.is_empty() {
        of_archives(&of_apt, arguments, &mut written, notes)?;
    }
    for path in &of_pacman {
        written.repositories(&pacman::read(path, notes)?, notes);
    }
    for path in &of_npm {
        written.registries(path, &npmrc::read(path, notes)?);
    }
    match written.is_empty() {
        true => Err(Failure::invalid(
            "there is no repository of pacman that can be mirrored; name a pacman.conf or a mirrorlist with --from",
        )),
        false => Ok(written),
    }
}

/// Adds what apt reads in these places.
fn of_archives(
    from: &[PathBuf],
    arguments: &Arguments,
    written: &mut Written,
    notes: &mut Vec<String>,
) -> Result<(), Failure> {
    let machine = Machine::read(from, notes)?;
    let mut archives = Archives::default();
    let context = Context {
        architectures: &machine.architectures,
        logins: &machine.logins,
    };
    for source in &machine.sources {
        match trust(source, &machine, notes) {
            Ok(trust) => archives.add(source, &trust, &context, notes),
            Err(problem) => notes.push(format!("{}: left out: {problem}", source.place)),
        }
    }
    select(&mut archives, &arguments.suites)?;
    if archives.0.is_empty() {
        return Err(Failure::invalid(
            "there is no apt source that can be mirrored; name a sources.list or *.sources file with --from",
        ));
    }
    notes.extend(archives.split_addresses().iter().map(|url| {
        format!(
            "{url} becomes several Mirrors, each with an address of its own: its entries differ in whom they believe, or in their logins"
        )
    }));
    written.archives(&archives.0, &machine, notes);
    Ok(())
}

fn trust(source: &Source, machine: &Machine, notes: &mut Vec<String>) -> Result<Trust, String> {
    if source.trusted {
        notes.push(format!(
            "{}: WARNING: `trusted=yes` becomes an Upstream with `signatures: None`: nothing says whose files these are, and whoever is on the line can change them; drop the option if the archive is signed",
            source.place
        ));
        return Ok(Trust::Anybody);
    }
    keyring::read(&source.signed_by, &machine.folder, notes).map(Trust::Keys)
}

fn select(archives: &mut Archives, suites: &[String]) -> Result<(), Failure> {
    if suites.is_empty() {
        return Ok(());
    }
    let known: Vec<_> = archives.suites().into_iter().map(str::to_owned).collect();
    match archives.select(suites).as_slice() {
        [] => Ok(()),
        missing => Err(Failure::invalid(format!(
            "--suite {}: no source has it; the sources have {}",
            missing.join(", "),
            if known.is_empty() {
                "none that can be mirrored".to_owned()
            } else {
                known.join(", ")
            }
        ))),
    }
}
