//! `mirrorfleet init`: manifests from this machine's own apt sources, keyrings included.

mod address;
mod group;
mod keyring;
mod machine;
mod manifest;
mod source;

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use url::Url;

use crate::failure::Failure;
use crate::manifests::check;
use crate::progress::Display;
use crate::runtime::{LogArguments, Verbosity};
use group::{Archive, Archives, Group, Names};
use manifest::{
    Access, Address, Commented, Content, Document, Include, KeyReference, MirrorDocument, Serving,
    Slice, Trust, UpstreamDocument,
};

const KEYRING_KEY: &str = "keyring.gpg";
/// The one region of a first manifest; a cluster deploys one copy, `mirrorfleet local` is one region in any case.
const REGION: &str = "main";

/// Writes manifests for what this machine's apt uses
///
/// Reads sources.list, sources.list.d/*.list and *.sources with their keyrings, and writes an Upstream, a Mirror and a
/// Secret with the public keys for each archive. The result works for `mirrorfleet local -f` and `kubectl apply -f`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A *.list or *.sources file, or a folder like /etc/apt [default: /etc/apt]
    #[arg(long, value_name = "FILE|DIR")]
    from: Vec<PathBuf>,
    /// Only this suite, as it is written in the sources; may be repeated [default: all]
    #[arg(long = "suite", value_name = "SUITE")]
    suites: Vec<String>,
    /// Where to write the manifests [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn run(arguments: Arguments, log: &LogArguments) -> Result<(), Failure> {
    log.init(Verbosity::Quiet, &Display::Silent)?;
    let mut notes = Vec::new();
    let result = manifests(&arguments, &mut notes);
    for note in &notes {
        eprintln!("mirrorfleet init: {note}");
    }
    let text = result?;
    match &arguments.out {
        None => crate::report::print(&text),
        Some(path) => write_private(path, &text),
    }
}

/// The file may hold a login, so it is nobody else's.
fn write_private(path: &PathBuf, text: &str) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    let unwritable = |error| Failure::output(&format!("--out {}", path.display()), error);
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(unwritable)
}

fn manifests(arguments: &Arguments, notes: &mut Vec<String>) -> Result<String, Failure> {
    let machine = machine::Machine::read(&arguments.from, notes)?;
    let mut archives = Archives::default();
    for source in &machine.sources {
        match keyring::read(&source.signed_by, &machine.defaults, notes) {
            Ok(keyring) => archives.add(source, &keyring, &machine.architecture, notes),
            Err(problem) => notes.push(format!("{}: left out: {problem}", source.place)),
        }
    }
    select(&mut archives, &arguments.suites)?;
    if archives.0.is_empty() {
        return Err(Failure::invalid(
            "there is no apt source that can be mirrored; name a sources.list or *.sources file with --from",
        ));
    }
    write(&archives.0, &machine)
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

fn write(archives: &[Archive], machine: &machine::Machine) -> Result<String, Failure> {
    let mut names = Names::default();
    let mut mirror_names = Names::default();
    let mut paths = Vec::new();
    let mut documents = Vec::new();
    for archive in archives {
        let name = names.for_url(&archive.url);
        documents.extend(upstream_documents(&name, archive, machine));
        for group in archive.groups() {
            let mirror_name = mirror_names.unique(&name);
            let path = serving_path(&archive.url, &mirror_name, &mut paths);
            documents.push((
                String::new(),
                mirror_document(&mirror_name, &name, group, path),
            ));
        }
    }
    let commented: Vec<_> = documents
        .iter()
        .map(|(comment, document)| Commented {
            comment: comment.clone(),
            document,
        })
        .collect();
    manifest::to_yaml(&commented).map_err(|error| Failure::output("the manifests", error))
}

fn upstream_documents(
    name: &str,
    archive: &Archive,
    machine: &machine::Machine,
) -> Vec<(String, Document)> {
    let keyring_name = format!("{name}-keyring");
    let mut access = Access {
        credentials_ref: None,
        proxy_url: machine.proxy_for(archive.url.scheme()).map(str::to_owned),
    };
    let mut places = archive.places.clone();
    places.dedup();
    let mut documents = vec![(
        format!(
            "The public keys that apt believes {} by; read from {}.",
            archive.url,
            places.join(", ")
        ),
        Document::binary_secret(&keyring_name, KEYRING_KEY, &archive.keyring),
    )];
    if let Some((username, password)) = &archive.login {
        let login = format!("{name}-login");
        documents.push((
            String::new(),
            Document::login_secret(&login, username, password),
        ));
        access.credentials_ref = Some(login.as_str().into());
    }
    let keyring_ref = KeyReference {
        kind: "Secret".to_owned(),
        name: keyring_name,
        key: KEYRING_KEY.to_owned(),
    };
    let spec = UpstreamDocument {
        upstream_type: "Debian".to_owned(),
        authority: Address {
            url: archive.url.to_string(),
        },
        trust: Trust { keyring_ref },
        access: (access != Access::default()).then_some(access),
    };
    let comment = match archive.url.scheme() {
        "file" => "Only `mirrorfleet local` reads file URLs; a cluster refuses them.".to_owned(),
        _ => String::new(),
    };
    documents.push((comment, Document::upstream(name, spec)));
    documents
}

fn mirror_document(name: &str, upstream: &str, group: Group, path: Option<String>) -> Document {
    let flat = group.suites.iter().all(|suite| suite.ends_with('/'));
    let slice = Slice {
        suites: group.suites,
        components: if flat { Vec::new() } else { group.components },
        architectures: group.architectures,
        include: group.sources.then_some(Include { sources: true }),
    };
    let spec = MirrorDocument {
        upstream_ref: upstream.into(),
        content: Content { debian: slice },
        serving: path.map(|path| Serving { path }),
        regions: vec![REGION.into()],
    };
    Document::mirror(name, spec)
}

/// The archive's own path where it is free, so that clients change nothing but the host; none where that is the
/// Mirror's name anyway, or cannot be had.
fn serving_path(url: &Url, name: &str, taken: &mut Vec<String>) -> Option<String> {
    let path = url.path().trim_matches('/');
    let clashes = |path: &str| {
        taken
            .iter()
            .any(|other| nested(path, other) || nested(other, path))
    };
    if url.scheme() != "file" && !path.is_empty() && check::is_serving_path(path) && !clashes(path)
    {
        taken.push(path.to_owned());
        return (path != name).then(|| path.to_owned());
    }
    taken.push(name.to_owned());
    None
}

fn nested(inner: &str, outer: &str) -> bool {
    inner == outer
        || inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.starts_with('/'))
}
