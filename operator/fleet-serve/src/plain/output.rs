//! Answers on their way into a socket: heads and small bodies are collected and sent together, large files go from the
//! page cache into the socket without passing through this process.

use http::StatusCode;

use super::head::Head;
use super::spare::{self, Spare};
use crate::body::InFlight;
use crate::date;
use crate::headers::Headers;

/// Sent at the latest when this many bytes have been collected.
const ENOUGH: usize = 64 * 1024;

thread_local! {
    static SPARE: Spare = const { Spare::new(2 * ENOUGH) };
}

/// What was not sent yet. Answers to pipelined requests are collected while more requests are at hand.
#[derive(Default)]
pub struct Output {
    pub bytes: Vec<u8>,
    /// The requests that these bytes answer: they are over when the bytes are sent.
    answered: Vec<InFlight>,
}

/// What the connection does after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    GoOn,
    Close,
}

impl Output {
    pub fn is_enough(&self) -> bool {
        self.bytes.len() >= ENOUGH
    }

    /// The request is answered by what has been collected.
    pub fn answered(&mut self, request: InFlight) {
        self.answered.push(request);
    }

    /// Everything was sent.
    pub fn sent(&mut self) {
        self.answered.clear();
        spare::give_back(&SPARE, &mut self.bytes);
    }

    /// A head as it answers `asked`.
    pub fn push_head(&mut self, status: StatusCode, headers: &Headers, asked: &Head, after: After) {
        let (version, connection) = match (asked.is_http_10, after) {
            (false, After::GoOn) => ("HTTP/1.1 ", ""),
            (false, After::Close) => ("HTTP/1.1 ", "connection: close\r\n"),
            (true, After::GoOn) => ("HTTP/1.0 ", "connection: keep-alive\r\n"),
            (true, After::Close) => ("HTTP/1.0 ", ""),
        };
        let out = &mut self.bytes;
        if out.capacity() == 0 {
            *out = spare::take(&SPARE);
        }
        out.extend_from_slice(version.as_bytes());
        out.extend_from_slice(status.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        out.extend_from_slice(b"\r\n");
        for (name, value) in headers.iter() {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(connection.as_bytes());
        out.extend_from_slice(b"date: ");
        out.extend_from_slice(date::now().as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
    }
}
