//! The cleartext signature framework: taking the signed text and its signatures apart.
//! <https://www.rfc-editor.org/rfc/rfc9580.html#name-cleartext-signature-framewo>
//!
//! Strict where leniency has been exploited: one signed block, nothing outside it, no header besides `Hash`, every
//! dash escaped, no stray carriage return or NUL that two readers could understand differently.

use fleet_types::Reason;

use super::armour;
use crate::seam::Rejected;

const BEGIN_MESSAGE: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";
const BEGIN_SIGNATURE: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
const END_SIGNATURE: &[u8] = b"-----END PGP SIGNATURE-----";

/// No signed text that archives publish comes near this.
const MAX_BYTES: usize = 32 << 20;

pub(super) struct Cleartext {
    /// The signed lines, each ended by a line feed, without trailing blanks (signatures do not cover those).
    pub payload: Vec<u8>,
    /// What is hashed: the same lines separated by CR LF.
    pub canonical: Vec<u8>,
    /// The signature packets.
    pub signatures: Vec<u8>,
}

/// Takes a cleartext-signed text apart. Errors: `SignatureMissing` where there is no signed block, `IndexMalformed`
/// where the framing is not as specified, `TooLarge`.
pub(super) fn split(bytes: &[u8]) -> Result<Cleartext, Rejected> {
    if bytes.len() > MAX_BYTES {
        return Err(Rejected::new(
            Reason::TooLarge,
            format!("the signed text is larger than {MAX_BYTES} bytes"),
        ));
    }
    let mut lines = Lines {
        rest: bytes,
        number: 0,
    };
    skip_to_message(&mut lines).map_err(|missing| instead(missing, bytes))?;
    skip_headers(&mut lines)?;
    let (payload, canonical) = body(&mut lines)?;
    let signatures = signatures(&mut lines)?;
    Ok(Cleartext {
        payload,
        canonical,
        signatures,
    })
}

struct Lines<'a> {
    rest: &'a [u8],
    number: usize,
}

impl<'a> Lines<'a> {
    /// The next line without its end.
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let (line, rest) = match self.rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => (self.rest.get(..end)?, self.rest.get(end + 1..)?),
            None => (self.rest, &[][..]),
        };
        self.rest = rest;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    fn malformed(&self, what: &str) -> Rejected {
        let message = format!(
            "line {}: {what}; the upstream's cleartext-signed file is damaged or forged",
            self.number
        );
        Rejected::new(Reason::IndexMalformed, message)
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t'))
}

fn skip_to_message(lines: &mut Lines<'_>) -> Result<(), Rejected> {
    while let Some(line) = lines.next() {
        if line == BEGIN_MESSAGE {
            return Ok(());
        }
        if !is_blank(line) {
            break;
        }
    }
    Err(Rejected::new(
        Reason::SignatureMissing,
        "the file does not begin with a cleartext-signed block, so nothing says who made it",
    ))
}

/// What stands there instead is often not the upstream's at all.
fn instead(missing: Rejected, bytes: &[u8]) -> Rejected {
    let what = match bytes.trim_ascii_start() {
        [b'<', ..] => {
            "it is a web page: a login page or a proxy's error page in the upstream's place, or a wrong URL"
        }
        [0x1f, 0x8b, ..] => "it is compressed by gzip: a proxy in between changes what it carries",
        _ => return missing,
    };
    Rejected::new(missing.reason, format!("{}; {what}", missing.message))
}

fn skip_headers(lines: &mut Lines<'_>) -> Result<(), Rejected> {
    while let Some(line) = lines.next() {
        if line.is_empty() {
            return Ok(());
        }
        let hashes = line.strip_prefix(b"Hash: ").unwrap_or_default();
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b',' | b' ');
        if hashes.is_empty() || !hashes.iter().all(plain) {
            return Err(lines.malformed("only `Hash:` headers may precede the signed text"));
        }
    }
    Err(lines.malformed("the file ends before the signed text"))
}

fn body(lines: &mut Lines<'_>) -> Result<(Vec<u8>, Vec<u8>), Rejected> {
    let mut payload = Vec::with_capacity(lines.rest.len());
    let mut canonical = Vec::with_capacity(lines.rest.len());
    let mut first = true;
    while let Some(line) = lines.next() {
        if line == BEGIN_SIGNATURE {
            return Ok((payload, canonical));
        }
        let text = match line.strip_prefix(b"- ") {
            Some(unescaped) => unescaped,
            None if line.starts_with(b"-") => {
                return Err(lines.malformed("a dash is not escaped in the signed text"));
            }
            None => line,
        };
        let end = text
            .iter()
            .rposition(|byte| !matches!(byte, b' ' | b'\t' | b'\r'))
            .map_or(0, |last| last + 1);
        let text = text.get(..end).unwrap_or_default();
        if text.iter().any(|byte| matches!(byte, b'\r' | 0)) {
            return Err(
                lines.malformed("a carriage return or NUL inside a line of the signed text")
            );
        }
        payload.extend_from_slice(text);
        payload.push(b'\n');
        if !std::mem::take(&mut first) {
            canonical.extend_from_slice(b"\r\n");
        }
        canonical.extend_from_slice(text);
    }
    Err(lines.malformed("the file ends before its signature"))
}

/// The decoded signature blocks, beginning with the one whose first line was just read.
fn signatures(lines: &mut Lines<'_>) -> Result<Vec<u8>, Rejected> {
    let mut text = [BEGIN_SIGNATURE, b"\n"].concat();
    let mut open = true;
    while let Some(line) = lines.next() {
        open = match (open, line) {
            (true, END_SIGNATURE) => false,
            (true, line) if line.starts_with(b"-") => {
                return Err(lines.malformed("a line inside the signature block"));
            }
            (true, _) => true,
            (false, BEGIN_SIGNATURE) => true,
            (false, line) if is_blank(line) => continue,
            (false, _) => {
                return Err(lines
                    .malformed("text after the signature; only the signed block may stand there"));
            }
        };
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    if open {
        return Err(lines.malformed("the file ends inside its signature"));
    }
    let blocks = armour::blocks(&text).map_err(|error| lines.malformed(&error.to_string()))?;
    Ok(blocks.into_iter().flat_map(|block| block.bytes).collect())
}
