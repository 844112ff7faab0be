//! One connection: requests out, answers in, in the same order.

mod end;
mod incoming;
mod unpromised;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use reqwest::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Sleep};

use super::super::budget::Need;
use super::super::line::Endpoint;
use super::super::sink::{SinkError, Taken};
use super::super::verdict::refused;
use super::super::{Answer, Arrival, FetchError, Received, Request, Validators};
use super::desk::{Desk, Load};
use super::head::Head;
use super::pipelining::DEPTH;
use super::wire::Wire;
use unpromised::Unpromised;

const READ: usize = 64 << 10;
/// Bytes of bodies that are complete and not yet written, of all connections together: each has an equal part.
const UNWRITTEN: u64 = 2 << 20;
/// Requests leave when so large a part of a pipe is free.
const PARTS: usize = 4;
/// A server that has lost a pipelined request is found out before a stall is.
const PATIENCE: Duration = Duration::from_secs(20);
/// Answers that a connection carries at least before it makes room for another.
const BEFORE_YIELDING: usize = 16;

/// Works on what the desk has until there is no more. Gives the connection back where it can be used again.
pub(super) async fn carry(endpoint: &Endpoint, desk: &Desk, wire: Wire) -> Option<Wire> {
    let connection = Connection {
        endpoint,
        desk,
        carried: wire.answered,
        wire,
        out: BytesMut::new(),
        read: BytesMut::with_capacity(READ),
        sent: VecDeque::with_capacity(DEPTH),
        reading: Reading::Head,
        writing: FuturesUnordered::new(),
        unwritten: 0,
        unpromised: Unpromised::default(),
        quiet: Box::pin(tokio::time::sleep(endpoint.line.stall)),
        deadline: Instant::now(),
    };
    connection.run().await
}

struct Connection<'a> {
    endpoint: &'a Endpoint,
    desk: &'a Desk,
    wire: Wire,
    /// Answers that it had carried before it came here.
    carried: usize,
    /// Requests that are still to be sent.
    out: BytesMut,
    /// What has arrived and is not yet understood.
    read: BytesMut,
    /// Not yet answered, in order.
    sent: VecDeque<Request>,
    reading: Reading,
    /// Bodies on their way to the disk.
    writing: FuturesUnordered<BoxFuture<'static, Written>>,
    unwritten: u64,
    unpromised: Unpromised,
    quiet: Pin<Box<Sleep>>,
    /// When the answer that is next is overdue. The timer is set again only when it has fired too early.
    deadline: Instant,
}

struct Written {
    request: Request,
    size: u64,
    modified: Option<i64>,
    /// Which answer of the connection it was, where an index promises it.
    promised: Option<usize>,
    result: Result<Taken, SinkError>,
}

/// Why a connection is left.
enum End {
    /// Nothing is left to do on it.
    Done,
    /// The server ends it after this answer.
    Closed,
    /// It broke off.
    Broken,
    /// The file that is next is there, though it was likely missing: too large to share a connection.
    Large,
    /// It cannot be told any more which answer is whose, or the server wants to be asked otherwise.
    Odd(&'static str),
}

/// Where in the stream of answers the next byte belongs.
enum Reading {
    Head,
    Body(Rest),
    /// The body of an answer that says no more than its status.
    Skipped(Rest),
}

struct Rest {
    left: u64,
    head: Head,
}

enum Event {
    Sent(usize),
    Read(usize),
    Changed,
    Quiet,
}

impl Connection<'_> {
    async fn run(mut self) -> Option<Wire> {
        let end = loop {
            if let Err(end) = self.step().await {
                break end;
            }
        };
        let is_done = matches!(end, End::Done);
        self.leave(end);
        while let Some(written) = self.writing.next().await {
            self.settle(written);
        }
        self.ask_unpromised_alone();
        let goes_on = is_done && self.endpoint.pipelines() && !self.is_used_up();
        (goes_on && self.is_between()).then_some(self.wire)
    }

    async fn step(&mut self) -> Result<(), End> {
        let (desk, endpoint) = (self.desk, self.endpoint);
        // Before looking: what changes from here on wakes.
        let mut changed = pin!(desk.changed.notified());
        let mut wanted = pin!(endpoint.line.budget.wanted.notified());
        self.take_more();
        if self.has_nothing_under_way() {
            self.ask_unpromised_alone();
        }
        if self.sent.is_empty() && self.takes_no_more() {
            return Err(End::Done);
        }
        let event = poll_fn(|cx| self.poll_event(cx, changed.as_mut(), wanted.as_mut())).await;
        match event {
            Event::Changed => {}
            Event::Sent(0) | Event::Read(0) => return Err(End::Broken),
            Event::Sent(count) => self.out.advance(count),
            Event::Read(_) => {
                let (mut received, mut end) = (0, Ok(()));
                while let Some(step) = self.understand(&mut received) {
                    end = step;
                    if end.is_err() {
                        break;
                    }
                }
                if received > 0 {
                    endpoint.line.meter.received(received).await;
                    self.await_next();
                }
                return end;
            }
            Event::Quiet => return self.overdue(),
        }
        Ok(())
    }

    fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        changed: Pin<&mut tokio::sync::futures::Notified<'_>>,
        wanted: Pin<&mut tokio::sync::futures::Notified<'_>>,
    ) -> Poll<Event> {
        while let Poll::Ready(Some(written)) = self.writing.poll_next_unpin(cx) {
            self.settle(written);
        }
        if self.has_nothing_under_way() && !self.unpromised.is_empty() {
            return Poll::Ready(Event::Changed);
        }
        if !self.out.is_empty()
            && let Poll::Ready(sent) = Pin::new(&mut self.wire.stream).poll_write(cx, &self.out)
        {
            return Poll::Ready(Event::Sent(sent.unwrap_or(0)));
        }
        if self.unwritten >= UNWRITTEN / self.endpoint.line.max_connections as u64 {
            // Not reading is what slows the sender down; nothing is overdue meanwhile.
            self.await_next();
            return Poll::Pending;
        }
        if let Poll::Ready(read) = self.poll_read(cx) {
            return Poll::Ready(Event::Read(read.unwrap_or(0)));
        }
        let has_room = self.room() > 0;
        if has_room && (changed.poll(cx).is_ready() || wanted.poll(cx).is_ready()) {
            return Poll::Ready(Event::Changed);
        }
        self.poll_quiet(cx)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        self.read.reserve(READ / 2);
        pin!(self.wire.stream.read_buf(&mut self.read)).poll(cx)
    }

    fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if self.sent.is_empty() {
            return Poll::Pending;
        }
        while self.quiet.as_mut().poll(cx).is_ready() {
            if Instant::now() >= self.deadline {
                return Poll::Ready(Event::Quiet);
            }
            let deadline = self.deadline;
            self.quiet.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    fn take_more(&mut self) {
        if self.takes_no_more() {
            return;
        }
        let Some(dialer) = &self.endpoint.dialer else {
            return;
        };
        let pipelining = &self.endpoint.pipelining;
        let room = self.room().min(
            pipelining
                .answers_per_connection()
                .saturating_sub(self.wire.asked),
        );
        let idle = self.sent.is_empty();
        for request in self.desk.take(room, self.sent.len()) {
            self.wire.asked += 1;
            self.endpoint.line.meter.asked();
            dialer.write_request(&request, &mut self.out);
            self.sent.push_back(request);
        }
        if idle && !self.sent.is_empty() {
            self.await_next();
        }
    }

    /// How many requests may leave now. Where others are on the way a few more wait until they are a part of all, and
    /// leave together: each piece that is sent costs both ends.
    fn room(&self) -> usize {
        let depth = self.endpoint.pipelining.depth();
        let room = depth.saturating_sub(self.sent.len());
        if room * PARTS < depth { 0 } else { room }
    }

    fn takes_no_more(&self) -> bool {
        let load = self.desk.load();
        let over = load.closed && load.backlog == 0;
        self.is_used_up() || over || !self.endpoint.pipelines() || self.yields(load)
    }

    fn is_used_up(&self) -> bool {
        self.wire.asked >= self.endpoint.pipelining.answers_per_connection()
    }

    /// Whether what has arrived is understood, to the last byte.
    fn is_between(&self) -> bool {
        matches!(self.reading, Reading::Head) && self.read.is_empty()
    }

    /// Answers since it came here.
    fn answered(&self) -> usize {
        self.wire.answered - self.carried
    }

    /// Whether somebody who waits gets the place of this one. What it leaves behind waits in its turn.
    fn yields(&self, load: Load) -> bool {
        let may = match self.endpoint.line.budget.need() {
            Need::Nobody => return false,
            // That may be large files of the same endpoint, for as long as there are any.
            Need::Lane => load.connections > 1 || self.endpoint.line.max_connections == 1,
            Need::Place => true,
        };
        let is_idle = self.sent.is_empty() && load.backlog == 0;
        is_idle || (may && self.answered() >= BEFORE_YIELDING)
    }

    fn has_nothing_under_way(&self) -> bool {
        self.sent.is_empty() && self.writing.is_empty()
    }

    fn write(&mut self, mut request: Request, head: &Head, promised: Option<usize>) {
        let (size, modified) = (head.length, head.modified);
        self.unwritten += size;
        let written = async move {
            let result = request.sink.finish().await;
            Written {
                request,
                size,
                modified,
                promised,
                result,
            }
        };
        self.writing.push(written.boxed());
    }

    fn settle(&mut self, written: Written) {
        let Written {
            request,
            size,
            modified,
            promised,
            result,
        } = written;
        self.unwritten -= size;
        match result {
            Ok(taken) => {
                self.desk.answer(Answer {
                    id: request.id,
                    result: Ok(Arrival::Complete(Received {
                        digest: taken.digest,
                        size: taken.size,
                        body: taken.body,
                        modified,
                        // What takes this way is never asked for conditionally.
                        validators: Validators::default(),
                    })),
                    sink: request.sink,
                });
                promised
                    .into_iter()
                    .for_each(|answer| self.vouch_before(answer));
            }
            Err(SinkError::Store(problem)) => {
                let error = SinkError::Store(problem).at("");
                self.fail(request, error);
            }
            // It may be the answer to another request.
            Err(_) => {
                self.endpoint
                    .pipelining
                    .stop("a body that is not the promised one");
                self.unpromised.doubt();
                self.desk.send_back(request);
            }
        }
    }

    fn fail(&self, request: Request, error: FetchError) {
        self.desk.answer(Answer {
            id: request.id,
            result: Err(error),
            sink: request.sink,
        });
    }

    /// The status says all that there is to say of it.
    fn refuse(&self, request: Request, head: &Head) {
        let name = self.endpoint.name_of(&request);
        let status = StatusCode::from_u16(head.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self.fail(request, refused(status, head.retry_after, &name));
    }

    /// Nothing has come for too long.
    fn overdue(&mut self) -> Result<(), End> {
        let begun = !matches!(self.reading, Reading::Head) || !self.read.is_empty();
        if !begun && self.sent.len() > 1 {
            return Err(End::Odd("a pipelined request without an answer"));
        }
        if let Some(mut request) = self.sent.pop_front() {
            let name = self.endpoint.name_of(&request);
            request.sink.forget();
            self.fail(request, self.endpoint.stalled(&name));
        }
        Err(End::Odd("an answer that stalls"))
    }

    /// The next answer has the whole time from here on.
    fn await_next(&mut self) {
        let stall = self.endpoint.line.stall;
        let patience = if self.sent.len() > 1 {
            PATIENCE.min(stall)
        } else {
            stall
        };
        self.deadline = Instant::now() + patience;
    }
}
