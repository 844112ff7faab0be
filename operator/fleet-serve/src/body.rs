//! How an answer's bytes reach the connection: files are read in large pieces on threads that may block, one piece
//! ahead of what the client has taken.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use fleet_telemetry::MirrorTraffic;
use http::{Method, Response};
use hyper::body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::answer::{Answer, Content, Counted};

/// Bytes of one read. With one piece ahead a connection holds at most twice this.
const PIECE: u64 = 256 * 1024;

/// The body of a response, and the request's entry in the metrics, which ends with it.
pub struct AnswerBody {
    source: Source,
    /// Counts the request when it is dropped, whether or not the client took everything.
    _request: Option<InFlight>,
    sent: Arc<AtomicU64>,
}

enum Source {
    Bytes(Option<Bytes>),
    File(FileSource),
}

struct FileSource {
    file: Arc<File>,
    /// Where the next read starts, and where the body ends.
    next: u64,
    end: u64,
    /// Bytes that the client has not been given.
    left: u64,
    /// What was read before the response began.
    first: Option<Bytes>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

/// A request that is being answered.
pub struct InFlight {
    traffic: Arc<MirrorTraffic>,
    started: Instant,
    status: u16,
    sent: Arc<AtomicU64>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let sent = self.sent.load(Ordering::Relaxed);
        self.traffic
            .end(self.status, sent, self.started.elapsed().as_secs_f64());
    }
}

/// An answer whose first bytes are in memory, so that a small file costs no second hop between threads.
pub struct Prepared {
    answer: Answer,
    rest: Option<FileSource>,
    traffic: Arc<MirrorTraffic>,
    started: Instant,
}

/// Reads the first piece of a file. Blocks on the disk.
pub fn prepare(method: &Method, counted: Counted, started: Instant) -> Prepared {
    let Counted { answer, traffic } = counted;
    traffic.begin();
    let prepared = |answer, rest| Prepared {
        answer,
        rest,
        traffic,
        started,
    };
    if method == Method::HEAD {
        return prepared(
            Answer {
                content: Content::Bytes(Bytes::new()),
                ..answer
            },
            None,
        );
    }
    let Answer {
        status,
        headers,
        content,
    } = answer;
    let (file, range) = match content {
        Content::File { file, range } => (file, range),
        content @ Content::Bytes(_) => {
            return prepared(
                Answer {
                    status,
                    headers,
                    content,
                },
                None,
            );
        }
    };
    let first = range.start..range.end.min(range.start.saturating_add(PIECE));
    match read_piece(&file, first.start, first.end) {
        Ok(bytes) => {
            let rest = (first.end < range.end).then(|| FileSource {
                file: Arc::new(file),
                next: first.end,
                end: range.end,
                left: range.end.saturating_sub(range.start),
                first: None,
                reading: None,
            });
            prepared(
                Answer {
                    status,
                    headers,
                    content: Content::Bytes(bytes),
                },
                rest,
            )
        }
        Err(error) => {
            tracing::error!(%error, "a blob could not be read");
            prepared(
                Answer::unavailable("this file cannot be read from the mirror's disk"),
                None,
            )
        }
    }
}

impl Prepared {
    pub fn into_response(self) -> Response<AnswerBody> {
        let Prepared {
            answer,
            rest,
            traffic,
            started,
        } = self;
        let sent = Arc::new(AtomicU64::new(0));
        let request = InFlight {
            traffic,
            started,
            status: answer.status.as_u16(),
            sent: sent.clone(),
        };
        let first = match answer.content {
            Content::Bytes(bytes) => bytes,
            // `prepare` has replaced it.
            Content::File { .. } => Bytes::new(),
        };
        let source = match rest {
            None => Source::Bytes(Some(first).filter(|bytes| !bytes.is_empty())),
            Some(mut rest) => {
                rest.first = Some(first);
                Source::File(rest)
            }
        };
        let mut response = Response::new(AnswerBody {
            source,
            _request: Some(request),
            sent,
        });
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        response
    }
}

impl AnswerBody {
    fn count(&self, bytes: &Bytes) {
        self.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }
}

impl FileSource {
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let read = match self.first.take() {
            Some(bytes) => Ok(bytes),
            None => {
                let reading = self
                    .reading
                    .get_or_insert_with(|| read_ahead(&self.file, &mut self.next, self.end));
                ready!(Pin::new(reading).poll(context))
                    .unwrap_or_else(|error| Err(io::Error::other(error)))
            }
        };
        self.reading = None;
        if let Ok(bytes) = &read {
            self.left = self.left.saturating_sub(bytes.len() as u64);
            if self.next < self.end {
                self.reading = Some(read_ahead(&self.file, &mut self.next, self.end));
            }
        }
        Poll::Ready(Some(read))
    }
}

fn read_ahead(file: &Arc<File>, next: &mut u64, end: u64) -> JoinHandle<io::Result<Bytes>> {
    let (file, start) = (file.clone(), *next);
    let until = end.min(start.saturating_add(PIECE));
    *next = until;
    tokio::task::spawn_blocking(move || read_piece(&file, start, until))
}

/// Exactly these bytes; an error if the file ends before.
fn read_piece(file: &File, start: u64, end: u64) -> io::Result<Bytes> {
    let length = usize::try_from(end.saturating_sub(start)).map_err(io::Error::other)?;
    let mut piece = vec![0; length];
    file.read_exact_at(&mut piece, start)?;
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
            self.count(bytes);
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
