//! Questions to a registry, which may have bodies and may take a while.

use std::io;

use bytes::Bytes;
use http::{Method, StatusCode};
use rustix::net::SendFlags;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::Connection;
use super::asked;
use super::head::{Body, Head};
use crate::answer::{Answer, Counted};
use crate::limits::HEAD_TIMEOUT;
use crate::registry::Reply;

/// The longest question: a list of what some ten thousand packages have installed, compressed.
const LONGEST_BODY: u64 = 8 * 1024 * 1024;
/// Bytes of bodies that are being taken or asked with, of all connections together.
static BODIES: Semaphore = Semaphore::const_new(4 * LONGEST_BODY as usize);

/// The body of a request, or why it is not taken.
enum Taken {
    None,
    Body(Bytes, SemaphorePermit<'static>),
    Refused(StatusCode, &'static str),
}

impl Connection {
    /// Answers a request that is for a registry.
    pub(super) async fn ask_registry(
        &mut self,
        mut head: Box<Head>,
        started: Instant,
    ) -> io::Result<(Box<Head>, Counted)> {
        let taken = self.take_body(&mut head).await?;
        let registries = self.registries.clone().unwrap_or_default();
        // It may have gone while the body came.
        let Some(wanted) = registries.find(head.uri.path()) else {
            return Ok((head, self.catalog.unanswered()));
        };
        let traffic = self.catalog.traffic_of(&wanted);
        let (body, _room) = match taken {
            Taken::None => (None, None),
            Taken::Body(body, room) => (Some(body), Some(room)),
            Taken::Refused(status, text) => {
                let answer = Answer::text(status, text);
                return Ok((head, Counted { answer, traffic }));
            }
        };
        let reply = {
            let asked = asked(&head, self.peer, started.into_std(), None);
            wanted.ask(asked, head.uri.query(), body, self.catalog.open_files())
        };
        let found = match reply {
            Reply::Now(found) => found,
            Reply::Later(found) => {
                // Nobody waits because of a later request.
                self.flush(SendFlags::empty()).await?;
                found.await
            }
        };
        let answer = found.into_answer(&head.method, &head.headers);
        Ok((head, Counted { answer, traffic }))
    }

    /// Takes the body of a POST. Afterwards the head says what is left of it.
    async fn take_body(&mut self, head: &mut Head) -> io::Result<Taken> {
        let length = match (&head.method, head.body) {
            (&Method::POST, Body::Length(length)) if length <= LONGEST_BODY => length,
            (&Method::POST, Body::Length(_)) => {
                return Ok(Taken::Refused(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "the body is longer than 8 MiB",
                ));
            }
            (&Method::POST, Body::Unread) => {
                return Ok(Taken::Refused(
                    StatusCode::LENGTH_REQUIRED,
                    "a body must say its length (Content-Length), and come without being asked for (Expect)",
                ));
            }
            _ => return Ok(Taken::None),
        };
        let permits = u32::try_from(length.max(1)).map_err(io::Error::other)?;
        let room = BODIES
            .acquire_many(permits)
            .await
            .map_err(io::Error::other)?;
        self.flush(SendFlags::empty()).await?;
        let mut body = Vec::new();
        let mut left = self.input.take(length, &mut body);
        let due = Instant::now() + HEAD_TIMEOUT;
        while left > 0 {
            if !self.read(due).await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left = self.input.take(left, &mut body);
        }
        head.body = Body::Length(0);
        Ok(Taken::Body(body.into(), room))
    }
}
