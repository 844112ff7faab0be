//! Sending to a client that may be slow, or take nothing at all.

use std::future::poll_fn;
use std::io;
use std::task::{Poll, ready};

use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::clock::Clock;
use crate::connection::STALL_TIMEOUT;

/// Sends everything.
pub async fn send_all(
    stream: &TcpStream,
    clock: &mut Clock,
    mut bytes: &[u8],
    flags: SendFlags,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = when_writable(stream, clock, || {
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

/// Does `send` once the socket has room; `TimedOut` where the client takes nothing for too long.
pub async fn when_writable(
    stream: &TcpStream,
    clock: &mut Clock,
    mut send: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    let mut due = None;
    poll_fn(|context| {
        loop {
            match stream.try_io(Interest::WRITABLE, &mut send) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            if stream.poll_write_ready(context)?.is_pending() {
                let due = *due.get_or_insert_with(|| Instant::now() + STALL_TIMEOUT);
                ready!(clock.poll(context, due));
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the client takes no data",
                )));
            }
        }
    })
    .await
}
