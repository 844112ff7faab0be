//! How an answer's bytes reach a connection of hyper's, which is HTTP/1.1 with TLS: files are read piece by piece as the
//! client takes them. And the entry of each request in the metrics, however it is answered.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use fleet_origin::Growing;
use fleet_telemetry::{Mark, MirrorTraffic};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Method, Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::answer::{Answer, Content, Counted};
use crate::asked::NeedsDisk;
use crate::blobs::Blob;
use crate::headers::Headers;
use crate::read::{next_piece, read_piece, read_piece_at_hand};

/// Bytes of one read; with one being sent a connection holds at most twice this.
const PIECE: u64 = 64 * 1024;

/// Bytes of answers that are in memory (listings, small files) and wait for their clients, for all connections together.
static WAITING: Semaphore = Semaphore::const_new(64 * 1024 * 1024);
/// Shorter listings are not worth counting.
const SMALL_PAGE: usize = 64 * 1024;
/// Files up to this size are read before their heads are sent, so that no second read is needed for the bytes.
const SMALL_FILE: u64 = 16 * 1024;

/// Bytes with their share of [`WAITING`], until the last of them has gone.
struct Waiting(
    Bytes,
    #[expect(dead_code, reason = "what counts is when it is dropped")] SemaphorePermit<'static>,
);

impl AsRef<[u8]> for Waiting {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A request that is being answered. It is counted when this is dropped, whether or not the client took everything.
pub struct InFlight {
    traffic: Arc<MirrorTraffic>,
    started: Instant,
    status: u16,
    /// Bytes of the body that the connection was given.
    sent: u64,
}

impl InFlight {
    /// Begins to answer `method`; with another answer where too many large ones wait for their clients already.
    pub fn begin(method: &Method, counted: Counted, started: Instant) -> (Answer, InFlight) {
        let Counted {
            mut answer,
            traffic,
        } = counted;
        if let Content::Bytes(bytes) = &mut answer.content
            && bytes.len() > SMALL_PAGE
            && method != Method::HEAD
        {
            match room(bytes.len() as u64) {
                Some(room) => *bytes = Bytes::from_owner(Waiting(std::mem::take(bytes), room)),
                None => answer = Answer::unavailable("too many long listings are being sent"),
            }
        }
        traffic.begin();
        let request = InFlight {
            traffic,
            started,
            status: answer.status.as_u16(),
            sent: 0,
        };
        (answer, request)
    }

    pub fn sent(&mut self, bytes: u64) {
        self.sent = self.sent.saturating_add(bytes);
    }

    /// What is sent is another answer than was planned.
    pub fn becomes(&mut self, status: StatusCode) {
        self.status = status.as_u16();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.traffic
            .end(self.status, self.sent, self.started.elapsed().as_secs_f64());
    }
}

fn room(bytes: u64) -> Option<SemaphorePermit<'static>> {
    WAITING.try_acquire_many(u32::try_from(bytes).ok()?).ok()
}

/// Begins to answer, with another answer where the file is not what it was: once the head is sent, all that is left to
/// do about it is to cut the connection. So a small file is read here, as long as there is room for it, and the last byte
/// of others. `Err` where the disk would have to be waited for and that must not be.
pub fn prepare(
    method: &Method,
    mut counted: Counted,
    started: Instant,
    may_block: bool,
) -> Result<(Answer, InFlight), NeedsDisk> {
    if let Content::File { blob, range } = &counted.answer.content
        && method != Method::HEAD
        && range.start < range.end
    {
        let length = range.end - range.start;
        let room = (length <= SMALL_FILE).then(|| room(length)).flatten();
        let wanted = match room {
            Some(_) => range.clone(),
            None => range.end - 1..range.end,
        };
        let read = match read_piece_at_hand(blob, wanted.clone()) {
            Ok(None) if may_block => read_piece(blob, wanted),
            Ok(None) => return Err(NeedsDisk),
            Ok(Some(bytes)) => Ok(bytes),
            Err(error) => Err(error),
        };
        match (read, room) {
            (Ok(bytes), Some(room)) => {
                counted.answer.content = Content::Bytes(Bytes::from_owner(Waiting(bytes, room)));
            }
            (Ok(_), None) => {}
            (Err(error), _) => counted.answer = Answer::unreadable(&error),
        }
    }
    Ok(InFlight::begin(method, counted, started))
}

/// The body of a response; the request ends with it.
pub struct AnswerBody {
    source: Source,
    request: InFlight,
    mark: Mark,
}

enum Source {
    Bytes(Option<Bytes>),
    File(FileSource),
    Growing(GrowingSource),
}

struct GrowingSource {
    growing: Growing,
    /// What the client has not been given.
    left: Range<u64>,
    /// While it is waited for.
    coming: Option<BoxFuture<'static, io::Result<Bytes>>>,
}

struct FileSource {
    blob: Arc<Blob>,
    /// What the client has not been given.
    left: Range<u64>,
    /// While the disk is waited for.
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

/// The response for hyper; `mark` is told what the client takes.
pub fn response(
    method: &Method,
    answer: Answer,
    request: InFlight,
    mark: Mark,
) -> Response<AnswerBody> {
    let Answer {
        status,
        headers,
        content,
    } = answer;
    let source = match content {
        _ if method == Method::HEAD => Source::Bytes(None),
        Content::Bytes(bytes) => Source::Bytes(Some(bytes).filter(|bytes| !bytes.is_empty())),
        Content::File { blob, range } => Source::File(FileSource {
            blob,
            left: range,
            reading: None,
        }),
        Content::Growing { growing, range } => Source::Growing(GrowingSource {
            growing,
            left: range,
            coming: None,
        }),
    };
    with_head(
        status,
        headers,
        AnswerBody {
            source,
            request,
            mark,
        },
    )
}

fn with_head<B>(status: StatusCode, headers: Headers, body: B) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers.into();
    response
}

impl FileSource {
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let piece = self.left.start..self.left.end.min(self.left.start + PIECE);
        let read = match &mut self.reading {
            Some(reading) => ready!(Pin::new(reading).poll(context))
                .unwrap_or_else(|error| Err(io::Error::other(error))),
            None => match read_piece_at_hand(&self.blob, piece.clone()) {
                Ok(Some(bytes)) => Ok(bytes),
                Ok(None) => {
                    let blob = self.blob.clone();
                    let read = move || read_piece(&blob, piece);
                    self.reading = Some(tokio::task::spawn_blocking(read));
                    return self.poll_piece(context);
                }
                Err(error) => Err(error),
            },
        };
        self.reading = None;
        if let Ok(bytes) = &read {
            self.left.start = self.left.start.saturating_add(bytes.len() as u64);
        }
        Poll::Ready(Some(read))
    }
}

impl GrowingSource {
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let (mut growing, left) = (self.growing.clone(), self.left.clone());
        let begin = || async move { next_piece(&mut growing, left, PIECE).await }.boxed();
        let coming = self.coming.get_or_insert_with(begin);
        let read = ready!(coming.as_mut().poll(context));
        self.coming = None;
        if let Ok(bytes) = &read {
            self.left.start = self.left.start.saturating_add(bytes.len() as u64);
        }
        Poll::Ready(Some(read))
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.mark.idle(Instant::now());
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let piece = match &mut this.source {
            Source::Bytes(bytes) => bytes.take().map(Ok),
            Source::File(file) => ready!(file.poll_piece(context)),
            Source::Growing(growing) => ready!(growing.poll_piece(context)),
        };
        if let Some(Ok(bytes)) = &piece {
            this.request.sent(bytes.len() as u64);
            this.mark.busy(Instant::now());
        }
        Poll::Ready(piece.map(|read| read.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Bytes(bytes) => bytes.is_none(),
            Source::File(file) => file.left.is_empty(),
            Source::Growing(growing) => growing.left.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.source {
            Source::Bytes(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Source::File(FileSource { left, .. }) | Source::Growing(GrowingSource { left, .. }) => {
                left.end.saturating_sub(left.start)
            }
        })
    }
}
