//! `rsync://` endpoints, by the rsync program: many files in one run of it.
//!
//! # Names
//!
//! No name of an upstream is a file name in the store; rsync however writes what it fetches under the names that it
//! asks for. A file that is fetched alone gets a name of ours. A batch keeps the upstream's names, since asking for
//! each file in a run of its own would cost some eight round trips each; they stay in a directory that nobody but us
//! may enter, made for this run below the store's staging and removed after it. Only names that [`RepoPath`] accepts
//! are asked for and read back, links and devices are never made, and none is followed when content is taken up into
//! its sink. Whatever else a daemon might get rsync to write goes unread, and is bounded: see [`watch`].
//!
//! [`RepoPath`]: fleet_types::RepoPath

mod alone;
mod attend;
mod batch;
mod folder;
mod many;
mod program;
mod remote;
mod verdict;
mod watch;

use fleet_types::{Problem, counted};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use futures::stream::BoxStream;
use url::Url;

use self::attend::Attended;
use self::folder::{Folder, Found, Stamp};
use self::program::Order;
use self::remote::Remote;
use self::watch::Watch;
use super::budget::Budget;
use super::line::Line;
use super::meter::Meter;
use super::options::FetchOptions;
use super::sink::Sink;
use super::verdict::{is_settled, unix};
use super::{Answer, Arrival, FailureKind, FetchError, Received, Request, Transport, Validators};

/// More runs at once bring nothing: each is one stream, and the files of a batch follow each other without a pause.
const MOST_RUNS: usize = 4;

/// An rsync daemon's module, or a folder in it.
pub struct RsyncTransport(Arc<Endpoint>);

struct Endpoint {
    remote: Remote,
    /// Shared by all endpoints of a run; one run of the program is one connection.
    budget: Arc<Budget>,
    runs: usize,
    stall: Duration,
    meter: Arc<Meter>,
    scratch: PathBuf,
}

impl RsyncTransport {
    pub(super) fn new(
        base: &Url,
        options: &FetchOptions,
        line: &Line,
    ) -> Result<RsyncTransport, Problem> {
        // The program holds each run to a rate of its own, so that only one of them can have the whole budget.
        let runs = match line.meter.bandwidth() {
            Some(_) => 1,
            None => MOST_RUNS.min(line.max_connections),
        };
        Ok(RsyncTransport(Arc::new(Endpoint {
            remote: Remote::new(base, &options.access)?,
            budget: line.budget.clone(),
            runs,
            stall: line.stall,
            meter: line.meter.clone(),
            scratch: options.scratch.clone(),
        })))
    }
}

impl Transport for RsyncTransport {
    fn fetch_many(&self, requests: BoxStream<'static, Request>) -> BoxStream<'static, Answer> {
        let endpoint = self.0.clone();
        let runs = endpoint.runs;
        batch::batches(requests)
            .map(move |batch| endpoint.clone().answer(batch))
            .buffer_unordered(runs)
            .flat_map(futures::stream::iter)
            .boxed()
    }

    fn appetite(&self) -> usize {
        (self.0.runs + 1) * batch::MOST_FILES
    }
}

impl Endpoint {
    async fn answer(self: Arc<Self>, mut requests: Vec<Request>) -> Vec<Answer> {
        if requests.len() > 1 {
            return self.answer_many(requests).await;
        }
        let mut answers = Vec::new();
        if let Some(mut request) = requests.pop() {
            let result = self.fetch_alone(&mut request).await;
            answers.push(answered(request, result));
        }
        answers
    }

    fn attend<'a>(
        &self,
        folder: &'a Folder,
        order: &Order<'_>,
        watch: Watch,
    ) -> Result<Attended<'a>, FetchError> {
        self.meter.asked();
        let running = program::start(&self.remote, order)?;
        Ok(Attended::new(running, folder, watch))
    }

    /// A file that is complete on our side: a size other than the promised one is the upstream's.
    async fn take_whole(
        &self,
        found: Found,
        sink: &mut Sink,
        name: &str,
    ) -> Result<(), FetchError> {
        let size = found.stamp.size;
        if let Some(promised) = sink.promised().filter(|promised| *promised != size) {
            sink.restart().await.map_err(|e| e.at(name))?;
            let text = format!(
                "{name}: has {}, its index promises {promised}",
                counted(size, "byte")
            );
            return Err(FetchError::new(FailureKind::Mismatch, text));
        }
        sink.announced(0, size).map_err(|e| e.at(name))?;
        self.take(found, sink, name).await
    }

    /// Hands on what has arrived since the last time.
    async fn take(&self, mut found: Found, sink: &mut Sink, name: &str) -> Result<(), FetchError> {
        let position = sink.position().await.map_err(|e| e.at(name))?;
        found.skip_to(position).await?;
        while let Some(chunk) = found.next().await? {
            let length = chunk.len();
            sink.write(chunk).await.map_err(|e| e.at(name))?;
            self.meter.received(length).await;
        }
        Ok(())
    }
}

fn answered(request: Request, result: Result<Arrival, FetchError>) -> Answer {
    Answer {
        id: request.id,
        result,
        sink: request.sink,
    }
}

async fn finish(sink: &mut Sink, name: &str, stamp: Option<Stamp>) -> Result<Arrival, FetchError> {
    let taken = sink.finish().await.map_err(|e| e.at(name))?;
    // What we serve never goes back, so a date in the future would stay for as long as it is one.
    let modified = stamp.and_then(|stamp| stamp.modified());
    let modified = modified.filter(|modified| *modified <= SystemTime::now());
    let validators = stamp.filter(|_| modified.is_some_and(tells_apart));
    Ok(Arrival::Complete(Received {
        digest: taken.digest,
        size: taken.size,
        body: taken.body,
        modified: modified.and_then(unix),
        validators: validators.map_or_else(Validators::default, Stamp::validators),
    }))
}

/// A daemon that tells seconds only could change the file again within the same one.
fn tells_apart(modified: SystemTime) -> bool {
    let exact = modified
        .duration_since(UNIX_EPOCH)
        .is_ok_and(|since| since.subsec_nanos() > 0);
    exact || is_settled(Some(modified), SystemTime::now())
}
