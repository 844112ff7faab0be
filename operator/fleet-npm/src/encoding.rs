//! In which encoding a document is sent.

use std::io::{self, Write};

/// Those that clients of npm's registry understand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// A document is compressed when somebody waits for it, once.
const ZSTD_LEVEL: i32 = 3;

impl Encoding {
    /// As `Content-Encoding` says it; none for bytes as they are.
    pub const fn token(self) -> Option<&'static str> {
        match self {
            Encoding::Identity => None,
            Encoding::Gzip => Some("gzip"),
            Encoding::Zstd => Some("zstd"),
        }
    }

    /// The best of those that an `Accept-Encoding` header takes (RFC 9110 section 12.5.3).
    pub fn best(accepted: Option<&str>) -> Encoding {
        let takes = |encoding: Encoding| {
            let wanted = encoding.token().unwrap_or("identity");
            accepted.unwrap_or_default().split(',').any(|element| {
                let mut parts = element.split(';').map(str::trim);
                let is_it = parts
                    .next()
                    .is_some_and(|token| token.eq_ignore_ascii_case(wanted));
                let refused = parts.any(|part| {
                    let weight = part
                        .strip_prefix("q=")
                        .and_then(|weight| weight.parse::<f32>().ok());
                    weight.is_some_and(|weight| weight <= 0.0)
                });
                is_it && !refused
            })
        };
        [Encoding::Zstd, Encoding::Gzip]
            .into_iter()
            .find(|encoding| takes(*encoding))
            .unwrap_or(Encoding::Identity)
    }

    /// Writes what `content` writes, encoded.
    pub fn write<W: Write>(
        self,
        out: W,
        content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<W> {
        match self {
            Encoding::Identity => {
                let mut out = out;
                content(&mut out)?;
                Ok(out)
            }
            Encoding::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(out, flate2::Compression::default());
                content(&mut encoder)?;
                encoder.finish()
            }
            Encoding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)?;
                content(&mut encoder)?;
                encoder.finish()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_best_that_a_client_takes() {
        for (accepted, encoding) in [
            (None, Encoding::Identity),
            (Some("gzip,deflate"), Encoding::Gzip),
            (Some("gzip, deflate, br, zstd"), Encoding::Zstd),
            (Some("zstd;q=0, gzip;q=0.5"), Encoding::Gzip),
            (Some("gzip;q=0"), Encoding::Identity),
            (Some("identity"), Encoding::Identity),
            (Some("br"), Encoding::Identity),
        ] {
            assert_eq!(Encoding::best(accepted), encoding, "{accepted:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = "a document ".repeat(1000);
        for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd] {
            let written = encoding
                .write(Vec::new(), |out| out.write_all(text.as_bytes()))
                .unwrap();
            let mut read = String::new();
            match encoding {
                Encoding::Identity => read = String::from_utf8(written).unwrap(),
                Encoding::Gzip => {
                    let mut decoder = flate2::read::GzDecoder::new(&written[..]);
                    decoder.read_to_string(&mut read).unwrap();
                }
                Encoding::Zstd => {
                    read =
                        String::from_utf8(zstd::stream::decode_all(&written[..]).unwrap()).unwrap()
                }
            }
            assert_eq!(read, text);
        }
    }
}
