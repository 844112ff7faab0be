//! What arrives on a connection: one answer after the other, each belonging to the request that is next.

use bytes::{Buf, BytesMut};

use super::super::super::Bound;
use super::super::desk::is_unpromised;
use super::super::head::{self, Head};
use super::unpromised::MAX_UNPROMISED;
use super::{Connection, End, Reading, Rest};

/// Bodies of errors that are read to the end to keep the connection.
const MAX_SKIPPED: u64 = 64 << 10;

impl Connection<'_> {
    /// Takes in what is there of the next answer. None where more must arrive.
    pub(super) fn understand(&mut self, received: &mut usize) -> Option<Result<(), End>> {
        match &mut self.reading {
            Reading::Head => {
                if self.read.is_empty() {
                    return None;
                }
                if self.sent.is_empty() {
                    return Some(Err(End::Odd("an answer that nobody asked for")));
                }
                match head::read(&self.read) {
                    Ok(None) => None,
                    Ok(Some((size, head))) => {
                        self.read.advance(size);
                        Some(self.begin(head))
                    }
                    Err(odd) => Some(Err(End::Odd(odd))),
                }
            }
            Reading::Body(rest) | Reading::Skipped(rest) if rest.left == 0 => Some(self.complete()),
            _ if self.read.is_empty() => None,
            Reading::Body(rest) => {
                let chunk = rest.next_of(&mut self.read);
                *received += chunk.len();
                let request = self.sent.front_mut()?;
                match request.sink.append(&chunk) {
                    Ok(()) => Some(Ok(())),
                    Err(_) => Some(Err(End::Odd("a body that is longer than promised"))),
                }
            }
            Reading::Skipped(rest) => {
                *received += rest.next_of(&mut self.read).len();
                Some(Ok(()))
            }
        }
    }

    /// Decides by its head what an answer is good for.
    fn begin(&mut self, head: Head) -> Result<(), End> {
        let left = head.length;
        match head.status {
            200 => {
                match self.sent.front().and_then(|request| request.sink.small()) {
                    Some(Bound::Exactly(expected)) if expected.size == head.length => {}
                    Some(Bound::Exactly(_)) => {
                        return Err(End::Odd("a body that is not as long as promised"));
                    }
                    Some(Bound::AtMost(limit)) if head.length <= limit.min(MAX_UNPROMISED) => {}
                    _ => return Err(End::Large),
                }
                self.reading = Reading::Body(Rest { left, head });
            }
            300..=399 | 404 | 410 if left <= MAX_SKIPPED => {
                self.reading = Reading::Skipped(Rest { left, head });
            }
            status if status == 429 || status >= 500 => {
                if let Some(request) = self.sent.pop_front() {
                    self.refuse(request, &head);
                }
                return Err(End::Odd("a server that is overloaded or broken"));
            }
            _ => return Err(End::Odd("a status that is better answered alone")),
        }
        Ok(())
    }

    /// The next answer is complete.
    fn complete(&mut self) -> Result<(), End> {
        let reading = std::mem::replace(&mut self.reading, Reading::Head);
        let Some(request) = self.sent.pop_front() else {
            return Ok(());
        };
        self.wire.answered += 1;
        self.await_next();
        let closes = match reading {
            Reading::Head => false,
            Reading::Body(Rest { head, .. }) => {
                match request.sink.promised() {
                    Some(_) => self.write(request, &head, Some(self.wire.answered)),
                    None => self.await_promised(request, &head),
                }
                head.closes
            }
            Reading::Skipped(Rest { head, .. }) => {
                if head.status < 400 {
                    self.endpoint.pipelining.strike("redirects");
                    self.desk.send_back(request);
                } else if request.likely_missing {
                    self.refuse(request, &head);
                } else if is_unpromised(&request) {
                    self.await_promised(request, &head);
                } else {
                    self.desk.send_back(request);
                }
                head.closes
            }
        };
        if closes {
            return Err(End::Closed);
        }
        self.endpoint.pipelining.prove();
        Ok(())
    }
}

impl Rest {
    /// What `read` has of this body.
    fn next_of(&mut self, read: &mut BytesMut) -> BytesMut {
        let count = read
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= count as u64;
        read.split_to(count)
    }
}
