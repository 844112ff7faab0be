//! What a client has sent and nobody has read yet.

use http::{HeaderMap, StatusCode};

use super::head::{Head, Parsed, parse};
use super::spare::{self, Spare};
use crate::limits::MAX_HEAD_BYTES;

/// A first read; a head of a package manager has a few hundred bytes, so this is several pipelined ones.
const FIRST: usize = 4 * 1024;

thread_local! {
    static SPARE: Spare = const { Spare::new(FIRST) };
}

#[derive(Default)]
pub struct Input {
    bytes: Vec<u8>,
    /// Where the next head or body begins.
    start: usize,
    /// Up to here no head ends: so that one that trickles in is not parsed again with each byte.
    seen: usize,
    /// Empty, with the memory of a former request's headers.
    spare: HeaderMap,
}

/// The next head, or why there is none.
pub enum Next {
    Head(Box<Head>),
    NeedsMore,
    Refused(StatusCode),
}

impl Input {
    pub fn is_empty(&self) -> bool {
        self.start >= self.bytes.len()
    }

    /// The next head, if it is there as a whole.
    pub fn next(&mut self) -> Next {
        let there = self.bytes.len().saturating_sub(self.start);
        let is_first_look = self.seen <= self.start;
        if there == 0 || (!is_first_look && there < MAX_HEAD_BYTES && !self.has_end()) {
            return Next::NeedsMore;
        }
        let bytes = self.bytes.get(self.start..).unwrap_or_default();
        match parse(bytes, &mut self.spare) {
            Parsed::Head(head, length) => {
                self.start += length;
                Next::Head(head)
            }
            Parsed::Refused(status) => Next::Refused(status),
            Parsed::Partial => {
                self.seen = self.bytes.len();
                Next::NeedsMore
            }
        }
    }

    /// Takes back the memory of a head that has been answered.
    pub fn recycle(&mut self, mut headers: HeaderMap) {
        headers.clear();
        self.spare = headers;
    }

    /// Passes over up to `length` bytes; what remains of them has not come yet.
    pub fn skip(&mut self, length: u64) -> u64 {
        let there = self.bytes.len().saturating_sub(self.start);
        let skipped = usize::try_from(length).unwrap_or(usize::MAX).min(there);
        self.start += skipped;
        length.saturating_sub(skipped as u64)
    }

    /// Takes up to `length` bytes of a body; what remains of them has not come yet.
    pub fn take(&mut self, length: u64, body: &mut Vec<u8>) -> u64 {
        let there = self.bytes.get(self.start..).unwrap_or_default();
        let taken = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(there.len());
        body.extend_from_slice(there.get(..taken).unwrap_or_default());
        self.skip(length)
    }

    /// Where the next bytes of the client go.
    pub fn room(&mut self) -> &mut Vec<u8> {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.seen = self.seen.saturating_sub(self.start);
            self.start = 0;
        }
        if self.bytes.capacity() == 0 {
            self.bytes = spare::take(&SPARE);
        }
        if self.bytes.capacity() == self.bytes.len() {
            self.bytes.reserve(self.bytes.len().max(FIRST));
        }
        &mut self.bytes
    }

    /// Leaves the memory of what has been read to others.
    pub fn rest(&mut self) {
        if self.is_empty() {
            spare::give_back(&SPARE, &mut self.bytes);
            (self.start, self.seen) = (0, 0);
        }
    }

    /// Whether an empty line lies in what came since the last look.
    fn has_end(&mut self) -> bool {
        // It may have begun with the last three bytes that were seen then.
        let from = self.seen.saturating_sub(3).max(self.start);
        self.seen = self.bytes.len();
        let fresh = self.bytes.get(from..).unwrap_or_default();
        let mut lines = fresh.split_inclusive(|byte| *byte == b'\n');
        lines.next();
        lines.any(|line| line == b"\n" || line == b"\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_found_however_they_are_cut() {
        let text =
            b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nHEAD /2 HTTP/1.1\nHost: a\n\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n";
        for step in 1..text.len() {
            let mut input = Input::default();
            let mut found = Vec::new();
            for piece in text.chunks(step) {
                input.room().extend_from_slice(piece);
                while let Next::Head(head) = input.next() {
                    found.push(format!("{} {}", head.method, head.uri));
                }
            }
            assert_eq!(found, ["GET /1", "HEAD /2", "GET /3"], "{step}");
            assert!(input.is_empty());
        }
    }

    #[test]
    fn a_head_without_end_is_refused_at_the_limit() {
        let mut input = Input::default();
        input.room().extend_from_slice(b"GET / HTTP/1.1\r\nX: ");
        while input.room().len() < MAX_HEAD_BYTES {
            assert!(matches!(input.next(), Next::NeedsMore));
            input.room().extend_from_slice(&[b'x'; 1000]);
        }
        assert!(matches!(
            input.next(),
            Next::Refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
        ));
    }

    #[test]
    fn bodies_are_passed_over() {
        let mut input = Input::default();
        input
            .room()
            .extend_from_slice(b"12345GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(input.skip(5), 0);
        assert!(matches!(input.next(), Next::Head(_)));
        input.room().extend_from_slice(b"123");
        assert_eq!(input.skip(10), 7);
        assert!(input.is_empty());
    }
}
