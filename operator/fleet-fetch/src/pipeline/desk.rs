//! What the connections to one endpoint share: the requests that wait, and where they go when they leave.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard};

use fleet_types::lock;
use futures::channel::mpsc::UnboundedSender;
use tokio::sync::Notify;

use super::super::{Answer, Bound, Request};

pub(super) struct Desk {
    state: Mutex<State>,
    /// Something waits for a connection, or nothing will any more.
    pub changed: Notify,
    /// Something is to be asked alone.
    pub sent_back: Notify,
    // Unbounded, but never longer than the number of requests under way.
    answers: UnboundedSender<Answer>,
}

#[derive(Default)]
struct State {
    /// Waits for a pipelined connection.
    backlog: VecDeque<Request>,
    /// Waits for the ordinary way.
    alone: VecDeque<Request>,
    /// Connections that are open or being opened.
    connections: usize,
    /// Requests on the way on them.
    flying: usize,
    /// No more requests come.
    closed: bool,
}

/// How busy an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    pub backlog: usize,
    pub connections: usize,
    pub flying: usize,
    pub closed: bool,
}

/// Whether no index says what the answer is to be.
pub(super) fn is_unpromised(request: &Request) -> bool {
    matches!(request.sink.small(), Some(Bound::AtMost(_)))
}

impl Desk {
    pub fn new(answers: UnboundedSender<Answer>) -> Desk {
        Desk {
            state: Mutex::default(),
            changed: Notify::new(),
            sent_back: Notify::new(),
            answers,
        }
    }

    pub fn load(&self) -> Load {
        let state = self.state();
        Load {
            backlog: state.backlog.len(),
            connections: state.connections,
            flying: state.flying,
            closed: state.closed,
        }
    }

    pub fn push(&self, request: Request) {
        self.state().backlog.push_back(request);
        self.changed.notify_waiters();
    }

    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_waiters();
    }

    /// Waits until nothing is left to do, and nothing more will come.
    pub async fn over(&self) {
        loop {
            let mut changed = pin!(self.changed.notified());
            // What changes from here on wakes.
            changed.as_mut().enable();
            let load = self.load();
            if load.closed && load.backlog == 0 {
                return;
            }
            changed.await;
        }
    }

    pub fn opened(&self) {
        self.state().connections += 1;
    }

    pub fn ended(&self) {
        self.state().connections -= 1;
    }

    /// Up to `room` requests for one connection that carries so many already, but no more than its share of all. Else
    /// one that is there first, or is deep, would take all that comes bit by bit.
    pub fn take(&self, room: usize, carried: usize) -> Vec<Request> {
        let mut state = self.state();
        let all = state.backlog.len() + state.flying;
        let share = all.div_ceil(state.connections.max(1));
        let count = room
            .min(share.saturating_sub(carried))
            .min(state.backlog.len());
        let mut taken: Vec<Request> = state.backlog.drain(..count).collect();
        // It travels with what can vouch for it, and that is what comes next. Where nothing else is on the way, nothing may come.
        if taken.last().is_some_and(is_unpromised) {
            match state.backlog.pop_front() {
                Some(next) => taken.push(next),
                None if state.flying + taken.len() > 1 => state.backlog.extend(taken.pop()),
                None => {}
            }
        }
        state.flying += taken.len();
        taken
    }

    /// The answer to a request that was on the way.
    pub fn answer(&self, answer: Answer) {
        self.landed();
        self.pass(answer);
    }

    pub fn pass(&self, answer: Answer) {
        // An error means that nobody fetches any more.
        drop(self.answers.unbounded_send(answer));
    }

    /// Puts a request that was on the way to those that wait, in front.
    pub fn again(&self, request: Request) {
        self.landed();
        self.state().backlog.push_front(request);
        self.changed.notify_waiters();
    }

    /// Hands a request that was on the way to the ordinary way.
    pub fn send_back(&self, request: Request) {
        self.landed();
        self.ask_alone(request);
    }

    pub fn ask_alone(&self, request: Request) {
        self.state().alone.push_back(request);
        self.sent_back.notify_one();
    }

    /// Nothing that waits for a connection will get one. For who starts what is asked alone: wakes nobody.
    pub fn give_up_backlog(&self) {
        let mut state = self.state();
        let backlog = std::mem::take(&mut state.backlog);
        state.alone.extend(backlog);
    }

    pub fn next_alone(&self) -> Option<Request> {
        self.state().alone.pop_front()
    }

    fn landed(&self) {
        let mut state = self.state();
        state.flying = state.flying.saturating_sub(1);
        let is_left = state.flying == 0 && !state.backlog.is_empty();
        drop(state);
        if is_left {
            self.changed.notify_waiters();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fleet_types::{Digest, Expected, Problem, RepoPath, Sha256};
    use futures::FutureExt;
    use futures::channel::mpsc::unbounded;
    use futures::future::BoxFuture;

    use super::*;
    use crate::{BodyStore, FailureKind, FetchError, OpenBody, Sink, SinkError};

    #[derive(Debug)]
    struct Nowhere;

    impl BodyStore for Nowhere {
        fn store(&self, _: Expected, _: bytes::Bytes) -> BoxFuture<'_, Result<Sha256, SinkError>> {
            std::future::pending().boxed()
        }
        fn begin(&self, _: Expected) -> BoxFuture<'_, Result<(Box<dyn OpenBody>, u64), Problem>> {
            std::future::pending().boxed()
        }
    }

    fn request(id: u64, sink: Sink) -> Request {
        Request {
            id,
            path: RepoPath::new(&id.to_string()).unwrap(),
            validators: None,
            likely_missing: false,
            sink,
        }
    }

    fn promised(id: u64) -> Request {
        let digest = Digest::Sha256(Sha256([0; 32]));
        request(
            id,
            Sink::stored(Expected { size: 1, digest }, Arc::new(Nowhere)),
        )
    }

    fn unpromised(id: u64) -> Request {
        request(id, Sink::stored_small(1, Arc::new(Nowhere)))
    }

    fn ids(requests: &[Request]) -> Vec<u64> {
        requests.iter().map(|request| request.id).collect()
    }

    #[test]
    fn what_nothing_promises_waits_for_what_follows_it_while_anything_is_on_the_way() {
        let (answers, _answered) = unbounded();
        let desk = Desk::new(answers);
        desk.opened();
        desk.push(promised(0));
        desk.push(unpromised(1));
        let mut taken = desk.take(64, 0);
        assert_eq!(ids(&taken), [0]);
        assert!(desk.take(64, 0).is_empty());
        desk.push(promised(2));
        taken.extend(desk.take(64, 0));
        assert_eq!(ids(&taken), [0, 1, 2]);
        desk.push(unpromised(3));
        for Request { id, sink, .. } in taken {
            assert!(desk.take(64, 0).is_empty());
            let result = Err(FetchError::new(FailureKind::NotFound, "not there"));
            desk.answer(Answer { id, result, sink });
        }
        assert_eq!(ids(&desk.take(64, 0)), [3], "nothing follows");
    }
}
