//! Sending to a client that may be slow, or take nothing at all.

use std::future::poll_fn;
use std::io;
use std::task::{Poll, ready};

use fleet_telemetry::Seat;
use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::clock::Clock;
use crate::limits::STALL_TIMEOUT;

/// What sending needs of a connection.
pub struct Line<'a> {
    pub stream: &'a TcpStream,
    pub clock: &'a mut Clock,
    pub seat: &'a mut Seat,
}

impl Line<'_> {
    fn again(&mut self) -> Line<'_> {
        Line {
            stream: self.stream,
            clock: self.clock,
            seat: self.seat,
        }
    }
}

/// Sends everything.
pub async fn send_all(mut line: Line<'_>, mut bytes: &[u8], flags: SendFlags) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = when_writable(line.again(), |stream| {
            Ok(rustix::net::send(
                stream,
                bytes,
                flags | SendFlags::NOSIGNAL,
            )?)
        });
        bytes = bytes.get(sent.await?..).unwrap_or_default();
    }
    Ok(())
}

/// Does `send` once the socket has room; `TimedOut` where the client takes nothing for too long, or takes too little while
/// others need its seat.
pub async fn when_writable(
    line: Line<'_>,
    mut send: impl FnMut(&TcpStream) -> io::Result<usize>,
) -> io::Result<usize> {
    let Line {
        stream,
        clock,
        seat,
    } = line;
    let mut due = None;
    poll_fn(|context| {
        loop {
            match stream.try_io(Interest::WRITABLE, || send(stream)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            if stream.poll_write_ready(context)?.is_pending() {
                let due = *due.get_or_insert_with(|| {
                    let now = Instant::now();
                    seat.mark().busy(now);
                    now + STALL_TIMEOUT
                });
                if seat.poll_leaving(context).is_pending() || !seat.is_evicted() {
                    ready!(clock.poll(context, due));
                }
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the client takes no data",
                )));
            }
        }
    })
    .await
}
