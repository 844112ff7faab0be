//! Taking a document from the upstream: unpacked while it comes, bounded, into a place that is nobody's yet.

use std::io::{self, Write};

use bytes::Bytes;
use fleet_fetch::{FailureKind, FetchError, Told};
use fleet_formats::npm::MAX_PACKUMENT_BYTES;
use fleet_types::{Sha256, counted};
use http::StatusCode;
use http::header::CONTENT_ENCODING;
use sha2::Digest;

use crate::draft::{DOCUMENT_IN_MEMORY, Draft};
use crate::inner::Inner;
use crate::refusal::Refusal;

/// A document that has come as a whole.
pub struct Received {
    pub draft: Draft,
    pub digest: Sha256,
    pub size: u64,
}

/// Takes a document, of which no more than so much is written.
struct Sink {
    draft: Draft,
    hasher: sha2::Sha256,
    size: u64,
    limit: u64,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.size + bytes.len() as u64 > self.limit {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it has more than {}", counted(self.limit, "byte")),
            ));
        }
        self.draft.write_all(bytes)?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Decoder {
    Plain(Box<Sink>),
    Gzip(Box<flate2::write::MultiGzDecoder<Sink>>),
}

impl Decoder {
    fn write(&mut self, bytes: &Bytes) -> io::Result<()> {
        match self {
            Decoder::Plain(sink) => sink.write_all(bytes),
            Decoder::Gzip(decoder) => decoder.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<Received> {
        let sink = match self {
            Decoder::Plain(sink) => *sink,
            Decoder::Gzip(decoder) => decoder.finish()?,
        };
        Ok(Received {
            draft: sink.draft,
            digest: Sha256(sink.hasher.finalize().into()),
            size: sink.size,
        })
    }
}

fn unusable(error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::FileTooLarge => Refusal::of_upstream(&FetchError {
            kind: FailureKind::TooLarge,
            message: format!("the upstream's document is not taken: {error}"),
            missing: false,
        }),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            Refusal::new(
                StatusCode::BAD_GATEWAY,
                format!("the upstream's document cannot be unpacked: {error}"),
            )
        }
        _ => Refusal::own("there is no room for the upstream's answer", error),
    }
}

impl Inner {
    /// The body of an answer, without its encoding.
    pub async fn receive(&self, told: &mut Told) -> Result<Received, Refusal> {
        let is_gzip = told
            .headers()
            .get(CONTENT_ENCODING)
            .is_some_and(|encoding| encoding == "gzip");
        let draft = Draft::new(&self.disk, DOCUMENT_IN_MEMORY)
            .map_err(|error| Refusal::own("there is no room for the upstream's answer", &error))?;
        let sink = Sink {
            draft,
            hasher: sha2::Sha256::new(),
            size: 0,
            limit: MAX_PACKUMENT_BYTES,
        };
        let mut decoder = match is_gzip {
            true => Decoder::Gzip(Box::new(flate2::write::MultiGzDecoder::new(sink))),
            false => Decoder::Plain(Box::new(sink)),
        };
        loop {
            match told.chunk().await {
                Ok(Some(chunk)) => decoder.write(&chunk).map_err(|error| unusable(&error))?,
                Ok(None) => break,
                Err(error) => return Err(self.upstream.failed(&error)),
            }
        }
        self.upstream.answered();
        decoder.finish().map_err(|error| unusable(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;

    const LIMIT: u64 = 1 << 20;

    fn sink(disk: &Disk) -> Sink {
        Sink {
            draft: Draft::new(disk, DOCUMENT_IN_MEMORY).unwrap(),
            hasher: sha2::Sha256::new(),
            size: 0,
            limit: LIMIT,
        }
    }

    fn packed(bytes: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    #[test]
    fn what_is_larger_than_allowed_is_refused_also_unpacked() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), "npm", "http://a").unwrap();
        let take = |mut decoder: Decoder, bytes: &Bytes| -> io::Result<u64> {
            decoder.write(bytes)?;
            Ok(decoder.finish()?.size)
        };
        let plain = |bytes: &[u8]| {
            let decoder = Decoder::Plain(Box::new(sink(&disk)));
            take(decoder, &Bytes::copy_from_slice(bytes))
        };
        let gzip = |bytes: &[u8]| {
            let decoder = flate2::write::MultiGzDecoder::new(sink(&disk));
            take(Decoder::Gzip(Box::new(decoder)), &packed(bytes))
        };
        let (all, more) = (vec![b' '; LIMIT as usize], vec![b' '; LIMIT as usize + 1]);
        assert_eq!(plain(&all).unwrap(), LIMIT);
        assert_eq!(gzip(&all).unwrap(), LIMIT);
        assert!((packed(&more).len() as u64) < LIMIT / 100, "it is a bomb");
        for refused in [plain(&more), gzip(&more)] {
            let refusal = unusable(&refused.unwrap_err());
            assert_eq!(refusal.status, StatusCode::BAD_GATEWAY, "{}", refusal.text);
            assert!(
                refusal.text.contains("more than 1048576 bytes"),
                "{}",
                refusal.text
            );
        }
    }
}
