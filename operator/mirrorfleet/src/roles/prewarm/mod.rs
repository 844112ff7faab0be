//! `mirrorfleet prewarm`: has a mirror fetch what will be needed, by asking for it as its clients will.

mod asking;
mod locks;
mod targets;
mod wishes;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::ValueHint;
use fleet_sync::Phase;
use fleet_types::{Reason, counted};
use futures::StreamExt;
use reqwest::StatusCode;
use tokio_util::sync::CancellationToken;
use url::Url;

use self::asking::{Asking, Refused};
use self::locks::Lock;
use self::targets::{Target, Targets};
use self::wishes::{Kind, Wish};
use crate::failure::Failure;
use crate::progress::Display;
use crate::report::print;
use crate::runtime::{LogArguments, Verbosity, block_on};

/// Has a mirror of mode PullThrough fetch what will be needed, by asking for it as clients do
///
/// A list has a package a line, with `=VERSION` (Debian, Arch) or `@VERSION` (npm) behind it where one is meant, and comments
/// behind `#`. The output of `dpkg --get-selections`, of `pacman -Q` and of `pacman -Qq` are lists. Lock files of npm 7 and later,
/// pnpm and Yarn are known by their names: package-lock.json, npm-shrinkwrap.json, pnpm-lock.yaml, yarn.lock.
///
/// What a package depends on is not looked up: name it too, or give a lock file.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where clients find the mirror: of Debian or a registry the folder, of Arch as a Server line of pacman has it, with
    /// `$repo` and `$arch`
    #[arg(value_name = "URL")]
    url: Url,
    /// Lists of packages and lock files; - for a list on standard input
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// A suite of Debian's to find the packages in; may be given again
    #[arg(long, value_name = "SUITE", conflicts_with = "repos")]
    suite: Vec<String>,
    /// A repository of pacman's to find the packages in; may be given again
    #[arg(long = "repo", id = "repos", value_name = "REPO")]
    repos: Vec<String>,
    /// An architecture; may be given again [default: all that the mirror has; of Arch x86_64]
    #[arg(long = "arch", value_name = "ARCH")]
    architectures: Vec<String>,
    /// Requests at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    connections: u16,
}

pub fn run(arguments: Arguments, log: &LogArguments) -> Result<(), Failure> {
    let display = Display::detect();
    log.init(Verbosity::Quiet, &display)?;
    block_on(|stop| prewarm(arguments, display, stop))
}

async fn prewarm(
    arguments: Arguments,
    display: Display,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let kind = match (arguments.suite.as_slice(), arguments.repos.as_slice()) {
        ([], []) => Kind::Npm,
        ([], _) => Kind::Arch,
        _ => Kind::Debian,
    };
    let wishes = read_all(&arguments.files, kind)?;
    let base = folder(&arguments.url)?;
    let asking = Asking::new()?;
    let architectures = arguments.architectures.as_slice();
    let targets = match kind {
        Kind::Npm => targets::npm(&asking, &base, &wishes).await?,
        Kind::Arch => {
            let wanted = (arguments.repos.as_slice(), architectures);
            targets::arch(&asking, &base, &wishes, wanted).await?
        }
        Kind::Debian => {
            let wanted = (arguments.suite.as_slice(), architectures);
            targets::debian(&asking, &base, &wishes, wanted).await?
        }
    };
    let progress = display.begin("prewarm");
    progress.phase(Phase::Fetch);
    progress.planned(targets.all.len() as u64, 0);
    let warm = |target: Target| {
        let (asking, progress) = (asking.clone(), progress.clone());
        async move {
            let came = |bytes| progress.received(bytes);
            let warmed = asking.warm(&target.url, target.accept, came).await;
            progress.file_done();
            (target, warmed)
        }
    };
    let Targets { all, unknown } = targets;
    let asked = all.len() as u64;
    let warmed = futures::stream::iter(all)
        .map(warm)
        .buffer_unordered(usize::from(arguments.connections))
        .filter_map(|(target, warmed)| async move { Some((target, warmed.err()?)) })
        .collect::<Vec<_>>();
    let refused = tokio::select! {
        refused = warmed => refused,
        () = stop.cancelled() => {
            let text = "it was interrupted; what the mirror has fetched stays there";
            return Err(Failure::new(Reason::SyncInterrupted, text));
        }
    };
    report(asked, &unknown, refused)
}

/// What all files want together.
fn read_all(files: &[PathBuf], kind: Kind) -> Result<BTreeSet<Wish>, Failure> {
    let mut wishes = BTreeSet::new();
    for file in files {
        let wrong = |why: String| Failure::invalid(format!("{}: {why}", file.display()));
        let text = text_of(file).map_err(|error| wrong(error.to_string()))?;
        let name = file.file_name().and_then(|name| name.to_str());
        let read = match name.and_then(Lock::by_name) {
            Some(_) if kind != Kind::Npm => {
                Err("a lock file names packages of npm: leave out --suite and --repo".to_owned())
            }
            Some(lock) => lock.read(&text),
            None => wishes::read(&text, kind),
        };
        wishes.extend(read.map_err(wrong)?);
    }
    match wishes.is_empty() {
        true => Err(Failure::invalid("no package is named")),
        false => Ok(wishes),
    }
}

fn text_of(file: &Path) -> std::io::Result<String> {
    if file != Path::new("-") {
        return std::fs::read_to_string(file);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

fn folder(url: &Url) -> Result<Url, Failure> {
    let is_web = matches!(url.scheme(), "http" | "https");
    let mut folder = Some(url.clone())
        .filter(|_| is_web)
        .ok_or_else(|| Failure::invalid(format!("{url}: write an address of http or https")))?;
    folder.set_query(None);
    folder.set_fragment(None);
    if !folder.path().ends_with('/') {
        folder.set_path(&format!("{}/", folder.path()));
    }
    Ok(folder)
}

/// Tells what cannot be had and why; an error where anything is.
fn report(
    asked: u64,
    unknown: &BTreeSet<Wish>,
    mut refused: Vec<(Target, Refused)>,
) -> Result<(), Failure> {
    refused.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut lines = String::new();
    for wish in unknown {
        lines += &format!("{wish}: the mirror lists no such package\n");
    }
    for (target, why) in &refused {
        lines += &format!("{}: {}\n", target.url, why.why);
    }
    let had = asked.saturating_sub(refused.len() as u64);
    let text = format!(
        "{lines}{} can be had from the mirror\n",
        counted(had, "file")
    );
    print(&text)?;
    let missing = counted((unknown.len() + refused.len()) as u64, "file or package");
    let failed = |reason| Err(Failure::new(reason, format!("{missing} cannot be had")));
    let is_refused = |status| status == StatusCode::FORBIDDEN || status == StatusCode::BAD_GATEWAY;
    if refused
        .iter()
        .any(|(_, why)| why.status.is_some_and(is_refused))
    {
        // By a guard, or since the upstream sends something else than it promises.
        return failed(Reason::DigestMismatch);
    }
    match (refused.is_empty(), unknown.is_empty()) {
        (true, true) => Ok(()),
        (false, _) => failed(Reason::UpstreamUnreachable),
        (true, false) => failed(Reason::InvalidSpec),
    }
}
