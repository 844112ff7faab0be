//! The cleartext signature framework: taking the signed text and its signatures apart.
//! <https://www.rfc-editor.org/rfc/rfc9580.html#name-cleartext-signature-framewo>
//!
//! The file is handed on as it came, so it must be what apt *and* gpgv read as we do, from the first byte to the last:
//! one signed block that begins at the first byte, nothing behind it, no header besides `Hash`, every dash escaped, no
//! carriage return or NUL and no line so long that two readers could understand it differently.

use fleet_types::Reason;
use pgp::crypto::hash::HashAlgorithm;

use super::armour::{self, Signatures};
use crate::seam::Rejected;

const BEGIN_MESSAGE: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";

/// No signed text that archives publish comes near this.
const MAX_BYTES: usize = 32 << 20;

/// In lines this long gpgv does not see the end, and apt's copy of the text not the same end. They differ in where
/// exactly that begins; it is not below this.
pub(super) const MAX_LINE_BYTES: usize = 19_990;

/// gpgv takes no longer one.
const MAX_HASH_HEADER_BYTES: usize = 60;

pub(super) struct Cleartext {
    /// The signed lines, each ended by a line feed, without trailing blanks (signatures do not cover those).
    pub payload: Vec<u8>,
    /// What is hashed: the same lines separated by CR LF.
    pub canonical: Vec<u8>,
    /// The hashes that `Hash` headers announce: gpgv computes no other.
    pub hashes: Vec<HashAlgorithm>,
    pub signatures: Signatures,
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
    let lines: Vec<&[u8]> = lines(bytes).collect();
    begins_with_message(&lines).map_err(|missing| instead(missing, bytes))?;
    if let Some(number) = lines.iter().position(|line| line.len() >= MAX_LINE_BYTES) {
        return Err(malformed(
            number,
            "a line of 19990 bytes or more, which apt and gpgv read differently",
        ));
    }
    let trimmed: Vec<&[u8]> = lines.iter().map(|line| without_blanks(line)).collect();
    let blank = (trimmed.iter().position(|line| line.is_empty()))
        .ok_or_else(|| malformed(0, "the file ends before the signed text"))?;
    let signature = (trimmed
        .iter()
        .position(|line| *line == armour::BEGIN_SIGNATURE))
    .filter(|signature| *signature > blank)
    .ok_or_else(|| malformed(lines.len(), "the file ends before its signature"))?;
    let hashes = hashes(trimmed.get(1..blank).unwrap_or_default())?;
    let text = trimmed.get(blank + 1..signature).unwrap_or_default();
    let (payload, canonical) = body(text, blank + 1)?;
    let signatures = armour::signatures(trimmed.get(signature..).unwrap_or_default())
        .map_err(|(line, what)| malformed(signature + line, what))?;
    Ok(Cleartext {
        payload,
        canonical,
        hashes,
        signatures,
    })
}

/// The lines of a text without their line feeds.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.strip_suffix(b"\n")
        .unwrap_or(text)
        .split(|byte| *byte == b'\n')
}

/// What no signature covers at a line's end, and what apt and gpgv pass over there: carriage returns, then blanks. A
/// carriage return before a blank stays, as it does for apt.
pub(super) fn without_blanks(line: &[u8]) -> &[u8] {
    let without = |line: &mut &[u8], blanks: &[u8]| {
        while let [rest @ .., last] = *line
            && blanks.contains(last)
        {
            *line = rest;
        }
    };
    let mut line = line;
    without(&mut line, b"\r");
    without(&mut line, b" \t");
    line
}

/// Whether everybody computes a signature over this file *as a text* alike: apt's, gpgv's and sqv's idea of a line
/// differ where a line is very long or holds a carriage return or NUL.
pub(super) fn is_plain(text: &[u8]) -> bool {
    lines(text).all(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.len() < MAX_LINE_BYTES && !line.iter().any(|byte| matches!(byte, b'\r' | 0))
    })
}

/// `number` counts from 0.
fn malformed(number: usize, what: &str) -> Rejected {
    let message = format!(
        "line {}: {what}; the cleartext-signed file was damaged or altered, no client would take it",
        number + 1
    );
    Rejected::new(Reason::IndexMalformed, message)
}

/// At the first byte, as apt demands.
fn begins_with_message(lines: &[&[u8]]) -> Result<(), Rejected> {
    match lines.first().map(|line| without_blanks(line)) {
        Some(BEGIN_MESSAGE) => return Ok(()),
        // Not missing: somebody put a blank before it.
        Some(b"")
            if lines
                .iter()
                .any(|line| without_blanks(line) == BEGIN_MESSAGE) =>
        {
            return Err(malformed(
                0,
                "the signed block does not begin at the first byte",
            ));
        }
        _ => {}
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

/// What the headers between the first line and the text announce. gpgv gives the whole file up at a name that it does
/// not know, and at MD5.
fn hashes(headers: &[&[u8]]) -> Result<Vec<HashAlgorithm>, Rejected> {
    let mut hashes = Vec::new();
    for (number, line) in (1..).zip(headers) {
        let names = line.strip_prefix(b"Hash: ");
        let Some(names) = names.filter(|_| line.len() <= MAX_HASH_HEADER_BYTES) else {
            return Err(malformed(
                number,
                "only `Hash:` headers of at most 60 bytes may precede the signed text",
            ));
        };
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        for name in names.split(|byte| *byte == b',') {
            let begin = name.iter().position(|byte| !blank(byte)).unwrap_or(0);
            hashes.push(
                match without_blanks(name.get(begin..).unwrap_or_default()) {
                    b"SHA1" => HashAlgorithm::Sha1,
                    b"RIPEMD160" => HashAlgorithm::Ripemd160,
                    b"SHA224" => HashAlgorithm::Sha224,
                    b"SHA256" => HashAlgorithm::Sha256,
                    b"SHA384" => HashAlgorithm::Sha384,
                    b"SHA512" => HashAlgorithm::Sha512,
                    _ => {
                        return Err(malformed(
                            number,
                            "a `Hash:` header that gpgv does not take",
                        ));
                    }
                },
            );
        }
    }
    Ok(hashes)
}

/// `first` is the number of the first line.
fn body(lines: &[&[u8]], first: usize) -> Result<(Vec<u8>, Vec<u8>), Rejected> {
    let bytes = lines.iter().map(|line| line.len() + 2).sum();
    let (mut payload, mut canonical) = (Vec::with_capacity(bytes), Vec::with_capacity(bytes));
    for (number, line) in (first..).zip(lines) {
        let text = match line.strip_prefix(b"- ") {
            Some(unescaped) => unescaped,
            None if line.starts_with(b"-") => {
                return Err(malformed(
                    number,
                    "a dash is not escaped in the signed text",
                ));
            }
            None => line,
        };
        if text.iter().any(|byte| matches!(byte, b'\r' | 0)) {
            return Err(malformed(
                number,
                "a carriage return or NUL inside a line of the signed text",
            ));
        }
        if number > first {
            canonical.extend_from_slice(b"\r\n");
        }
        payload.extend_from_slice(text);
        payload.push(b'\n');
        canonical.extend_from_slice(text);
    }
    Ok((payload, canonical))
}
