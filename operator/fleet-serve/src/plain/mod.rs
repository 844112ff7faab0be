//! HTTP/1.1 without TLS: one task for each connection, from the bytes of a request to the bytes of a file. hyper does
//! the same for connections with TLS; this exists because a file can go from the page cache into a plain socket without
//! passing through this process, and because most answers need neither another thread nor an allocation of their size.
//!
//! # What may block
//! Nothing here waits for the disk, or one file that is not in memory would delay everybody on its thread. What a
//! request needs is tried without waiting first (open blobs, snapshots that are open, `RWF_NOWAIT`), and goes to a
//! thread that may block where that fails. `sendfile` has no such mode, so each piece of a large file is asked about
//! before it is sent: where its last byte is in memory the rest was read ahead with it, nearly always.

mod file;
mod head;
mod input;
mod output;
mod receive;
mod registry;
mod send;
mod spare;

use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use fleet_telemetry::Seat;
use http::{HeaderMap, Method, StatusCode};
use rustix::net::SendFlags;
use tokio::net::TcpStream;
use tokio::time::Instant;

use self::head::{Body, Head};
use self::input::{Input, Next};
use self::output::{After, Output};
use self::send::{Line, send_all};
use crate::answer::{Answer, Content, Counted};
use crate::asked::{Asked, Came, Later, MOST_WAITS, NotNow};
use crate::blobs::Blob;
use crate::body::InFlight;
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::connection::Respond;
use crate::limits::HEAD_TIMEOUT;
use crate::read::{read_at_hand, read_patiently};
use crate::registry::Registries;
use crate::transaction::Way;

/// Files up to this size are copied behind their heads, which is cheaper than a second system call.
const SMALL: u64 = 32 * 1024;
/// Longer request bodies are not worth reading: the connection ends.
const SKIPPED: u64 = 64 * 1024;

struct Connection {
    catalog: Arc<Catalog>,
    respond: Respond,
    registries: Option<Registries>,
    stream: TcpStream,
    peer: IpAddr,
    input: Input,
    output: Output,
    clock: Clock,
    /// When a head must have come; set while one is waited for.
    head_due: Option<Instant>,
    seat: Seat,
}

/// Answers the requests of a connection until one side ends it, or it has to leave its seat. Then no further request is
/// answered.
pub async fn serve(
    catalog: Arc<Catalog>,
    respond: Respond,
    registries: Option<Registries>,
    (stream, peer): (TcpStream, IpAddr),
    seat: Seat,
) {
    let connection = Connection {
        catalog,
        respond,
        registries,
        stream,
        peer,
        input: Input::default(),
        output: Output::default(),
        clock: Clock::new(HEAD_TIMEOUT),
        head_due: None,
        seat,
    };
    if let Err(error) = connection.run().await {
        tracing::debug!(%error, "a connection ended early");
    }
}

impl Connection {
    async fn run(mut self) -> io::Result<()> {
        loop {
            match self.input.next() {
                Next::Head(head) => {
                    self.head_due = None;
                    if self.answer(head).await? == After::Close {
                        return self.close().await;
                    }
                }
                Next::Refused(status) => {
                    self.refuse(status);
                    return self.close().await;
                }
                Next::NeedsMore => {
                    self.flush(SendFlags::empty()).await?;
                    let due = match self.head_due {
                        Some(due) => due,
                        None => {
                            let now = Instant::now();
                            self.seat.mark().idle(now);
                            *self.head_due.insert(now + HEAD_TIMEOUT)
                        }
                    };
                    if !self.read(due).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn answer(&mut self, head: Box<Head>) -> io::Result<After> {
        let started = Instant::now();
        self.seat.mark().busy(started);
        let registries = self.registries.as_ref();
        let is_of_registry =
            registries.is_some_and(|registries| registries.find(head.uri.path()).is_some());
        let (head, counted) = match is_of_registry {
            true => self.ask_registry(head, started).await?,
            false => self.find_answer(head, started).await?,
        };
        let (answer, request) = InFlight::begin(&head.method, counted, started);
        let after = self.after(&head);
        match &answer.content {
            _ if head.method == Method::HEAD => self.collect(&head, &answer, &[], after, request),
            Content::Bytes(bytes) if bytes.len() as u64 <= SMALL => {
                self.collect(&head, &answer, bytes, after, request);
            }
            Content::Bytes(bytes) => {
                self.output
                    .push_head(answer.status, &answer.headers, &head, after);
                self.send_page(bytes, request).await?;
            }
            Content::File { blob, range } if range.end - range.start <= SMALL => {
                self.collect_file(&head, &answer, blob, range, after, request)
                    .await?;
            }
            Content::File { blob, range } => {
                self.output
                    .push_head(answer.status, &answer.headers, &head, after);
                self.send_file(blob, range, request).await?;
            }
            Content::Growing { growing, range } => {
                self.output
                    .push_head(answer.status, &answer.headers, &head, after);
                self.send_growing(growing.clone(), range.clone(), request)
                    .await?;
            }
        }
        if self.output.is_enough() {
            self.flush(SendFlags::empty()).await?;
        }
        self.input.recycle(head.headers);
        match (after, head.body) {
            (After::GoOn, Body::Length(length)) => self.skip(length).await,
            _ => Ok(After::Close),
        }
    }

    /// On this thread where nothing has to be waited for.
    async fn find_answer(
        &mut self,
        head: Box<Head>,
        started: Instant,
    ) -> io::Result<(Box<Head>, Counted)> {
        let at = started.into_std();
        let (respond, peer) = (self.respond, self.peer);
        if let Ok(counted) = respond(&self.catalog, asked(&head, peer, at, None)) {
            return Ok((head, counted));
        }
        // Nobody waits for the disk because of a later request.
        self.flush(SendFlags::empty()).await?;
        let (mut head, mut came) = (head, None);
        for _ in 0..=MOST_WAITS {
            let (same, found) = self.find_patiently(head, came).await?;
            head = same;
            came = match found {
                Ok(counted) => return Ok((head, counted)),
                Err(NotNow::Later(later)) => Some(self.wait_for(later).await?),
                Err(NotNow::NeedsDisk) => break,
            };
        }
        Ok((head, self.catalog.unanswered()))
    }

    /// By a thread that may wait for the disk.
    async fn find_patiently(
        &mut self,
        head: Box<Head>,
        came: Option<Came>,
    ) -> io::Result<(Box<Head>, Result<Counted, NotNow>)> {
        let (respond, peer, catalog) = (self.respond, self.peer, self.catalog.clone());
        let finding = tokio::task::spawn_blocking(move || {
            let now = Instant::now().into_std();
            let found = respond(&catalog, asked(&head, peer, now, Some(came.as_ref())));
            (head, found)
        });
        finding.await.map_err(|error| {
            tracing::error!(%error, "a request could not be answered");
            io::Error::other(error)
        })
    }

    /// What is being fetched. Whoever needs the seat more may have it: the fetch goes on without us.
    async fn wait_for(&mut self, later: Later) -> io::Result<Came> {
        self.seat.mark().busy(Instant::now());
        tokio::select! {
            came = later.come() => Ok(came),
            () = self.seat.evicted() => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn after(&self, head: &Head) -> After {
        let body_is_short = matches!(head.body, Body::Length(length) if length <= SKIPPED);
        match head.keep_alive && body_is_short && !self.seat.is_leaving() {
            true => After::GoOn,
            false => After::Close,
        }
    }

    /// Puts an answer that is in memory behind the others.
    fn collect(
        &mut self,
        head: &Head,
        answer: &Answer,
        bytes: &[u8],
        after: After,
        mut request: InFlight,
    ) {
        self.output
            .push_head(answer.status, &answer.headers, head, after);
        self.output.bytes.extend_from_slice(bytes);
        request.sent(bytes.len() as u64);
        self.output.answered(request);
    }

    /// Puts a small file behind the others. Its head is only kept if its bytes can be read.
    async fn collect_file(
        &mut self,
        head: &Head,
        answer: &Answer,
        blob: &Arc<Blob>,
        range: &Range<u64>,
        after: After,
        mut request: InFlight,
    ) -> io::Result<()> {
        let out = &mut self.output;
        let before = out.bytes.len();
        out.push_head(answer.status, &answer.headers, head, after);
        let begin = out.bytes.len();
        let length = range.end - range.start;
        out.bytes.resize(begin + length as usize, 0);
        let read = read_at_hand(blob, &mut out.bytes[begin..], range.start);
        let read = match read {
            Ok(true) => Ok(()),
            Ok(false) => read_patiently(blob, range.clone())
                .await
                .map(|bytes| out.bytes[begin..].copy_from_slice(&bytes)),
            Err(error) => Err(error),
        };
        match read {
            Ok(()) => {
                request.sent(length);
                self.output.answered(request);
            }
            Err(error) => {
                out.bytes.truncate(before);
                let answer = Answer::unreadable(&error);
                request.becomes(answer.status);
                self.collect(head, &answer, &answer.bytes(), after, request);
            }
        }
        Ok(())
    }

    /// Sends what has been collected, the head of this page last, and then the page, of which there is no second copy.
    async fn send_page(&mut self, page: &[u8], mut request: InFlight) -> io::Result<()> {
        self.flush(SendFlags::MORE).await?;
        send_all(self.line(), page, SendFlags::empty()).await?;
        request.sent(page.len() as u64);
        Ok(())
    }

    fn refuse(&mut self, status: StatusCode) {
        let answer = Answer::text(status, "this is not a request that can be answered");
        let asked = Head {
            method: Method::GET,
            uri: http::Uri::default(),
            headers: HeaderMap::new(),
            is_http_10: false,
            keep_alive: false,
            body: Body::Unread,
        };
        self.output
            .push_head(answer.status, &answer.headers, &asked, After::Close);
        self.output.bytes.extend_from_slice(&answer.bytes());
    }

    async fn flush(&mut self, flags: SendFlags) -> io::Result<()> {
        if !self.output.bytes.is_empty() {
            let (line, output) = self.split();
            send_all(line, &output.bytes, flags).await?;
            output.sent();
        }
        Ok(())
    }

    fn line(&mut self) -> Line<'_> {
        self.split().0
    }

    fn split(&mut self) -> (Line<'_>, &mut Output) {
        let line = Line {
            stream: &self.stream,
            clock: &mut self.clock,
            seat: &mut self.seat,
        };
        (line, &mut self.output)
    }
}

/// `patient` where it may wait for the disk, with what came of what it waited for.
fn asked<'a>(
    head: &'a Head,
    peer: IpAddr,
    at: std::time::Instant,
    patient: Option<Option<&'a Came>>,
) -> Asked<'a> {
    Asked {
        method: &head.method,
        path: head.uri.path(),
        headers: &head.headers,
        way: Way {
            authority: head.uri.authority().map(|authority| authority.as_str()),
            secure: false,
        },
        peer,
        at,
        may_block: patient.is_some(),
        came: patient.flatten(),
    }
}
