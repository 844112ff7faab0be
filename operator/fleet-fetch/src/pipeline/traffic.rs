//! All requests to one endpoint: which way each takes, and how many connections there are.

use std::sync::Arc;

use futures::channel::mpsc::unbounded;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{FutureExt, Stream, StreamExt};

use super::super::budget::{Kept, Place};
use super::super::line::Endpoint;
use super::super::{Answer, Bound, Request};
use super::connection;
use super::desk::{Desk, Load};
use super::wire::Wire;

/// A further connection is opened for so many requests.
const REQUESTS_PER_CONNECTION: usize = 4;
/// Where there is one that was kept: it is there now, and another only after a round trip.
const REQUESTS_PER_KEPT: usize = 16;

/// The ordinary way of a request.
pub(crate) type Alone = Box<dyn Fn(Request) -> BoxFuture<'static, Answer> + Send + Sync>;

/// What a connection is made from.
enum Made {
    Kept(Kept),
    Place(Place),
    Nothing,
}

impl Made {
    /// None where the endpoint cannot be reached.
    async fn connection(self, endpoint: &Endpoint) -> Option<Kept> {
        let place = match self {
            Made::Kept(Kept {
                wire,
                place,
                origin,
            }) => match wire.still_there() {
                Some(wire) => {
                    return Some(Kept {
                        wire,
                        place,
                        origin,
                    });
                }
                // Closed before another is made: a place is for one connection.
                None => place,
            },
            Made::Place(place) => place,
            Made::Nothing => endpoint.line.budget.place().await,
        };
        dial(endpoint, place).await
    }
}

async fn dial(endpoint: &Endpoint, place: Place) -> Option<Kept> {
    let dialer = endpoint.dialer.as_ref()?;
    Some(Kept {
        wire: Wire::dial(dialer).await?,
        place,
        origin: endpoint.origin.clone(),
    })
}

/// Opens connections for requests that will come, `most` in a run and as far as places are free.
pub(crate) async fn open_ahead(endpoint: Arc<Endpoint>, most: usize) {
    let budget = &endpoint.line.budget;
    if !endpoint.pipelines() {
        return;
    }
    let count = endpoint.pipelining.opens_ahead(most);
    let places = (0..count).map_while(|_| budget.free_place());
    let dials = places.map(|place| dial(&endpoint, place));
    let mut dials: FuturesUnordered<_> = dials.collect();
    while let Some(dialed) = dials.next().await {
        // What keeps one from being made is told of when it is needed.
        if let Some(kept) = dialed {
            budget.keep(kept);
        }
    }
}

pub(crate) struct Traffic {
    endpoint: Arc<Endpoint>,
    desk: Arc<Desk>,
    connections: FuturesUnordered<BoxFuture<'static, bool>>,
    /// Those under way by the ordinary way, and what starts one.
    alone: FuturesUnordered<BoxFuture<'static, Answer>>,
    start_one: Alone,
    /// Whether the last request that went to a connection is for a promised body.
    was_promised: bool,
    /// No more than this many connections can be had.
    ceiling: usize,
    /// What each of them is worth.
    each: usize,
}

impl Traffic {
    /// Works while the answers are asked for, without a task of its own: dropping them ends everything at once.
    pub fn start(
        endpoint: Arc<Endpoint>,
        start_one: Alone,
        requests: BoxStream<'static, Request>,
    ) -> impl Stream<Item = Answer> + Send + 'static {
        let (answers, answered) = unbounded();
        let traffic = Traffic {
            ceiling: endpoint.line.max_connections,
            each: REQUESTS_PER_CONNECTION,
            endpoint,
            desk: Arc::new(Desk::new(answers)),
            connections: FuturesUnordered::new(),
            alone: FuturesUnordered::new(),
            start_one,
            was_promised: false,
        };
        let work = traffic.run(requests).into_stream();
        futures::stream::select(answered, work.filter_map(|()| futures::future::ready(None)))
    }

    async fn run(mut self, mut requests: BoxStream<'static, Request>) {
        let desk = self.desk.clone();
        loop {
            self.start_alone();
            self.open_connections();
            let load = desk.load();
            if load.closed
                && load.backlog == 0
                && self.connections.is_empty()
                && self.alone.is_empty()
            {
                return;
            }
            tokio::select! {
                biased;
                Some(answer) = self.alone.next(), if !self.alone.is_empty() => desk.pass(answer),
                Some(reached) = self.connections.next(), if !self.connections.is_empty() => self.ended(reached),
                () = desk.sent_back.notified() => {}
                request = requests.next(), if !load.closed => {
                    let mut next = Some(request);
                    // All that are there, so that they leave together.
                    while let Some(Some(request)) = next {
                        self.route(request);
                        next = requests.next().now_or_never();
                    }
                    if next.is_some() {
                        desk.close();
                    }
                },
            }
        }
    }

    fn route(&mut self, request: Request) {
        let small = request.sink.small();
        let is_promised = matches!(small, Some(Bound::Exactly(_)));
        // What nothing promises needs a promised answer that follows it, so that it never follows another such.
        let is_vouched_for = small.is_some() && (is_promised || self.was_promised);
        let fits = is_vouched_for || request.likely_missing;
        if fits && request.validators.is_none() && self.endpoint.pipelines() {
            self.was_promised = is_promised;
            self.desk.push(request);
        } else {
            self.desk.ask_alone(request);
        }
    }

    fn start_alone(&mut self) {
        if !self.endpoint.pipelines() {
            self.desk.give_up_backlog();
        }
        while self.alone.len() < self.endpoint.line.max_connections {
            let Some(request) = self.desk.next_alone() else {
                return;
            };
            self.alone.push((self.start_one)(request));
        }
    }

    /// Kept connections come first. Else the first one is waited for, further ones are opened where a place is free.
    fn open_connections(&mut self) {
        let depth = self.endpoint.pipelining.depth();
        while wants_more(self.desk.load(), depth.min(self.each), self.ceiling) {
            let budget = &self.endpoint.line.budget;
            if let Some(kept) = budget.kept(&self.endpoint.origin) {
                self.each = REQUESTS_PER_KEPT;
                self.open(Made::Kept(kept));
                continue;
            }
            match budget.try_place() {
                Some(place) => self.open(Made::Place(place)),
                None if self.connections.is_empty() => self.open(Made::Nothing),
                None => return,
            }
        }
    }

    fn open(&mut self, made: Made) {
        self.desk.opened();
        let (endpoint, desk) = (self.endpoint.clone(), self.desk.clone());
        let connection = async move {
            let (reached, kept) = tokio::select! {
                biased;
                made = made.connection(&endpoint) => match made {
                    Some(Kept { wire, place, origin }) => {
                        let wire = connection::carry(&endpoint, &desk, wire).await;
                        (true, wire.map(|wire| Kept { wire, place, origin }))
                    }
                    None => (false, None),
                },
                // The others were enough.
                () = desk.over() => (true, None),
            };
            desk.ended();
            if let Some(kept) = kept {
                endpoint.line.budget.keep(kept);
            }
            reached
        };
        self.connections.push(connection.boxed());
    }

    fn ended(&mut self, reached: bool) {
        if reached {
            return;
        }
        self.endpoint
            .pipelining
            .strike("connections cannot be made");
        if self.connections.is_empty() {
            // The ordinary way finds out why, for every file.
            self.desk.give_up_backlog();
        } else {
            self.ceiling = self.connections.len();
        }
    }
}

fn wants_more(load: Load, each: usize, ceiling: usize) -> bool {
    let wanted = (load.backlog + load.flying).div_ceil(each).min(ceiling);
    load.backlog > 0 && load.connections < wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_come_with_the_requests_that_they_are_for() {
        let load = |backlog, connections, flying| Load {
            backlog,
            connections,
            flying,
            closed: false,
        };
        assert!(wants_more(load(1, 0, 0), 4, 8));
        assert!(!wants_more(load(3, 1, 0), 4, 8), "one carries several");
        assert!(wants_more(load(3, 1, 0), 1, 8), "until it is proven");
        assert!(wants_more(load(1, 1, 16), 4, 8));
        assert!(!wants_more(load(0, 1, 16), 4, 8), "nothing waits");
        assert!(!wants_more(load(99, 8, 128), 4, 8));
    }
}
