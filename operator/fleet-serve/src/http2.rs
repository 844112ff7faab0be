//! h2: many answers share a connection. Its socket may take bytes for ever while no stream has room for any, so what is
//! watched here is each stream: nothing is read before its client has a window for it, and a client that gives none for
//! too long loses the stream.

mod gather;

use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use fleet_origin::Growing;
use fleet_telemetry::{Mark, Seat};
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::header::DATE;
use http::request::Parts;
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use self::gather::Gathered;
use crate::answer::{Answer, Content};
use crate::blobs::Blob;
use crate::body::InFlight;
use crate::clock::Clock;
use crate::date;
use crate::limits::MAX_HEAD_BYTES;
use crate::read::{next_piece, read_patiently, read_piece_at_hand};
use crate::room::{PIECE_BYTES, Room, Taken};

/// Streams of one connection at once. RFC 9113 asks for no less than 100.
const MAX_STREAMS: u32 = 100;
/// What a client must take of an answer within each stall timeout, if there is so much left.
const PROGRESS_BYTES: u64 = 4 * 1024;

/// What all connections share, and how long their clients may take.
#[derive(Clone)]
pub struct Limits {
    /// For the preface, and for the next request where none is being answered.
    pub idle: Duration,
    pub stall: Duration,
    /// Bytes that wait for their clients, see [`Room`].
    pub bytes: Arc<Semaphore>,
    /// Streams beside the first of each connection: each may hold a file open.
    pub streams: Arc<Semaphore>,
}

/// Finds answers. `Err` is a reason of our own.
pub trait Answers: Clone + Send + Sync + 'static {
    fn answer(&self, head: Parts) -> impl Future<Output = (Answer, InFlight)> + Send;
}

/// Answers the requests of a connection until one side ends it, or somebody else needs its place. After `shutdown` no
/// further request is answered.
pub async fn serve<S, A>(
    stream: S,
    answers: A,
    limits: Limits,
    mut seat: Seat,
    shutdown: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Answers,
{
    let served = tokio::select! {
        served = run(stream, answers, limits, seat.mark().clone(), shutdown) => served,
        () = seat.evicted() => return,
    };
    if let Err(error) = served {
        tracing::debug!(%error, "an h2 connection ended early");
    }
}

async fn run<S, A>(
    stream: S,
    answers: A,
    limits: Limits,
    mark: Mark,
    shutdown: CancellationToken,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Answers,
{
    let gathered = Gathered::new(stream);
    let handshake = h2::server::Builder::new()
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .max_send_buffer_size(PIECE_BYTES)
        .handshake::<_, Bytes>(gathered.clone());
    let Ok(connection) = timeout(limits.idle, handshake).await else {
        return Ok(());
    };
    let mut connection = connection.map_err(io::Error::other)?;
    let mut clock = Clock::new(limits.idle);
    let mut idle_until = Instant::now() + limits.idle;
    let own = Own {
        room: Room::new(limits.bytes.clone()),
        first: Arc::new(Semaphore::new(1)),
        limits,
        mark,
    };
    let mut streams = JoinSet::new();
    let mut is_ending = false;
    loop {
        // Requests before all else: while there are any nothing has to be waited for, and nothing is sent.
        tokio::select! {
            biased;
            accepted = next(&mut connection, &gathered) => match accepted? {
                Some((request, respond)) => {
                    own.mark.busy(Instant::now());
                    let head = request.into_parts().0;
                    let mut stream = Box::pin(own.clone().stream(answers.clone(), head, respond));
                    // Most answers wait for nothing, and a task costs more than they do.
                    let mut waits = |context: &mut Context<'_>| stream.as_mut().poll(context).is_pending();
                    if poll_fn(|context| Poll::Ready(waits(context))).await {
                        streams.spawn(stream);
                    } else if streams.is_empty() {
                        idle_until = own.rest();
                    }
                }
                None => return Ok(()),
            },
            Some(_) = streams.join_next() => {
                if streams.is_empty() {
                    idle_until = own.rest();
                }
            }
            () = shutdown.cancelled(), if !is_ending => {
                is_ending = true;
                connection.graceful_shutdown();
            }
            () = poll_fn(|context| clock.poll(context, idle_until)), if streams.is_empty() => {
                // What was sent may still be on its way.
                if !connection.has_streams() {
                    return farewell(connection, own.limits.stall).await;
                }
                idle_until = Instant::now() + own.limits.idle;
            }
        }
    }
}

/// The next request. Where there is none, what was answered so far is sent.
async fn next<S>(
    connection: &mut Connection<Gathered<S>, Bytes>,
    gathered: &Gathered<S>,
) -> io::Result<Option<(Request<RecvStream>, SendResponse<Bytes>)>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    poll_fn(|context| match connection.poll_accept(context) {
        Poll::Ready(accepted) => Poll::Ready(accepted.transpose().map_err(io::Error::other)),
        Poll::Pending => match gathered.poll_send(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Pending,
        },
    })
    .await
}

/// Tells the client that the connection ends.
async fn farewell<S>(mut connection: Connection<S, Bytes>, limit: Duration) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    connection.abrupt_shutdown(Reason::NO_ERROR);
    let closing = poll_fn(|context| connection.poll_closed(context));
    let closed = timeout(limit, closing).await.unwrap_or(Ok(()));
    closed.map_err(io::Error::other)
}

/// What the streams of one connection share.
#[derive(Clone)]
struct Own {
    room: Room,
    /// Every connection has one stream that waits for no other connection's.
    first: Arc<Semaphore>,
    limits: Limits,
    mark: Mark,
}

impl Own {
    /// Nothing is being answered from now on; until when the next request must have come.
    fn rest(&self) -> Instant {
        let now = Instant::now();
        self.mark.idle(now);
        now + self.limits.idle
    }

    async fn stream<A: Answers>(self, answers: A, head: Parts, mut respond: SendResponse<Bytes>) {
        let Ok(_place) = timeout(self.limits.stall, self.place()).await else {
            // The client may ask again: nothing was done for it.
            return respond.send_reset(Reason::REFUSED_STREAM);
        };
        let is_head = head.method == http::Method::HEAD;
        let (answer, request) = answers.answer(head).await;
        let is_empty = is_head || answer.content.len() == 0;
        let mut response = Response::new(());
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers.into();
        response.headers_mut().insert(DATE, date::now());
        let Ok(mut stream) = respond.send_response(response, is_empty) else {
            return;
        };
        if is_empty {
            return;
        }
        if let Err(error) = self.send(&mut stream, &answer.content, request).await {
            tracing::debug!(%error, "an h2 stream ended early");
            stream.send_reset(match error.kind() {
                io::ErrorKind::TimedOut => Reason::CANCEL,
                _ => Reason::INTERNAL_ERROR,
            });
        }
    }

    /// Leave to answer one request.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(first) = self.first.clone().try_acquire_owned() {
            return Some(first);
        }
        tokio::select! {
            first = self.first.clone().acquire_owned() => first.ok(),
            more = self.limits.streams.clone().acquire_owned() => more.ok(),
        }
    }

    /// Sends everything, never reading more than the client has a window for.
    async fn send(
        &self,
        stream: &mut SendStream<Bytes>,
        content: &Content,
        mut request: InFlight,
    ) -> io::Result<()> {
        if let Content::Growing { growing, range } = content {
            let (growing, left) = (growing.clone(), range.clone());
            return self.send_growing(stream, growing, left, request).await;
        }
        let length = content.len();
        let (mut at, mut due, mut progress) = (0, Instant::now() + self.limits.stall, 0);
        while at < length {
            let wanted = usize::try_from(length - at).map_or(PIECE_BYTES, |n| n.min(PIECE_BYTES));
            let room = async {
                let window = window(stream, wanted).await?.min(wanted);
                // What is in memory needs no more of it.
                let taken = match content {
                    Content::Bytes(_) => None,
                    Content::File { .. } | Content::Growing { .. } => {
                        Some(self.room.take(window).await.ok_or_else(gone)?)
                    }
                };
                Ok::<_, io::Error>((taken.as_ref().map_or(window, |taken| taken.bytes), taken))
            };
            let (count, taken) = timeout_at(due, room).await.map_err(|_| stalled())??;
            let until = length.min(at + count as u64);
            let piece = match content {
                Content::Bytes(bytes) => bytes.slice(at as usize..until as usize),
                Content::File { blob, range } => {
                    let bytes = read(blob, range.start + at..range.start + until).await?;
                    Bytes::from_owner(Held(bytes, taken))
                }
                // Sent by other steps.
                Content::Growing { .. } => return Err(gone()),
            };
            let sent = until - at;
            stream
                .send_data(piece, until == length)
                .map_err(io::Error::other)?;
            request.sent(sent);
            at = until;
            progress += sent;
            if progress >= PROGRESS_BYTES {
                progress = 0;
                let now = Instant::now();
                due = now + self.limits.stall;
                self.mark.busy(now);
            }
        }
        Ok(())
    }

    /// Sends what is on its way as it comes; where it turns out to be wrong the stream is reset before its end.
    async fn send_growing(
        &self,
        stream: &mut SendStream<Bytes>,
        mut growing: Growing,
        mut left: Range<u64>,
        mut request: InFlight,
    ) -> io::Result<()> {
        while !left.is_empty() {
            // Who is waited for here is whoever fetches.
            let mut piece = next_piece(&mut growing, left.clone(), PIECE_BYTES as u64).await?;
            self.mark.busy(Instant::now());
            left.start += piece.len() as u64;
            while !piece.is_empty() {
                let taking = timeout(self.limits.stall, window(stream, piece.len()));
                let count = taking.await.map_err(|_| stalled())??.min(piece.len());
                let is_last = left.is_empty() && count == piece.len();
                stream
                    .send_data(piece.split_to(count), is_last)
                    .map_err(io::Error::other)?;
                request.sent(count as u64);
            }
        }
        Ok(())
    }
}

/// Bytes on their way, and the room that they take until they have gone.
struct Held(
    Bytes,
    #[expect(dead_code, reason = "what counts is when it is dropped")] Option<Taken>,
);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// How many bytes the client takes now; waits until it takes any.
async fn window(stream: &mut SendStream<Bytes>, wanted: usize) -> io::Result<usize> {
    stream.reserve_capacity(wanted);
    poll_fn(|context| {
        loop {
            if stream.capacity() > 0 {
                return Poll::Ready(Ok(stream.capacity()));
            }
            match ready!(stream.poll_capacity(context)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Err(gone())),
            }
        }
    })
    .await
}

async fn read(blob: &Arc<Blob>, range: Range<u64>) -> io::Result<Bytes> {
    match read_piece_at_hand(blob, range.clone())? {
        Some(bytes) => Ok(bytes),
        None => read_patiently(blob, range).await,
    }
}

fn stalled() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client takes no data")
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the client has gone")
}

#[cfg(test)]
mod tests;
