//! Answers of which no index says what they should be, as signatures beside packages.
//!
//! A server, or a proxy in front of it, that loses or repeats one pipelined answer gives all later ones to the wrong
//! requests. The digest of a promised body shows that; of others nothing does. So these wait until a promised answer that
//! came after them on the same connection turned out to be the right one. What no such answer follows is asked for alone.

use std::collections::VecDeque;

use super::super::super::Request;
use super::super::head::Head;
use super::Connection;

/// A body that nothing promises may not be larger, or it does not share a connection.
pub(super) const MAX_UNPROMISED: u64 = 16 << 10;
/// Bytes of such bodies that wait on one connection.
const MAX_WAITING: u64 = 64 << 10;

/// What waits on one connection, in the order in which it came.
#[derive(Default)]
pub(super) struct Unpromised {
    waiting: VecDeque<Waiting>,
    bytes: u64,
    /// A promised answer was not the right one: nothing on this connection counts any more.
    is_doubted: bool,
}

struct Waiting {
    /// Which answer of the connection it was.
    answer: usize,
    request: Request,
    head: Head,
}

impl Unpromised {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn doubt(&mut self) {
        self.is_doubted = true;
    }

    fn add(&mut self, answer: usize, request: Request, head: Head) {
        self.bytes += head.length;
        self.waiting.push_back(Waiting {
            answer,
            request,
            head,
        });
    }

    /// The first one, if it came before this answer of the connection, or whenever it came.
    fn next(&mut self, before: Option<usize>) -> Option<Waiting> {
        let first = self.waiting.front()?;
        if before.is_some_and(|answer| self.is_doubted || first.answer > answer) {
            return None;
        }
        self.bytes -= first.head.length;
        self.waiting.pop_front()
    }
}

impl Connection<'_> {
    pub(super) fn await_promised(&mut self, request: Request, head: &Head) {
        self.unpromised
            .add(self.wire.answered, request, head.clone());
        while self.unpromised.bytes > MAX_WAITING {
            self.ask_first_alone();
        }
    }

    /// A promised answer was the right one: so were those before it.
    pub(super) fn vouch_before(&mut self, answer: usize) {
        while let Some(Waiting { request, head, .. }) = self.unpromised.next(Some(answer)) {
            match head.status {
                200 => self.write(request, &head, None),
                _ => self.refuse(request, &head),
            }
        }
    }

    pub(super) fn ask_unpromised_alone(&mut self) {
        while self.ask_first_alone() {}
    }

    fn ask_first_alone(&mut self) -> bool {
        let Some(Waiting { mut request, .. }) = self.unpromised.next(None) else {
            return false;
        };
        request.sink.forget();
        self.desk.send_back(request);
        true
    }
}
