//! Taking what a client sends, and what it still sends when nobody listens any more.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use rustix::net::SendFlags;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use super::Connection;
use super::output::After;
use crate::limits::HEAD_TIMEOUT;

/// How long, and for how much, a closing connection listens on, so that the client can read the answer before the
/// kernel tells it that its bytes were not wanted.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: u64 = 1024 * 1024;

impl Connection {
    /// Passes over the body of a request, so that the next head is where it is looked for.
    pub async fn skip(&mut self, length: u64) -> io::Result<After> {
        let mut left = self.input.skip(length);
        let due = Instant::now() + HEAD_TIMEOUT;
        while left > 0 {
            self.flush(SendFlags::empty()).await?;
            if !self.read(due).await? {
                return Ok(After::Close);
            }
            left = self.input.skip(left);
        }
        Ok(After::GoOn)
    }

    /// Takes what the client sends; false where it sends nothing more, or nothing more is wanted.
    pub async fn read(&mut self, due: Instant) -> io::Result<bool> {
        let is_idle = self.input.is_empty();
        self.input.rest();
        let (input, stream) = (&mut self.input, &mut self.stream);
        let (clock, seat) = (&mut self.clock, &mut self.seat);
        let count = poll_fn(|context| {
            // There is no room for bytes before there are some.
            if stream.poll_read_ready(context)?.is_ready() {
                let polled = poll_read_buf(Pin::new(&mut *stream), context, input.room());
                if polled.is_ready() {
                    return polled;
                }
                input.rest();
            }
            // A head that has begun to come is waited for when the server stops, and not when others need the seat.
            if seat.poll_leaving(context).is_ready() && (is_idle || seat.is_evicted()) {
                return Poll::Ready(Ok(0));
            }
            ready!(clock.poll(context, due));
            Poll::Ready(Ok(0))
        })
        .await?;
        Ok(count > 0)
    }

    /// Ends the connection such that the client gets everything that was sent.
    pub async fn close(mut self) -> io::Result<()> {
        self.flush(SendFlags::empty()).await?;
        self.stream.shutdown().await?;
        let due = Instant::now() + LINGER;
        let mut left = LINGER_BYTES;
        loop {
            left = self.input.skip(left);
            // A client that is done closes its side too.
            if left == 0 || !self.read(due).await? {
                return Ok(());
            }
        }
    }
}
