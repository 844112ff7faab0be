//! Many files over several endpoints: who is asked, what is done after a failure, when it is given up.

use std::collections::HashMap;
use std::sync::Arc;

use fleet_types::{Problem, RepoPath};
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered, SelectAll};
use futures::{FutureExt, Stream, StreamExt};

use super::endpoint::EndpointSet;
use super::stops::{Next, Place, Tour};
use super::{Answer, Arrival, FailureKind, FetchError, Request, Sink, Validators};
use crate::stop::Stop;

/// One file that is wanted.
pub struct Want {
    /// Comes back with the delivery.
    pub tag: u64,
    /// The names under which the upstream may have it, best first.
    pub sources: Vec<RepoPath>,
    /// The only endpoint to ask; none means all of them in order.
    pub only: Option<usize>,
    pub validators: Option<Validators>,
    /// That it is not there is what is expected, and nothing comes of it: such an answer counts also where other requests
    /// share its connection, and the file is asked for there whatever its size.
    pub likely_missing: bool,
    pub sink: Sink,
}

/// What became of a wanted file, after everything was tried.
#[derive(Debug)]
pub struct Delivery {
    pub tag: u64,
    pub result: Result<Arrival, FetchError>,
}

/// Fetches what is wanted.
#[derive(Clone)]
pub struct Fetcher {
    endpoints: Arc<EndpointSet>,
    stop: Stop,
}

impl Fetcher {
    /// `stop` ends every fetch that is under way.
    pub fn new(endpoints: Arc<EndpointSet>, stop: Stop) -> Fetcher {
        Fetcher { endpoints, stop }
    }

    pub fn endpoints(&self) -> &EndpointSet {
        &self.endpoints
    }

    /// Fetches all of `wants`, and leaves the connections for what is fetched next. Hands every outcome to `deliver` in the
    /// order in which they come. Takes wants from the stream only as fast as they can be worked on. An error of `deliver`, a
    /// problem of the store and a stop end it.
    pub async fn fetch_all(
        &self,
        mut wants: impl Stream<Item = Result<Want, Problem>> + Unpin,
        deliver: &mut (dyn FnMut(Delivery) -> Result<(), Problem> + Send),
    ) -> Result<(), Problem> {
        let mut round = Round::new(&self.endpoints);
        let mut more = true;
        while more || !round.jobs.is_empty() {
            tokio::select! {
                biased;
                problem = self.stop.stopped() => return Err(problem),
                Some((endpoint, answer)) = round.answers.next() => {
                    if let Some(delivery) = round.settle(endpoint, answer) {
                        deliver_or_end(delivery, deliver)?;
                    }
                }
                Some((id, sink)) = round.waiting.next(), if !round.waiting.is_empty() => {
                    if let Some(delivery) = round.go_on(id, sink) {
                        deliver_or_end(delivery, deliver)?;
                    }
                }
                want = wants.next(), if more && round.jobs.len() < self.endpoints.appetite() => {
                    let mut next = Some(want);
                    // All that there is room for at once, so that requests can leave together.
                    while let Some(want) = next {
                        match want {
                            None => more = false,
                            Some(want) => if let Some(delivery) = round.accept(want?) {
                                deliver_or_end(delivery, deliver)?;
                            }
                        }
                        let room = more && round.jobs.len() < self.endpoints.appetite();
                        next = room.then(|| wants.next().now_or_never()).flatten();
                    }
                }
            }
        }
        tokio::select! {
            biased;
            problem = self.stop.stopped() => Err(problem),
            () = round.end() => Ok(()),
        }
    }

    /// Does now what the requests to come would wait for.
    pub async fn open_ahead(&self, endpoint: usize, most: usize) {
        if let Some(transport) = self.endpoints.transports().nth(endpoint) {
            transport.open_ahead(most).await;
        }
    }

    /// Fetches one file.
    pub async fn fetch_one(&self, want: Want) -> Result<Result<Arrival, FetchError>, Problem> {
        let mut outcome = None;
        let wants = futures::stream::iter([Ok(want)]);
        let mut keep = |delivery: Delivery| {
            outcome = Some(delivery.result);
            Ok(())
        };
        self.fetch_all(wants, &mut keep).await?;
        Ok(outcome.unwrap_or_else(|| {
            Err(FetchError::new(
                FailureKind::Broken,
                "a transport gave no answer",
            ))
        }))
    }
}

fn deliver_or_end(
    delivery: Delivery,
    deliver: &mut (dyn FnMut(Delivery) -> Result<(), Problem> + Send),
) -> Result<(), Problem> {
    match delivery.result {
        Err(FetchError {
            kind: FailureKind::Local(problem),
            ..
        }) => Err(problem),
        _ => deliver(delivery),
    }
}

/// The files that are under way.
struct Round<'a> {
    endpoints: &'a EndpointSet,
    queues: Vec<UnboundedSender<Request>>,
    answers: SelectAll<BoxStream<'static, (usize, Answer)>>,
    waiting: FuturesUnordered<BoxFuture<'static, (u64, Sink)>>,
    jobs: HashMap<u64, Job>,
    next_id: u64,
}

struct Job {
    tag: u64,
    sources: Vec<RepoPath>,
    validators: Option<Validators>,
    likely_missing: bool,
    tour: Tour,
    at: Option<Place>,
}

impl<'a> Round<'a> {
    fn new(endpoints: &'a EndpointSet) -> Round<'a> {
        let mut queues = Vec::new();
        let mut answers = SelectAll::new();
        for (index, transport) in endpoints.transports().enumerate() {
            // Unbounded, but never longer than the number of jobs.
            let (queue, requests) = unbounded();
            queues.push(queue);
            answers.push(
                transport
                    .fetch_many(requests.boxed())
                    .map(move |answer| (index, answer))
                    .boxed(),
            );
        }
        Round {
            endpoints,
            queues,
            answers,
            waiting: FuturesUnordered::new(),
            jobs: HashMap::new(),
            next_id: 0,
        }
    }

    fn accept(&mut self, want: Want) -> Option<Delivery> {
        let id = self.next_id;
        self.next_id += 1;
        let tour = match want.only {
            Some(endpoint) => Tour::new(std::iter::once(endpoint), want.sources.len()),
            None => Tour::new(self.endpoints.bulk(), want.sources.len()),
        };
        self.jobs.insert(
            id,
            Job {
                tag: want.tag,
                sources: want.sources,
                validators: want.validators,
                likely_missing: want.likely_missing,
                tour,
                at: None,
            },
        );
        self.go_on(id, want.sink)
    }

    /// Takes the next step of a job; what is delivered is no job any more.
    fn go_on(&mut self, id: u64, sink: Sink) -> Option<Delivery> {
        let endpoints = self.endpoints;
        let job = self.jobs.get_mut(&id)?;
        match job
            .tour
            .next(|endpoint| endpoints.rest(endpoint), endpoints.retry())
        {
            Next::Wait(time) => {
                self.waiting
                    .push(tokio::time::sleep(time).map(move |()| (id, sink)).boxed());
                None
            }
            Next::GiveUp(error) => self.close(id, Err(error)),
            Next::Try(place) => self.ask(id, place, sink),
        }
    }

    fn ask(&mut self, id: u64, place: Place, mut sink: Sink) -> Option<Delivery> {
        sink.begin_answer();
        let job = self.jobs.get_mut(&id)?;
        job.at = Some(place);
        let request = job.sources.get(place.source).map(|path| Request {
            id,
            path: path.clone(),
            validators: job.validators.clone(),
            likely_missing: job.likely_missing,
            sink,
        });
        let sent = request
            .zip(self.queues.get(place.endpoint))
            .is_some_and(|(request, queue)| queue.unbounded_send(request).is_ok());
        if sent {
            return None;
        }
        self.close(
            id,
            Err(FetchError::new(
                FailureKind::Broken,
                "a transport ended before its work was done",
            )),
        )
    }

    fn settle(&mut self, endpoint: usize, answer: Answer) -> Option<Delivery> {
        let Answer { id, result, sink } = answer;
        let error = match result {
            Ok(arrival) => {
                self.endpoints.succeeded(endpoint);
                return self.close(id, Ok(arrival));
            }
            Err(error) => error,
        };
        self.endpoints.failed(endpoint, &error);
        tracing::debug!(
            endpoint = self.endpoints.name(endpoint),
            error = error.message,
            "a request brought nothing"
        );
        let job = self.jobs.get_mut(&id)?;
        if let Some(place) = job.at.take() {
            job.tour.failed(place, error, self.endpoints.retry());
        }
        self.go_on(id, sink)
    }

    /// Nothing is under way any more: transports keep what the next round can use.
    async fn end(self) {
        drop(self.queues);
        self.answers.for_each(|_| std::future::ready(())).await;
    }

    fn close(&mut self, id: u64, result: Result<Arrival, FetchError>) -> Option<Delivery> {
        self.jobs.remove(&id).map(|job| Delivery {
            tag: job.tag,
            result,
        })
    }
}
