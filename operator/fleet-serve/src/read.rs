//! Reading parts of blobs, with and without waiting for the disk.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use fleet_origin::{Broken, Growing};

use crate::blobs::Blob;

/// Exactly these bytes; an error if the file ends before. Blocks on the disk.
pub fn read_piece(blob: &Blob, range: Range<u64>) -> io::Result<Bytes> {
    use std::os::unix::fs::FileExt;
    let mut piece = vec![0; length(&range)?];
    let read = blob.file.read_exact_at(&mut piece, range.start);
    read.inspect_err(|_| blob.doubt())?;
    Ok(piece.into())
}

/// Exactly these bytes, by a thread that may wait for them.
pub async fn read_patiently(blob: &Arc<Blob>, range: Range<u64>) -> io::Result<Bytes> {
    let blob = blob.clone();
    let reading = tokio::task::spawn_blocking(move || read_piece(&blob, range));
    reading.await.map_err(io::Error::other)?
}

/// The next bytes of `left`, `most` of them, once they may be sent. An error where they never may.
pub async fn next_piece(growing: &mut Growing, left: Range<u64>, most: u64) -> io::Result<Bytes> {
    use std::os::unix::fs::FileExt;
    let broken = |Broken(why)| io::Error::other(why);
    let until = growing.beyond(left.start).await.map_err(broken)?;
    let end = until.min(left.end).min(left.start.saturating_add(most));
    let mut piece = vec![0; length(&(left.start..end))?];
    let file = growing.file().clone();
    // It was written just now.
    if read_file_at_hand(&file, &mut piece, left.start)? {
        return Ok(piece.into());
    }
    let reading = tokio::task::spawn_blocking(move || {
        let read = file.read_exact_at(&mut piece, left.start);
        read.map(|()| piece.into())
    });
    reading.await.map_err(io::Error::other)?
}

/// Exactly these bytes where they are in memory; none where they have to be waited for.
pub fn read_piece_at_hand(blob: &Blob, range: Range<u64>) -> io::Result<Option<Bytes>> {
    let mut piece = vec![0; length(&range)?];
    Ok(read_at_hand(blob, &mut piece, range.start)?.then(|| piece.into()))
}

/// Reads exactly `buffer.len()` bytes from the page cache; false where that would wait for the disk, or where the file
/// system cannot tell (network file systems, overlays).
pub fn read_at_hand(blob: &Blob, buffer: &mut [u8], start: u64) -> io::Result<bool> {
    let read = read_file_at_hand(&blob.file, buffer, start);
    read.inspect_err(|_| blob.doubt())
}

fn read_file_at_hand(file: &File, buffer: &mut [u8], start: u64) -> io::Result<bool> {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    let mut done = 0;
    while done < buffer.len() {
        let rest = buffer.get_mut(done..).unwrap_or_default();
        let at = start.saturating_add(done as u64);
        match preadv2(
            file,
            &mut [io::IoSliceMut::new(rest)],
            at,
            ReadWriteFlags::NOWAIT,
        ) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

fn length(range: &Range<u64>) -> io::Result<usize> {
    usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)
}
