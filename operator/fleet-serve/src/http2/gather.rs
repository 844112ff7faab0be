//! Answers to several requests that came together leave together: a write costs more than most answers do, and h2 asks for
//! one after each of them.
//!
//! What is small is copied here, and goes on when the connection has no further request at hand ([`Gathered::poll_send`]),
//! or when there is no room for more. What is large goes past, after what came before it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use fleet_types::lock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Longer writes are worth a system call of their own, and not worth a copy.
const SMALL: usize = 8 * 1024;
/// Bytes of one connection that wait here, at most.
const ROOM: usize = 32 * 1024;

/// A connection for h2, which owns one handle of it; the other one says when to send.
pub struct Gathered<S>(Arc<Mutex<Inner<S>>>);

struct Inner<S> {
    stream: S,
    /// Without memory while there is nothing in it.
    waiting: BytesMut,
}

impl<S> Clone for Gathered<S> {
    fn clone(&self) -> Gathered<S> {
        Gathered(self.0.clone())
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    pub fn new(stream: S) -> Gathered<S> {
        let waiting = BytesMut::new();
        Gathered(Arc::new(Mutex::new(Inner { stream, waiting })))
    }

    /// Sends what waits. Wakes the task where the client does not take it now.
    pub fn poll_send(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_send(context)
    }
}

impl<S: AsyncWrite + Unpin> Inner<S> {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pass_on(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_pass_on(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let sent = Pin::new(&mut self.stream).poll_write(context, &self.waiting);
            match ready!(sent)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.waiting.advance(count),
            }
        }
        self.waiting = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        if self.waiting.len() + length > ROOM || length > SMALL {
            ready!(self.poll_pass_on(context))?;
        }
        if length > SMALL {
            return Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        }
        if self.waiting.capacity() == 0 {
            self.waiting.reserve(ROOM);
        }
        for slice in slices {
            self.waiting.extend_from_slice(slice);
        }
        Poll::Ready(Ok(length))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_write(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_write(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        lock(&self.0).stream.is_write_vectored()
    }

    /// What was written stays until [`Gathered::poll_send`].
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.0);
        ready!(inner.poll_send(context))?;
        Pin::new(&mut inner.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn small_writes_wait_and_leave_in_order_before_large_ones() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let mut gathered = Gathered::new(near);
        let sender = gathered.clone();
        let mut sent = Vec::new();
        let mut here = [0; 1];
        for length in [1, 100, SMALL, 5] {
            let bytes = vec![length as u8; length];
            gathered.write_all(&bytes).await.unwrap();
            gathered.flush().await.unwrap();
            sent.extend(bytes);
        }
        tokio::select! {
            biased;
            _ = far.read(&mut here) => panic!("nobody has asked for it"),
            () = std::future::ready(()) => {}
        }
        for length in [SMALL + 1, 7, ROOM, SMALL, SMALL, SMALL, SMALL, 9] {
            let bytes = vec![length as u8; length];
            gathered.write_all(&bytes).await.unwrap();
            assert!(lock(&sender.0).waiting.len() <= ROOM);
            sent.extend(bytes);
        }
        poll_fn(|context| sender.poll_send(context)).await.unwrap();
        assert_eq!(lock(&sender.0).waiting.capacity(), 0, "idle ones need none");
        let mut received = vec![0; sent.len()];
        far.read_exact(&mut received).await.unwrap();
        assert!(received == sent);
        gathered.write_all(b"end").await.unwrap();
        gathered.shutdown().await.unwrap();
        drop((gathered, sender));
        received.clear();
        far.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"end");
    }

    #[tokio::test]
    async fn who_takes_nothing_is_given_no_more_than_there_is_room_for() {
        let (near, _far) = tokio::io::duplex(1);
        let mut gathered = Gathered::new(near);
        let mut taken = 0;
        while let Poll::Ready(count) =
            poll_fn(|context| Poll::Ready(Pin::new(&mut gathered).poll_write(context, &[0; 1000])))
                .await
        {
            taken += count.unwrap();
        }
        assert!((ROOM - 1000..=ROOM + 1000).contains(&taken), "{taken}");
    }
}
