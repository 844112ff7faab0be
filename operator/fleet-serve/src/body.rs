//! How an answer's bytes reach a connection of hyper's, which is one with TLS: files are read in large pieces on threads that may block, one piece
//! ahead of what the client has taken.

use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use fleet_telemetry::MirrorTraffic;
use http::{HeaderMap, Method, Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::answer::{Answer, Content, Counted};
use crate::blobs::Blob;

/// Bytes of one read. With one piece ahead a connection holds at most twice this.
pub const PIECE: u64 = 256 * 1024;

/// The body of a response, and the request's entry in the metrics, which ends with it.
pub struct AnswerBody {
    source: Source,
    request: InFlight,
}

enum Source {
    Bytes(Option<Bytes>),
    File(FileSource),
}

struct FileSource {
    blob: Arc<Blob>,
    /// Where the next read starts, and where the body ends.
    next: u64,
    end: u64,
    /// Bytes that the client has not been given.
    left: u64,
    /// What was read before the response began.
    first: Option<Bytes>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
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
    pub fn begin(traffic: Arc<MirrorTraffic>, started: Instant, status: StatusCode) -> InFlight {
        traffic.begin();
        InFlight {
            traffic,
            started,
            status: status.as_u16(),
            sent: 0,
        }
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

/// An answer whose first bytes are in memory, so that a small file costs no second hop between threads.
pub struct Prepared {
    status: StatusCode,
    headers: HeaderMap,
    source: Source,
    request: InFlight,
}

/// Reads the first piece of a file. Blocks on the disk.
pub fn prepare(method: &Method, counted: Counted, started: Instant) -> Prepared {
    let Counted { answer, traffic } = counted;
    let mut request = InFlight::begin(traffic, started, answer.status);
    let (answer, source) = match answer.content {
        _ if method == Method::HEAD => (answer.without_content(), Source::Bytes(None)),
        Content::Bytes(ref bytes) => {
            let bytes = Some(bytes.clone()).filter(|bytes| !bytes.is_empty());
            (answer, Source::Bytes(bytes))
        }
        Content::File {
            ref blob,
            ref range,
        } => match FileSource::begin(blob, range) {
            Ok(source) => (answer, Source::File(source)),
            Err(error) => {
                let answer = Answer::unreadable(&error);
                request.becomes(answer.status);
                let source = Source::Bytes(Some(answer.bytes()));
                (answer, source)
            }
        },
    };
    Prepared {
        status: answer.status,
        headers: answer.headers,
        source,
        request,
    }
}

impl Prepared {
    pub fn into_response(self) -> Response<AnswerBody> {
        let mut response = Response::new(AnswerBody {
            source: self.source,
            request: self.request,
        });
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

impl FileSource {
    fn begin(blob: &Arc<Blob>, range: &Range<u64>) -> io::Result<FileSource> {
        let next = range.end.min(range.start.saturating_add(PIECE));
        Ok(FileSource {
            blob: blob.clone(),
            next,
            end: range.end,
            left: range.end.saturating_sub(range.start),
            first: Some(read_piece(blob, range.start..next)?),
            reading: None,
        })
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let read = match self.first.take() {
            Some(bytes) => Ok(bytes),
            None => {
                let reading = self
                    .reading
                    .get_or_insert_with(|| read_ahead(&self.blob, &mut self.next, self.end));
                ready!(Pin::new(reading).poll(context))
                    .unwrap_or_else(|error| Err(io::Error::other(error)))
            }
        };
        self.reading = None;
        if let Ok(bytes) = &read {
            self.left = self.left.saturating_sub(bytes.len() as u64);
            if self.next < self.end {
                self.reading = Some(read_ahead(&self.blob, &mut self.next, self.end));
            }
        }
        Poll::Ready(Some(read))
    }
}

fn read_ahead(blob: &Arc<Blob>, next: &mut u64, end: u64) -> JoinHandle<io::Result<Bytes>> {
    let (blob, start) = (blob.clone(), *next);
    let until = end.min(start.saturating_add(PIECE));
    *next = until;
    tokio::task::spawn_blocking(move || read_piece(&blob, start..until))
}

/// Exactly these bytes; an error if the file ends before. Blocks on the disk.
pub fn read_piece(blob: &Blob, range: Range<u64>) -> io::Result<Bytes> {
    let length =
        usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
    let mut piece = vec![0; length];
    blob.file.read_exact_at(&mut piece, range.start)?;
    Ok(piece.into())
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = match &mut self.source {
            Source::Bytes(bytes) => bytes.take().map(Ok),
            Source::File(file) => ready!(file.poll_piece(context)),
        };
        if let Some(Ok(bytes)) = &piece {
            self.request.sent(bytes.len() as u64);
        }
        Poll::Ready(piece.map(|read| read.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Bytes(bytes) => bytes.is_none(),
            Source::File(file) => file.left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.source {
            Source::Bytes(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Source::File(file) => file.left,
        })
    }
}
