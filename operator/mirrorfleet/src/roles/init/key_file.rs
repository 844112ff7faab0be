//! The shapes in which key files come: packets, armour as people paste it, and GnuPG's keybox.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const BEGIN: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";
const BEGIN_PRIVATE: &[u8] = b"-----BEGIN PGP PRIVATE KEY BLOCK-----";
const DASHES: &[u8] = b"-----";
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The packets in a key file. Errors say what is wrong with it, to be read after the file's name.
pub fn packets(bytes: &[u8]) -> Result<Vec<u8>, String> {
    if bytes.get(8..12) == Some(b"KBXf") {
        return keybox(bytes).ok_or_else(|| "is a damaged keybox".to_owned());
    }
    if bytes.first().is_some_and(|first| first & 0x80 != 0) {
        return Ok(bytes.to_owned());
    }
    if find(bytes, BEGIN).is_some() {
        return dearmoured(bytes);
    }
    Err(if bytes.is_empty() {
        "is empty".to_owned()
    } else if find(bytes, BEGIN_PRIVATE).is_some() {
        "holds a private key; give only the public part, from `gpg --export`, and treat that key as leaked".to_owned()
    } else {
        "holds no OpenPGP key".to_owned()
    })
}

/// The binary form of armoured blocks (RFC 9580, section 6), which unlike them can be joined. What stands around the
/// base64 is not looked at, nor whether the last line is there; a damaged key is no key for the parser of the packets.
fn dearmoured(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut packets = Vec::new();
    let mut at = 0;
    while let Some(found) = find(rest(text, at), BEGIN) {
        let begin = at + found + BEGIN.len();
        at = begin + find(rest(text, begin), DASHES).unwrap_or(text.len() - begin);
        let body = text.get(begin..at).unwrap_or_default();
        let line = 1 + text
            .iter()
            .take(begin)
            .filter(|byte| **byte == b'\n')
            .count();
        packets.extend(decoded(body).ok_or_else(|| {
            format!("has a key in the block that begins at line {line} which is not base64")
        })?);
    }
    Ok(packets)
}

/// Header lines (`Version: …`) have a colon, which base64 has not; the checksum's line begins with `=`.
fn decoded(body: &[u8]) -> Option<Vec<u8>> {
    let mut lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    // The rest of the line of BEGIN.
    lines.next();
    let data: Vec<u8> = lines
        .filter(|line| !line.contains(&b':') && !line.starts_with(b"="))
        .flatten()
        .copied()
        .collect();
    BASE64
        .decode(data)
        .ok()
        .filter(|packets| !packets.is_empty())
}

/// The OpenPGP blobs of a keybox (GnuPG's kbx/keybox-blob.c).
fn keybox(bytes: &[u8]) -> Option<Vec<u8>> {
    const OPENPGP: u8 = 2;
    let number = |blob: &[u8], at: usize| {
        let digits = blob.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_be_bytes(digits)).ok()
    };
    let mut packets = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = number(rest, 0).filter(|length| *length > 5)?;
        let (blob, after) = rest.split_at_checked(length)?;
        rest = after;
        if blob.get(4) == Some(&OPENPGP) {
            let (start, length) = (number(blob, 8)?, number(blob, 12)?);
            packets.extend_from_slice(blob.get(start..start.checked_add(length)?)?);
        }
    }
    Some(packets)
}

fn rest(bytes: &[u8], from: usize) -> &[u8] {
    bytes.get(from..).unwrap_or_default()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
    const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

    #[test]
    fn armour_is_read_whatever_stands_around_the_keys() {
        let block = |data: &str| format!("{TEXT}\nVersion: x\n\n{data}\n=AbCd\n{END}\n");
        let latin = [
            TEXT.as_bytes(),
            b"\nComment: J\xf6rg\n\naGVs\nbG8=\n=AbCd\n",
        ]
        .concat();
        for (text, expected) in [
            (
                format!("{}{}", block("aGVs\nbG8="), block("IQ==")).into_bytes(),
                "hello!",
            ),
            (
                format!("<p>{}</p>", block("aGVsbG8=")).into_bytes(),
                "hello",
            ),
            (
                block("aGVs\nbG8=").replace('\n', "\r\n").into_bytes(),
                "hello",
            ),
            (format!("{TEXT}\naGVs\nbG8\n=AbCd").into_bytes(), "hello"),
            (
                format!("{TEXT}\n\n aGVs\n \n bG8=\n{END}").into_bytes(),
                "hello",
            ),
            (latin, "hello"),
        ] {
            let shown = String::from_utf8_lossy(&text).into_owned();
            assert_eq!(packets(&text).unwrap(), expected.as_bytes(), "{shown}");
        }
        let problem = packets(format!("\n\n{}", block("???")).as_bytes()).unwrap_err();
        assert!(problem.contains("line 3"), "{problem}");
    }

    #[test]
    fn what_holds_no_key_says_what_it_is() {
        for (bytes, word) in [
            ("", "empty"),
            ("<html>", "no OpenPGP key"),
            ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n", "private"),
            ("01234567KBXf", "keybox"),
        ] {
            let problem = packets(bytes.as_bytes()).unwrap_err();
            assert!(problem.contains(word), "{problem}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..80), begin: bool, keybox: bool) {
            let mut text = if begin { BEGIN.to_vec() } else { Vec::new() };
            text.extend(&bytes);
            if keybox && text.len() >= 12 {
                text[8..12].copy_from_slice(b"KBXf");
            }
            let _ = packets(&text);
        }
    }
}
