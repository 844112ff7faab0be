//! Fetch: the payload of a plan, each content once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use fleet_fetch::{Arrival, Delivery, FailureKind, FetchError, Received, Sink, Want};
use fleet_formats::seam::SignaturePolicy;
use fleet_store::{RunSorter, Sorted};
use fleet_types::{Digest, Expected, Reason, RepoPath, Sha256, lock};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::mpsc;

use super::fetching::{Fetch, Fetched, Signatures};
use super::judges::Judges;
use super::lacking::{self, Lacking};
use super::lost::{Lost, LostFiles};
use super::plan::Refusals;
use super::room::Reservation;
use super::run::Ground;
use super::upstream::Upstream;
use super::want::Signed;
use crate::Problem;
use crate::writers::Writers;

/// Contents that wait between the sorted list and the connections.
const AHEAD: usize = 256;
/// The names of one content that are tried upstream.
const MAX_SOURCES: usize = 4;

/// What a transfer came to.
pub(super) struct Transferred {
    pub fetched: Sorted<Fetched>,
    pub files: u64,
    /// Units of which something could not be had.
    pub refusals: Refusals,
    /// What could not be had, whoever wants it.
    pub lost: LostFiles,
}

/// By what a body is known to be the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// As in [`Fetch`].
    Promised { expected: Expected, exact: bool },
    /// Judged when it is there.
    Signature { max_bytes: u64 },
}

/// One content with all its names.
#[derive(Debug)]
struct Content {
    body: Body,
    paths: Vec<RepoPath>,
    /// All units that cannot do without it, under one name or another.
    units: Vec<u16>,
}

/// Shared by the two ends of the stream: what is asked for, and who is out.
#[derive(Default)]
struct Ledger {
    under_way: HashMap<u64, Content>,
    refusals: Refusals,
    /// By unit, what the upstream does not have as it is listed. The rest is fetched all the same, so that all of it can
    /// be named at once.
    lacking: BTreeMap<u16, Lacking>,
    lost: LostFiles,
    next: u64,
}

/// `room` is what was set aside for it; `judges` are told what came.
pub(super) async fn transfer(
    ground: &Ground,
    upstream: &Upstream,
    list: Arc<Sorted<Fetch>>,
    signatures: &Arc<Signatures>,
    room: &Reservation,
    judges: &Judges,
) -> Result<Transferred, Problem> {
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let wants = wants(upstream, contents(list, signatures.clone()), ledger.clone());
    let mut sorter = RunSorter::new(&ground.stock.shelves.spill_dir());
    let policy = ground.rules.options.trust.signatures;
    let mut files = 0;
    let mut deliver = |delivery: Delivery| {
        let Some(content) = lock(&ledger).under_way.remove(&delivery.tag) else {
            return Ok(());
        };
        match delivery.result {
            Ok(Arrival::Complete(received)) => {
                files += 1;
                room.landed(received.size);
                ground.watch.progress.file_done();
                ground.stock.shelves.damage.arrived(&received.digest);
                judges.came(&content.paths, received.digest);
                note_fetched(&mut sorter, content, &received)?;
            }
            Ok(Arrival::NotModified) => {}
            Err(error) => {
                if let Some(problem) = upstream.ends_copy(&error) {
                    return Err(problem);
                }
                let concerns_the_file = lacking::concerns_the_file(&error.kind);
                let unsigned = content.is_missing_signature(&error).then_some(policy);
                let lost = content.paths.iter().map(|path| {
                    let lost = match (&content.body, unsigned) {
                        (Body::Promised { expected, .. }, _) => {
                            Lost::not_there(path, expected, &error)
                        }
                        (_, Some(SignaturePolicy::Optional)) => {
                            Lost::unsigned(error.message.clone())
                        }
                        (Body::Signature { .. }, _) => Lost::unfit(error.message.clone()),
                    };
                    (path.clone(), lost)
                });
                lock(&ledger).lost.extend(lost);
                if unsigned == Some(SignaturePolicy::Optional) {
                    return Ok(());
                }
                let mut problem = Problem::from(error);
                if unsigned == Some(SignaturePolicy::Required) {
                    problem.reason = Reason::SignatureMissing;
                }
                if problem.ends_the_run() {
                    return Err(problem);
                }
                lock(&ledger).failed(&content, concerns_the_file, &problem);
            }
        }
        Ok(())
    };
    upstream.fetcher.fetch_all(wants, &mut deliver).await?;
    let damage = &ground.stock.shelves.damage;
    upstream.make_durable(damage).await?;
    let mut ledger = lock(&ledger);
    Ok(Transferred {
        fetched: sorter.finish()?,
        files,
        refusals: ledger.take_refusals(),
        lost: std::mem::take(&mut ledger.lost),
    })
}

/// What only refused units want is not asked for any more.
fn wants(
    upstream: &Upstream,
    contents: mpsc::Receiver<Result<Content, Problem>>,
    ledger: Arc<Mutex<Ledger>>,
) -> BoxStream<'static, Result<Want, Problem>> {
    let writers = upstream.writers.clone();
    let received = futures::stream::unfold(contents, |mut contents| async move {
        contents.recv().await.map(|content| (content, contents))
    });
    let wants = received.filter_map(move |content| {
        let want = content
            .map(|content| register(content, &ledger, &writers))
            .transpose();
        futures::future::ready(want)
    });
    wants.boxed()
}

fn register(content: Content, ledger: &Mutex<Ledger>, writers: &Arc<Writers>) -> Option<Want> {
    let mut ledger = lock(ledger);
    let is_out = |unit: &u16| ledger.is_out(*unit);
    if !content.units.is_empty() && content.units.iter().all(is_out) {
        return None;
    }
    let tag = ledger.next;
    ledger.next += 1;
    let sources = content.paths.iter().take(MAX_SOURCES).cloned().collect();
    let writers = writers.clone();
    let sink = match content.body {
        Body::Promised {
            expected,
            exact: true,
        } => Sink::stored(expected, writers),
        Body::Promised { expected, .. } => Sink::stored_up_to(expected, writers),
        Body::Signature { max_bytes } => Sink::stored_small(max_bytes, writers),
    };
    ledger.under_way.insert(tag, content);
    Some(Want {
        tag,
        sources,
        only: None,
        validators: None,
        likely_missing: false,
        sink,
    })
}

fn note_fetched(
    sorter: &mut RunSorter<Fetched>,
    content: Content,
    received: &Received,
) -> Result<(), Problem> {
    for path in content.paths {
        sorter.push(&Fetched {
            path,
            digest: received.digest,
            size: received.size,
            modified: received.modified,
        })?;
    }
    Ok(())
}

impl Ledger {
    fn failed(&mut self, content: &Content, concerns_the_file: bool, problem: &Problem) {
        for unit in &content.units {
            if concerns_the_file {
                let lacking = self.lacking.entry(*unit);
                let lacking = lacking.or_insert_with(|| Lacking::new(problem.clone()));
                lacking.add(&content.paths);
            } else {
                let refusal = self.refusals.entry(*unit);
                refusal.or_insert_with(|| problem.clone());
            }
        }
    }

    fn is_out(&self, unit: u16) -> bool {
        self.refusals.contains_key(&unit) || self.lacking.get(&unit).is_some_and(Lacking::is_much)
    }

    fn take_refusals(&mut self) -> Refusals {
        let lacking = std::mem::take(&mut self.lacking).into_iter();
        let mut refusals: Refusals = lacking
            .map(|(unit, lacking)| (unit, lacking.problem()))
            .collect();
        refusals.append(&mut self.refusals);
        refusals
    }
}

/// Reads the sorted list on a thread of its own, and puts the names of one content together.
///
/// A signature comes just before what it is over: then both are there at once to be judged, and where they share a
/// connection the one that is promised vouches for the answers before it.
fn contents(
    list: Arc<Sorted<Fetch>>,
    signatures: Arc<Signatures>,
) -> mpsc::Receiver<Result<Content, Problem>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        // An error means that nobody fetches any more.
        let _ = send_contents(&list, &signatures, |content| sender.blocking_send(content));
    });
    receiver
}

fn send_contents<E>(
    list: &Sorted<Fetch>,
    signatures: &Signatures,
    send: impl Fn(Result<Content, Problem>) -> Result<(), E>,
) -> Result<(), E> {
    let mut over = SignatureContents::new(signatures).peekable();
    let mut current: Option<Content> = None;
    for fetch in list.iter() {
        let fetch = match fetch {
            Ok(fetch) => fetch,
            Err(e) => return send(Err(e.into())),
        };
        let body = Body::Promised {
            expected: fetch.expected,
            exact: fetch.exact,
        };
        if let Some(content) = current.as_mut().filter(|content| content.body == body) {
            content.add(fetch.path, &fetch.units);
            continue;
        }
        current.take().map_or(Ok(()), |content| send(Ok(content)))?;
        let digest = fetch.expected.digest;
        while let Some((_, signature)) = over.next_if(|(signed, _)| Digest::Sha256(*signed) <= digest) {
            send(Ok(signature))?;
        }
        current = Some(Content {
            body,
            paths: vec![fetch.path],
            units: fetch.units,
        });
    }
    let last = current.into_iter().chain(over.map(|(_, signature)| signature));
    last.into_iter().try_for_each(|content| send(Ok(content)))
}

/// The signatures that are to be fetched, by the digest of what they are over. That over one file is one content, whatever
/// its names.
struct SignatureContents<'a> {
    paths: std::iter::Peekable<std::vec::IntoIter<(&'a Signed, &'a RepoPath)>>,
    signatures: &'a Signatures,
}

impl<'a> SignatureContents<'a> {
    fn new(signatures: &'a Signatures) -> SignatureContents<'a> {
        let fetched = signatures.iter().filter(|(_, signature)| signature.here.is_none());
        let mut paths: Vec<_> = fetched.map(|(path, signature)| (&signature.over, path)).collect();
        paths.sort_unstable_by_key(|(over, path)| (over.sha256, &over.path, *path));
        SignatureContents {
            paths: paths.into_iter().peekable(),
            signatures,
        }
    }
}

impl Iterator for SignatureContents<'_> {
    type Item = (Sha256, Content);

    fn next(&mut self) -> Option<Self::Item> {
        let (over, path) = self.paths.next()?;
        let signature = self.signatures.get(path)?;
        let mut content = Content {
            body: Body::Signature {
                max_bytes: signature.max_bytes,
            },
            paths: vec![path.clone()],
            units: signature.units.clone(),
        };
        while let Some((_, path)) = self.paths.next_if(|(next, _)| *next == over) {
            if let Some(signature) = self.signatures.get(path) {
                content.add(path.clone(), &signature.units);
            }
        }
        Some((over.sha256, content))
    }
}

impl Content {
    fn add(&mut self, path: RepoPath, units: &[u16]) {
        // The same name once: asking there again brings the same.
        if self.paths.last() != Some(&path) {
            self.paths.push(path);
        }
        self.units.extend_from_slice(units);
        self.units.sort_unstable();
        self.units.dedup();
    }

    /// Whether it is a signature that the upstream does not have.
    fn is_missing_signature(&self, error: &FetchError) -> bool {
        matches!(self.body, Body::Signature { .. }) && error.kind == FailureKind::NotFound
    }
}
