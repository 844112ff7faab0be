//! Decompression of hostile input: bounded output, bounded decoder memory, and errors that say whether the file is cut
//! off, damaged or too large.
//!
//! What a file is, is what apt takes it for, since apt compares the digest of what it reads: gzip of several members and
//! zstd of several frames are read as one; of xz, lzma, bzip2 and lz4 apt reads the first stream. What stands behind
//! the end, zeros or anything else, is passed over, but with zstd; a file of zero bytes is an empty index; a `.gz` that
//! is no gzip is the content itself.
//!
//! The readable forms of an index are plain, `.xz`, `.zst`, `.lzma`, `.bz2`, `.gz` and `.lz4`: all that apt knows.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;
use fleet_types::{Reason, counted};
use liblzma::bufread::XzDecoder;
use liblzma::stream::Stream;
use lz4_flex::frame::FrameDecoder as Lz4Decoder;

use crate::seam::{Compression, Rejected};

/// What an xz or lzma decoder may allocate. `xz -9` needs 65 MiB; Debian's indices need 9.
const LZMA_MEMORY_BYTES: u64 = 96 << 20;
/// 64 MiB. The zstd tool accepts 128 MiB by default, which is more than the xz decoder may take.
const ZSTD_WINDOW_LOG: u32 = 26;

/// The first bytes of lz4's format before there were frames.
const LZ4_LEGACY: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];

/// Where the root does not list the uncompressed size: real indices shrink to a thirtieth at best.
const MAX_RATIO: u64 = 500;
const MIN_OUTPUT_LIMIT: u64 = 1 << 20;
/// No index comes near 8 GiB, whatever a root says.
pub const MAX_OUTPUT_LIMIT: u64 = 8 << 30;

/// Why a file cannot be decompressed; the inner error of the [`io::Error`] that [`reader`] gives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    #[error("the compressed file is cut off")]
    Truncated,
    #[error("the compressed file is damaged: {0}")]
    Corrupt(String),
    #[error("the file decompresses to more than {}", counted(*.limit, "byte"))]
    TooLarge { limit: u64 },
    #[error("decompressing the file needs more memory than is allowed")]
    MemoryLimit,
}

impl DecompressError {
    pub fn reason(&self) -> Reason {
        match self {
            DecompressError::Truncated | DecompressError::Corrupt(_) => Reason::IndexMalformed,
            DecompressError::TooLarge { .. } | DecompressError::MemoryLimit => Reason::TooLarge,
        }
    }
}

/// What a read error means for the index that was being read: our own storage, or the upstream's file.
pub fn rejection(error: &io::Error) -> Rejected {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<DecompressError>());
    match inner {
        Some(bad) => Rejected::new(
            bad.reason(),
            format!("{bad}; the upstream must publish it anew"),
        ),
        None => Rejected::new(
            Reason::StorageFailed,
            format!("reading the stored index failed: {error}"),
        ),
    }
}

/// How much a file of `compressed` bytes may decompress to: what the root lists, else a generous bound; in no case more
/// than any real index has.
pub fn output_limit(compressed: u64, uncompressed: Option<u64>) -> u64 {
    uncompressed
        .unwrap_or_else(|| compressed.saturating_mul(MAX_RATIO).max(MIN_OUTPUT_LIMIT))
        .min(MAX_OUTPUT_LIMIT)
}

/// Who tells whether a gzip is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    /// The file itself: one that is cut off is an error.
    ByItself,
    /// The caller, who compares what comes with a digest: a file that is cut off just ends, as for zlib's `gzread`, so
    /// that one without its last bytes, which say nothing of the content, is whole.
    ByDigest,
}

/// Reads what `compressed` decompresses to. Reading fails once it is more than `max_output` bytes; errors carry a
/// [`DecompressError`], except those of `compressed` itself, which are passed on as they are.
pub fn reader<R: Read>(
    compression: Compression,
    compressed: R,
    max_output: u64,
    whole: Whole,
) -> impl Read {
    let source = BufReader::with_capacity(64 << 10, Source(compressed));
    Bounded {
        decoder: Decoder::Closed(compression, source, whole),
        limit: max_output,
        left: max_output,
    }
}

/// Marks the errors of the compressed file's own reader, so that they are not taken for damage.
struct Source<R>(R);

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct SourceError(io::Error);

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io::Error::new(error.kind(), SourceError(error))),
                read => return read,
            }
        }
    }
}

type Input<R> = BufReader<Source<R>>;

enum Decoder<R: Read> {
    /// Not looked at yet.
    Closed(Compression, Input<R>, Whole),
    Plain(Input<R>),
    Gzip(Gzip<R>, Whole),
    /// And lzma.
    Xz(XzDecoder<Input<R>>),
    Bzip2(BzDecoder<Input<R>>),
    Zstd(zstd::Decoder<'static, Input<R>>),
    Lz4(Box<Lz4Decoder<Watched<R>>>),
    Ended,
}

impl<R: Read> Decoder<R> {
    fn open(compression: Compression, mut source: Input<R>, whole: Whole) -> io::Result<Self> {
        if source.fill_buf()?.is_empty() {
            return Ok(Decoder::Ended);
        }
        Ok(match compression {
            Compression::None => Decoder::Plain(source),
            Compression::Gzip => Decoder::Gzip(Gzip::open(source)?, whole),
            Compression::Bzip2 => Decoder::Bzip2(BzDecoder::new(source)),
            // Each is read under the other's name too.
            Compression::Xz | Compression::Lzma => {
                let stream = Stream::new_auto_decoder(LZMA_MEMORY_BYTES, 0)?;
                Decoder::Xz(XzDecoder::new_stream(source, stream))
            }
            Compression::Zstd => Decoder::Zstd(zstd_decoder(source)?),
            Compression::Lz4 if source.fill_buf()?.starts_with(&LZ4_LEGACY) => {
                let what = "lz4's legacy format, which apt does not read".to_owned();
                return Err(failure(DecompressError::Corrupt(what)));
            }
            Compression::Lz4 => Decoder::Lz4(Box::new(Lz4Decoder::new(Watched::new(source)))),
        })
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoder::Closed(..) => match std::mem::replace(self, Decoder::Ended) {
                Decoder::Closed(compression, source, whole) => {
                    *self = Decoder::open(compression, source, whole)?;
                    self.read(buffer)
                }
                _ => Ok(0),
            },
            Decoder::Plain(decoder) => decoder.read(buffer),
            Decoder::Gzip(decoder, whole) => match decoder.read(buffer) {
                Err(error) if *whole == Whole::ByDigest && is_cut_off(&error) => Ok(0),
                read => read,
            },
            Decoder::Xz(decoder) => decoder.read(buffer),
            Decoder::Bzip2(decoder) => decoder.read(buffer),
            Decoder::Zstd(decoder) => decoder.read(buffer),
            Decoder::Lz4(decoder) => match decoder.read(buffer)? {
                0 if decoder.get_ref().at_end => Err(failure(DecompressError::Truncated)),
                count => Ok(count),
            },
            Decoder::Ended => Ok(0),
        }
    }
}

/// Whether a decoder met the end of its file too early.
fn is_cut_off(error: &io::Error) -> bool {
    let of_source = error
        .get_ref()
        .is_some_and(|inner| inner.is::<SourceError>());
    error.kind() == io::ErrorKind::UnexpectedEof && !of_source
}

/// Knows whether more was asked for than there is: the decoder of lz4 takes that for the end of a frame, and only a mark
/// ends a frame.
struct Watched<R> {
    source: Input<R>,
    at_end: bool,
}

impl<R> Watched<R> {
    fn new(source: Input<R>) -> Self {
        Watched {
            source,
            at_end: false,
        }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.at_end |= count == 0 && !buffer.is_empty();
        Ok(count)
    }
}

/// What was looked at and given back, and what follows.
type Again<R> = Chain<Cursor<Vec<u8>>, Input<R>>;

/// As zlib's `gzread` reads: members, then anything.
enum Gzip<R: Read> {
    Member(Box<GzDecoder<Again<R>>>),
    /// The file never was a gzip.
    Plain(Again<R>),
    Ended,
}

impl<R: Read> Gzip<R> {
    const MAGIC: [u8; 2] = [0x1f, 0x8b];

    fn open(source: Input<R>) -> io::Result<Self> {
        let (start, again) = Self::look(source)?;
        Ok(match start {
            true => Gzip::Member(Box::new(GzDecoder::new(again))),
            false => Gzip::Plain(again),
        })
    }

    /// Whether a member begins here.
    fn look(mut source: Input<R>) -> io::Result<(bool, Again<R>)> {
        let mut start = Vec::with_capacity(Self::MAGIC.len());
        source
            .by_ref()
            .take(Self::MAGIC.len() as u64)
            .read_to_end(&mut start)?;
        Ok((start == Self::MAGIC, Cursor::new(start).chain(source)))
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self {
                Gzip::Plain(source) => return source.read(buffer),
                Gzip::Ended => return Ok(0),
                Gzip::Member(decoder) => match decoder.read(buffer)? {
                    0 if buffer.is_empty() => return Ok(0),
                    0 => self.next_member()?,
                    count => return Ok(count),
                },
            }
        }
    }

    fn next_member(&mut self) -> io::Result<()> {
        if let Gzip::Member(decoder) = std::mem::replace(self, Gzip::Ended) {
            let (_, source) = decoder.into_inner().into_inner();
            let (start, again) = Self::look(source)?;
            if start {
                *self = Gzip::Member(Box::new(GzDecoder::new(again)));
            }
        }
        Ok(())
    }
}

fn zstd_decoder<R: Read>(source: Input<R>) -> io::Result<zstd::Decoder<'static, Input<R>>> {
    let mut decoder = zstd::Decoder::with_buffer(source)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

struct Bounded<R: Read> {
    decoder: Decoder<R>,
    limit: u64,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        // The limit is used up: one byte more is too many, and the end must still be a proper one.
        let mut beyond = [0];
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        let buffer = match room.min(buffer.len()) {
            0 => &mut beyond[..],
            room => buffer.get_mut(..room).unwrap_or_default(),
        };
        match self.decoder.read(buffer).map_err(explain)? {
            0 => {
                self.decoder = Decoder::Ended;
                Ok(0)
            }
            _ if self.left == 0 => Err(failure(DecompressError::TooLarge { limit: self.limit })),
            count => {
                self.left -= count as u64;
                Ok(count)
            }
        }
    }
}

fn failure(error: DecompressError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn explain(error: io::Error) -> io::Error {
    let inner = error.get_ref();
    if inner.is_some_and(|inner| inner.is::<SourceError>()) {
        return match error.downcast::<SourceError>() {
            Ok(SourceError(own)) => own,
            Err(error) => error,
        };
    }
    if inner.is_some_and(|inner| inner.is::<DecompressError>()) {
        return error;
    }
    let lzma = inner.and_then(|inner| inner.downcast_ref::<liblzma::stream::Error>());
    failure(match (error.kind(), lzma) {
        (_, Some(liblzma::stream::Error::MemLimit)) => DecompressError::MemoryLimit,
        (io::ErrorKind::UnexpectedEof, _) => DecompressError::Truncated,
        // The zstd crate passes its library's error on by name only.
        _ if error.to_string().contains("Frame requires too much memory") => {
            DecompressError::MemoryLimit
        }
        _ => DecompressError::Corrupt(error.to_string()),
    })
}
