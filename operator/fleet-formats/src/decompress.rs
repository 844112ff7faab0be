//! Decompression of hostile input: bounded output, bounded decoder memory, and errors that say whether the file is cut
//! off, damaged or too large.
//!
//! Files of several members or frames are read as one, as the command line tools do; anything else after the end is an
//! error.

use std::io::{self, BufRead, BufReader, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use fleet_types::Reason;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

use crate::seam::{Compression, Rejected};

/// What an xz or lzma decoder may allocate. `xz -9` needs 65 MiB; Debian's indices need 9.
const LZMA_MEMORY_BYTES: u64 = 96 << 20;
/// 64 MiB. The zstd tool accepts 128 MiB by default, which is more than the xz decoder may take.
const ZSTD_WINDOW_LOG: u32 = 26;

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
    #[error("the file decompresses to more than {limit} bytes")]
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

/// Reads what `compressed` decompresses to. Reading fails once it is more than `max_output` bytes; errors carry a
/// [`DecompressError`], except those of `compressed` itself, which are passed on as they are.
pub fn reader<R: Read>(compression: Compression, compressed: R, max_output: u64) -> impl Read {
    let source = BufReader::with_capacity(64 << 10, Source(compressed));
    Bounded {
        decoder: Decoder::new(compression, source),
        limit: max_output,
        left: max_output,
        finished: false,
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
    Plain(Input<R>),
    Gzip(MultiGzDecoder<Input<R>>),
    Xz(XzDecoder<Input<R>>),
    Bzip2(MultiBzDecoder<Input<R>>),
    Zstd(zstd::Decoder<'static, Input<R>>),
    /// The format has no several-members rule, so the end is checked by hand.
    Lzma(XzDecoder<Input<R>>),
    Unusable(DecompressError),
}

impl<R: Read> Decoder<R> {
    fn new(compression: Compression, source: Input<R>) -> Self {
        let unusable = |what: String| Decoder::Unusable(DecompressError::Corrupt(what));
        match compression {
            Compression::None => Decoder::Plain(source),
            Compression::Gzip => Decoder::Gzip(MultiGzDecoder::new(source)),
            Compression::Bzip2 => Decoder::Bzip2(MultiBzDecoder::new(source)),
            Compression::Xz => match Stream::new_stream_decoder(LZMA_MEMORY_BYTES, CONCATENATED) {
                Ok(stream) => Decoder::Xz(XzDecoder::new_stream(source, stream)),
                Err(error) => unusable(error.to_string()),
            },
            Compression::Lzma => match Stream::new_lzma_decoder(LZMA_MEMORY_BYTES) {
                Ok(stream) => Decoder::Lzma(XzDecoder::new_stream(source, stream)),
                Err(error) => unusable(error.to_string()),
            },
            Compression::Zstd => match zstd_decoder(source) {
                Ok(decoder) => Decoder::Zstd(decoder),
                Err(error) => unusable(error.to_string()),
            },
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoder::Plain(decoder) => decoder.read(buffer),
            Decoder::Gzip(decoder) => decoder.read(buffer),
            Decoder::Xz(decoder) => decoder.read(buffer),
            Decoder::Bzip2(decoder) => decoder.read(buffer),
            Decoder::Zstd(decoder) => decoder.read(buffer),
            Decoder::Lzma(decoder) => decoder.read(buffer),
            Decoder::Unusable(error) => Err(io::Error::other(error.clone())),
        }
    }

    /// Called at the end of the output: whether anything stands behind the compressed data.
    fn has_trailing_input(&mut self) -> io::Result<bool> {
        match self {
            Decoder::Lzma(decoder) => Ok(!decoder.get_mut().fill_buf()?.is_empty()),
            Decoder::Bzip2(decoder) => Ok(!decoder.get_mut().fill_buf()?.is_empty()),
            _ => Ok(false),
        }
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
    finished: bool,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.finished || buffer.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            return self.expect_end();
        }
        let room = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let buffer = buffer.get_mut(..room).unwrap_or_default();
        match self.decoder.read(buffer).map_err(explain)? {
            0 => self.end(),
            count => {
                self.left -= count as u64;
                Ok(count)
            }
        }
    }
}

impl<R: Read> Bounded<R> {
    /// The limit is used up: one byte more is too many, and the end must still be a proper one.
    fn expect_end(&mut self) -> io::Result<usize> {
        match self.decoder.read(&mut [0]).map_err(explain)? {
            0 => self.end(),
            _ => Err(failure(DecompressError::TooLarge { limit: self.limit })),
        }
    }

    fn end(&mut self) -> io::Result<usize> {
        if self.decoder.has_trailing_input().map_err(explain)? {
            return Err(failure(DecompressError::Corrupt(
                "there is something behind its end".to_owned(),
            )));
        }
        self.finished = true;
        Ok(0)
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
