//! Sending to a client that may be slow, or take nothing at all.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use fleet_telemetry::Seat;
use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::limits::STALL_TIMEOUT;

/// A socket that took a part has no room left, nearly always, and the kernel says when it has: who asks it again before that
/// pays for a system call that looks up pages for nothing. Where there was another reason (a file that was cut) nothing is
/// ever said, so after this time it is asked all the same.
const NO_ROOM_FOR: Duration = Duration::from_secs(1);

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
        let sent = when_writable(line.again(), bytes.len(), |stream| {
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

/// Does `send` of `length` bytes, or some of them, once the socket has room; `TimedOut` where the client takes nothing for
/// too long, or takes too little while others need its seat.
pub async fn when_writable(
    line: Line<'_>,
    length: usize,
    mut send: impl FnMut(&TcpStream) -> io::Result<usize>,
) -> io::Result<usize> {
    let Line {
        stream,
        clock,
        seat,
    } = line;
    let mut since = None;
    let mut is_full = false;
    poll_fn(|context| {
        loop {
            match attempt(stream, length, &mut send) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            if stream.poll_write_ready(context)?.is_ready() {
                continue;
            }
            let since = *since.get_or_insert_with(|| {
                let now = Instant::now();
                seat.mark().busy(now);
                now
            });
            let is_evicted = seat.poll_leaving(context).is_ready() && seat.is_evicted();
            if !is_evicted && !is_full && clock.poll(context, since + NO_ROOM_FOR).is_ready() {
                match send(stream) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => is_full = true,
                    done => return Poll::Ready(done),
                }
            }
            if !is_evicted && clock.poll(context, since + STALL_TIMEOUT).is_pending() {
                return Poll::Pending;
            }
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client takes no data",
            )));
        }
    })
    .await
}

/// Some of `length` bytes, if the socket takes any now. Where it took a part, the runtime waits for the kernel's word before
/// the next attempt.
fn attempt(
    stream: &TcpStream,
    length: usize,
    send: &mut impl FnMut(&TcpStream) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut sent = 0;
    let tried = stream.try_io(Interest::WRITABLE, || {
        sent = send(stream)?;
        match (1..length).contains(&sent) {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => Ok(()),
        }
    });
    match tried {
        Err(_) if sent > 0 => Ok(sent),
        tried => tried.map(|()| sent),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;

    use fleet_telemetry::Seats;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test]
    async fn a_socket_that_took_a_part_is_asked_again_once_there_is_room() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut seats = Seats::new(1, CancellationToken::new());
        let mut line = Line {
            stream: &stream,
            clock: &mut Clock::new(STALL_TIMEOUT),
            seat: &mut seats.take().await.unwrap(),
        };
        // More than the kernel keeps for both sides.
        let bytes = vec![0; 64 << 20];
        let asked = Cell::new(0);
        let send = |stream: &TcpStream| {
            asked.set(asked.get() + 1);
            Ok(rustix::net::send(stream, &bytes, SendFlags::NOSIGNAL)?)
        };
        let part = when_writable(line.again(), bytes.len(), send).await;
        let part = part.unwrap();
        assert!((1..bytes.len()).contains(&part));
        assert_eq!(asked.get(), 1);
        let mut more = pin!(when_writable(line.again(), bytes.len(), send));
        tokio::select! {
            biased;
            _ = &mut more => panic!("nobody has read anything"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(asked.get(), 1, "the kernel has not said that there is room");
        let mut received = vec![0; part];
        let (more, read) = tokio::join!(more, client.read_exact(&mut received));
        assert!(more.unwrap() > 0);
        read.unwrap();
    }
}
