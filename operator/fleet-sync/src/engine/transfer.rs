//! Fetch: the payload of a plan, each content once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use fleet_fetch::{Arrival, Delivery, FailureKind, FetchError, Received, Sink, Want};
use fleet_formats::seam::SignaturePolicy;
use fleet_store::{RunSorter, Sorted, StoreError};
use fleet_types::{Digest, Expected, Reason, RepoPath, lock};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::mpsc;

use super::fetching::{Fetch, Fetched, SignatureFetch};
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
#[derive(Debug, PartialEq, Eq)]
enum Body {
    /// As in [`Fetch`].
    Promised { expected: Expected, exact: bool },
    /// Judged when it is there.
    Signature { over: Signed, max_bytes: u64 },
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

/// `signatures` over payload come too. `room` is what was set aside for all; `judges` are told what came.
pub(super) async fn transfer(
    ground: &Ground,
    upstream: &Upstream,
    list: Arc<Sorted<Fetch>>,
    signatures: Arc<Sorted<SignatureFetch>>,
    room: &Reservation,
    judges: &Judges,
) -> Result<Transferred, Problem> {
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let wants = wants(upstream, contents(list, signatures), ledger.clone());
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
                match &content.body {
                    Body::Signature { over, .. } => judges.signature_came(over, received.digest),
                    Body::Promised { .. } => judges.came(received.digest),
                }
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
    let sink = match &content.body {
        Body::Promised {
            expected,
            exact: true,
        } => Sink::stored(*expected, writers),
        Body::Promised { expected, .. } => Sink::stored_up_to(*expected, writers),
        Body::Signature { max_bytes, .. } => Sink::stored_small(*max_bytes, writers),
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
    signatures: Arc<Sorted<SignatureFetch>>,
) -> mpsc::Receiver<Result<Content, Problem>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut signatures = joined(signatures.iter().map(signature_content)).peekable();
        let mut payload = joined(list.iter().map(payload_content)).peekable();
        let comes_first = |signature: &Result<Content, Problem>,
                           next: Option<&Result<Content, Problem>>| {
            match (signature, next) {
                (Ok(signature), Some(Ok(content))) => signature.digest() <= content.digest(),
                _ => true,
            }
        };
        loop {
            let signature = signatures.next_if(|signature| comes_first(signature, payload.peek()));
            let Some(content) = signature.or_else(|| payload.next()) else {
                return;
            };
            if sender.blocking_send(content).is_err() {
                // Nobody fetches any more.
                return;
            }
        }
    });
    receiver
}

fn payload_content(fetch: Result<Fetch, StoreError>) -> Result<Content, Problem> {
    let fetch = fetch?;
    Ok(Content {
        body: Body::Promised {
            expected: fetch.expected,
            exact: fetch.exact,
        },
        paths: vec![fetch.path],
        units: fetch.units,
    })
}

/// That over one file is one content, whatever its names.
fn signature_content(fetch: Result<SignatureFetch, StoreError>) -> Result<Content, Problem> {
    let fetch = fetch?;
    Ok(Content {
        body: Body::Signature {
            over: fetch.over,
            max_bytes: fetch.max_bytes,
        },
        paths: vec![fetch.path],
        units: fetch.units,
    })
}

/// Puts the names of one content together, which follow one another.
fn joined(
    contents: impl Iterator<Item = Result<Content, Problem>>,
) -> impl Iterator<Item = Result<Content, Problem>> {
    let mut contents = contents.peekable();
    std::iter::from_fn(move || {
        let mut content = match contents.next()? {
            Ok(content) => content,
            problem => return Some(problem),
        };
        loop {
            let is_same = |next: &Result<Content, Problem>| {
                next.as_ref().is_ok_and(|next| next.body == content.body)
            };
            let Some(Ok(next)) = contents.next_if(is_same) else {
                return Some(Ok(content));
            };
            content.add(next);
        }
    })
}

impl Content {
    /// Of the content, or of that which it is over.
    fn digest(&self) -> Digest {
        match &self.body {
            Body::Promised { expected, .. } => expected.digest,
            Body::Signature { over, .. } => Digest::Sha256(over.sha256),
        }
    }

    fn add(&mut self, other: Content) {
        for path in other.paths {
            // The same name once: asking there again brings the same.
            if self.paths.last() != Some(&path) {
                self.paths.push(path);
            }
        }
        self.units.extend(other.units);
        self.units.sort_unstable();
        self.units.dedup();
    }

    /// Whether it is a signature that the upstream does not have.
    fn is_missing_signature(&self, error: &FetchError) -> bool {
        matches!(self.body, Body::Signature { .. }) && error.kind == FailureKind::NotFound
    }
}
