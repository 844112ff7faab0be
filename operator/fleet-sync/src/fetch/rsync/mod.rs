//! `rsync://` endpoints, by the rsync program: many files in one run of it.
//!
//! # Names
//!
//! No name of an upstream is a file name in the store; rsync however writes what it fetches under the names that it
//! asks for. A file that is fetched alone gets a name of ours. A batch keeps the upstream's names, since asking for
//! each file in a run of its own would cost some eight round trips each; they stay in a directory that nobody but us
//! may enter, made for this run below the store's staging and removed after it. Only names that [`RepoPath`] accepts
//! are asked for and read back, links and devices are never made, and none is followed when content is taken up into
//! its sink. Whatever else a daemon might get rsync to write goes unread.
//!
//! [`RepoPath`]: fleet_types::RepoPath

mod batch;
mod folder;
mod program;
mod remote;
mod verdict;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use url::Url;

use self::folder::{Folder, Found, Stamp};
use self::program::{Ended, Order};
use self::remote::Remote;
use self::verdict::{Fate, told_of};
use super::budget::Budget;
use super::endpoint::FetchOptions;
use super::http::Line;
use super::meter::Meter;
use super::sink::Sink;
use super::verdict::{is_settled, unix};
use super::{Answer, Arrival, FailureKind, FetchError, Received, Request, Transport, Validators};
use crate::Problem;

/// More runs at once bring nothing: each is one stream, and the files of a batch follow each other without a pause.
const MOST_RUNS: usize = 4;
/// How often what has arrived is taken up while the program still runs.
const SWEEP: Duration = Duration::from_millis(100);

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

/// A request of a batch that has no answer yet, or has.
struct Job {
    request: Request,
    result: Option<Result<Arrival, FetchError>>,
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

    /// One file, under a name of ours. What is there of it already is not asked for again.
    async fn fetch_alone(&self, request: &mut Request) -> Result<Arrival, FetchError> {
        let name = self.remote.name_of(&request.path);
        let position = request.sink.position().await.map_err(|e| e.at(&name))?;
        if position > 0 && request.sink.promised() == Some(position) {
            // An earlier run got all of it and no further.
            return finish(&mut request.sink, &name, None).await;
        }
        let folder = Folder::new(&self.scratch)?;
        let known = request.validators.as_ref().and_then(Stamp::read);
        folder.prepare(position, known)?;
        let _place = self.budget.place().await;
        let names = vec![request.path.as_str()];
        let mut run = self.run(names, folder.alone(), request.sink.limit(), position > 0)?;
        // Where the size is not known, or old content may stand there, only the end tells what has arrived.
        let follow = request.sink.promised().is_some() && known.is_none();
        let ended = loop {
            match tokio::time::timeout(SWEEP, &mut run).await {
                Ok(ended) => break ended,
                Err(_) if follow => {
                    if let Some(found) = folder.open_alone().await? {
                        self.take(found, &mut request.sink, &name).await?;
                    }
                }
                Err(_) => {}
            }
        };
        let ended = self.ended(ended)?;
        let found = folder.open_alone().await?;
        self.judge_alone(request, &ended, found, position, known, &name)
            .await
    }

    async fn judge_alone(
        &self,
        request: &mut Request,
        ended: &Ended,
        found: Option<Found>,
        position: u64,
        known: Option<Stamp>,
        name: &str,
    ) -> Result<Arrival, FetchError> {
        let sink = &mut request.sink;
        // The whole path only where there is more than one file.
        let verdict = told_of(ended, request.path.file_name());
        match (&verdict, found) {
            (Fate::Sent, Some(found)) if known.is_some_and(|known| found.stamp == known) => {
                Ok(Arrival::NotModified)
            }
            (Fate::Sent, Some(found)) if position > 0 && found.stamp.size <= position => {
                sink.restart().await.map_err(|e| e.at(name))?;
                let text = format!("{name}: the upstream's file ends at or before byte {position}");
                Err(FetchError::new(FailureKind::Broken, text))
            }
            (Fate::Sent, Some(found)) => {
                let stamp = found.stamp;
                sink.settle(Some(stamp.size))
                    .await
                    .map_err(|e| e.at(name))?;
                self.take_whole(found, sink, name).await?;
                finish(sink, name, Some(stamp)).await
            }
            (Fate::BrokenOff(_), Some(found)) if sink.promised().is_some() && known.is_none() => {
                self.take(found, sink, name).await?;
                Err(verdict.error(name, sink))
            }
            _ => Err(verdict.error(name, sink)),
        }
    }

    /// Many small files, under their own names.
    async fn answer_many(&self, requests: Vec<Request>) -> Vec<Answer> {
        let mut jobs: Vec<Job> = requests.into_iter().map(Job::new).collect();
        let missing = self.fetch_together(&mut jobs).await.err();
        let missing = missing.unwrap_or_else(|| {
            FetchError::new(
                FailureKind::Broken,
                "a run of rsync left a file without a word",
            )
        });
        let answer = |job: Job| {
            let result = job.result.unwrap_or_else(|| Err(missing.clone()));
            answered(job.request, result)
        };
        jobs.into_iter().map(answer).collect()
    }

    /// An error is that of all jobs without a result.
    async fn fetch_together(&self, jobs: &mut [Job]) -> Result<(), FetchError> {
        for job in jobs.iter_mut() {
            // Small files are not continued: what another endpoint has left of them is given up.
            let again = job.request.sink.restart().await;
            again.map_err(|e| e.at(job.request.path.as_str()))?;
        }
        let folder = Folder::new(&self.scratch)?;
        let _place = self.budget.place().await;
        let names = jobs.iter().map(|job| job.request.path.as_str()).collect();
        let limit = jobs.iter().map(|job| job.request.sink.limit()).max();
        let mut run = self.run(names, folder.many(), limit.unwrap_or(0), false)?;
        let ended = loop {
            match tokio::time::timeout(SWEEP, &mut run).await {
                Ok(ended) => break ended,
                // What is there under its own name is complete: rsync moves it there at the end.
                Err(_) => self.sweep(&folder, jobs).await?,
            }
        };
        let ended = self.ended(ended)?;
        self.sweep(&folder, jobs).await?;
        for job in jobs.iter_mut().filter(|job| job.result.is_none()) {
            let name = self.remote.name_of(&job.request.path);
            let fate = told_of(&ended, job.request.path.as_str());
            job.result = Some(Err(fate.error(&name, &job.request.sink)));
        }
        Ok(())
    }

    /// Takes up all files that are there by now.
    async fn sweep(&self, folder: &Folder, jobs: &mut [Job]) -> Result<(), FetchError> {
        let open = jobs.iter().enumerate();
        let open = open.filter(|(_, job)| job.result.is_none());
        let paths = open.map(|(index, job)| (index, job.request.path.clone()));
        for index in folder.which_are_there(paths.collect()).await? {
            let Some(job) = jobs.get_mut(index) else {
                continue;
            };
            let Some(found) = folder.open(&job.request.path).await? else {
                continue;
            };
            let name = self.remote.name_of(&job.request.path);
            let stamp = found.stamp;
            let sink = &mut job.request.sink;
            job.result = Some(match self.take_whole(found, sink, &name).await {
                Ok(()) => finish(sink, &name, Some(stamp)).await,
                Err(error) => Err(error),
            });
        }
        Ok(())
    }

    fn run(
        &self,
        names: Vec<&str>,
        target: OsString,
        largest: u64,
        append: bool,
    ) -> Result<BoxFuture<'static, std::io::Result<Ended>>, FetchError> {
        self.meter.asked();
        let order = Order {
            names,
            target,
            largest,
            append,
            stall: self.stall,
            bandwidth: self.meter.bandwidth(),
        };
        program::start(&self.remote, &order)
    }

    fn ended(&self, ended: std::io::Result<Ended>) -> Result<Ended, FetchError> {
        ended.map_err(|e| {
            let text = format!("{}: rsync cannot be waited for: {e}", self.remote.shown());
            FetchError::new(FailureKind::Broken, text)
        })
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
            let text = format!("{name}: has {size} bytes, its index promises {promised}");
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

impl Job {
    fn new(request: Request) -> Job {
        Job {
            request,
            result: None,
        }
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
    let modified = stamp.and_then(|stamp| stamp.modified());
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
