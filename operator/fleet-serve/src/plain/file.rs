//! Files on their way into a socket.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use fleet_origin::Growing;
use rustix::net::SendFlags;
use tokio::time::Instant;

use super::Connection;
use super::send::{send_all, when_writable};
use crate::blobs::Blob;
use crate::body::InFlight;
use crate::read::{next_piece, read_at_hand, read_patiently};

/// Of so many bytes the page cache is asked for the last one.
const PIECE: u64 = 512 * 1024;
/// How long the answer is believed.
const SURE_FOR: Duration = Duration::from_secs(1);
/// The most that is read at once where the disk has to be waited for.
const READ: u64 = 256 * 1024;
/// Other connections of this thread get their turn after so many bytes, and one `sendfile` is asked for no more.
const TURN: u64 = 2 * 1024 * 1024;

impl Connection {
    /// Sends what has been collected, the head of this file last, and then the file.
    pub(super) async fn send_file(
        &mut self,
        blob: &Arc<Blob>,
        range: &Range<u64>,
        mut request: InFlight,
    ) -> io::Result<()> {
        let is_one_piece = range.end - range.start <= PIECE;
        self.flush(match is_one_piece {
            // The client wakes up by the head, while the kernel still looks up the pages of the file.
            true => SendFlags::empty(),
            false => SendFlags::MORE,
        })
        .await?;
        let (mut at, mut turn) = (range.start, 0);
        let (mut at_hand, mut since) = (at, Instant::now());
        while at < range.end {
            if since.elapsed() > SURE_FOR {
                (at_hand, since) = (at, Instant::now());
            }
            // One `sendfile` takes what the socket has room for; what that leaves is not asked about again.
            while at_hand < range.end && at_hand - at < TURN {
                let until = range.end.min(at_hand + PIECE);
                if !read_at_hand(blob, &mut [0], until - 1)? {
                    break;
                }
                at_hand = until;
            }
            let sent = match at < at_hand {
                true => self.send_piece(blob, at..at_hand).await?,
                false => {
                    let until = range.end.min(at + READ);
                    let bytes = read_patiently(blob, at..until).await?;
                    let flags = match until < range.end {
                        true => SendFlags::MORE,
                        false => SendFlags::empty(),
                    };
                    send_all(self.line(), &bytes, flags).await?;
                    at_hand = until;
                    until - at
                }
            };
            at += sent;
            turn += sent;
            request.sent(sent);
            if turn >= TURN {
                turn = 0;
                self.seat.mark().busy(Instant::now());
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Sends what has been collected, the head of this file last, and then the file as it comes. Where it turns out to be
    /// wrong the connection is cut before its end.
    pub(super) async fn send_growing(
        &mut self,
        mut growing: Growing,
        mut left: Range<u64>,
        mut request: InFlight,
    ) -> io::Result<()> {
        self.flush(SendFlags::empty()).await?;
        while !left.is_empty() {
            let piece = next_piece(&mut growing, left.clone(), READ).await?;
            send_all(self.line(), &piece, SendFlags::empty()).await?;
            left.start += piece.len() as u64;
            request.sent(piece.len() as u64);
            self.seat.mark().busy(Instant::now());
        }
        Ok(())
    }

    /// Some of these bytes, from the page cache.
    async fn send_piece(&mut self, blob: &Blob, piece: Range<u64>) -> io::Result<u64> {
        let mut at = piece.start;
        let length = usize::try_from(piece.end - piece.start).map_err(io::Error::other)?;
        let sent = when_writable(self.line(), length, |stream| {
            Ok(rustix::fs::sendfile(
                stream,
                &blob.file,
                Some(&mut at),
                length,
            )?)
        });
        match sent.await? {
            0 => {
                blob.doubt();
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            sent => Ok(sent as u64),
        }
    }
}
