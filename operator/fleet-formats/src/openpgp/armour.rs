//! ASCII armour: which blocks a text holds, and their bytes.
//! <https://www.rfc-editor.org/rfc/rfc9580.html#name-forming-ascii-armor>
//!
//! Two readers. Keys are what people paste, with a web page around them or a line missing, and nobody else reads our
//! copy: [`blocks`]. Signatures are handed on to clients, so they must be what apt *and* gpgv read, to the last byte:
//! [`signatures`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

pub(super) const PUBLIC_KEY: &str = "PGP PUBLIC KEY BLOCK";
pub(super) const PRIVATE_KEY: &str = "PGP PRIVATE KEY BLOCK";
pub(super) const BEGIN_SIGNATURE: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
const END_SIGNATURE: &[u8] = b"-----END PGP SIGNATURE-----";

/// Why a text is not armour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArmourError {
    #[error("the block that begins at line {line} (`{label}`) has no end")]
    Unterminated { label: String, line: usize },
    #[error("the block that begins at line {line} (`{label}`) cannot be decoded: {detail}")]
    Undecodable {
        label: String,
        line: usize,
        detail: &'static str,
    },
}

/// One block: its label (the text between `-----BEGIN ` and `-----`) and its decoded bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub label: String,
    pub bytes: Vec<u8>,
}

/// Whether these are binary packets: the first octet of a packet has its highest bit set, a text's has not.
/// <https://www.rfc-editor.org/rfc/rfc9580.html#name-packet-headers>
pub(super) fn is_binary(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|octet| octet & 0x80 != 0)
}

/// The blocks of a text, in order; what stands between them is ignored.
pub(super) fn blocks(text: &[u8]) -> Result<Vec<Block>, ArmourError> {
    let mut found = Vec::new();
    let mut open: Option<(String, usize, Vec<&[u8]>)> = None;
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        match &mut open {
            None => open = begin_label(line).map(|label| (label, number, Vec::new())),
            Some((label, begun, lines)) if ends(line, label) => {
                let undecodable = |detail| ArmourError::Undecodable {
                    label: label.clone(),
                    line: *begun,
                    detail,
                };
                found.push(Block {
                    bytes: decode(of_key(lines)).map_err(undecodable)?,
                    label: label.clone(),
                });
                open = None;
            }
            Some((_, _, lines)) => lines.push(line.trim_ascii()),
        }
    }
    match open {
        Some((label, line, _)) => Err(ArmourError::Unterminated { label, line }),
        None => Ok(found),
    }
}

fn begin_label(line: &[u8]) -> Option<String> {
    let label = line
        .trim_ascii_end()
        .strip_prefix(b"-----BEGIN ")?
        .strip_suffix(b"-----")?;
    Some(String::from_utf8_lossy(label).into_owned())
}

fn ends(line: &[u8], label: &str) -> bool {
    line.trim_ascii_end()
        .strip_prefix(b"-----END ")
        .and_then(|rest| rest.strip_suffix(b"-----"))
        == Some(label.as_bytes())
}

/// The lines of a key's block that are neither headers (`Version: …`) nor its checksum, which gpg does not demand.
fn of_key<'a>(lines: &'a [&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
    let body = lines
        .iter()
        .copied()
        .skip_while(|line| line.contains(&b':'));
    body.take_while(|line| !line.starts_with(b"="))
}

fn decode<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Vec<u8>, &'static str> {
    let text: Vec<u8> = lines.flatten().copied().collect();
    match BASE64.decode(&text) {
        Ok(bytes) if bytes.is_empty() => Err("there is nothing in it"),
        Ok(bytes) => Ok(bytes),
        Err(_) => Err("it is not base64"),
    }
}

/// What signature blocks hold.
#[derive(Default)]
pub(super) struct Signatures {
    /// The packets of all blocks.
    pub packets: Vec<u8>,
    /// How many of these bytes are the first block's: gpgv goes on with the next one, sqv does not.
    pub first_block: usize,
}

/// The packets of the signature blocks that these lines are, without blanks at their ends: from the first line to the
/// last nothing but `PGP SIGNATURE` blocks, each with the right checksum if it has one. Errors: the number of the line,
/// counted from 0, and what is wrong with it.
pub(super) fn signatures(lines: &[&[u8]]) -> Result<Signatures, (usize, &'static str)> {
    let mut found = Signatures::default();
    let mut rest = lines.iter().enumerate();
    while let Some((begun, line)) = rest.next() {
        if *line != BEGIN_SIGNATURE {
            let what = match begun {
                0 => "text before the signature; only signature blocks may stand here",
                _ => "text after the signature; only signature blocks may stand here",
            };
            return Err((begun, what));
        }
        let mut block = Vec::new();
        loop {
            match rest.next() {
                Some((_, line)) if *line == END_SIGNATURE => break,
                Some((number, line)) if line.starts_with(b"-") => {
                    return Err((number, "a line that begins with a dash in the signature"));
                }
                Some((_, line)) => block.push(*line),
                None => return Err((begun, "the signature that begins here has no end")),
            }
        }
        let packets = of_signature(&block).map_err(|what| (begun, what))?;
        found.packets.extend(packets);
        if begun == 0 {
            found.first_block = found.packets.len();
        }
    }
    Ok(found)
}

fn of_signature(block: &[&[u8]]) -> Result<Vec<u8>, &'static str> {
    let blank = block
        .iter()
        .position(|line| line.is_empty())
        .ok_or("the signature's armour has no blank line before its data")?;
    let (headers, body) = (block.get(..blank), block.get(blank + 1..));
    if !headers.is_some_and(|headers| headers.iter().all(|line| is_header(line))) {
        return Err("the signature's armour has a header that is none");
    }
    let (body, checksum) = match body.unwrap_or_default() {
        [body @ .., last] if last.starts_with(b"=") => (body, Some(*last)),
        body => (body, None),
    };
    if body.iter().any(|line| line.is_empty()) {
        return Err("the signature's armour has a blank line inside its data");
    }
    let bytes = decode(body.iter().copied())?;
    match checksum {
        Some(checksum) if checksum != checksum_line(&bytes) => {
            Err("the checksum of the signature's armour is wrong")
        }
        _ => Ok(bytes),
    }
}

/// `Comment: made by hand`: any word will do for gpgv, and sqv takes none that says nothing.
fn is_header(line: &[u8]) -> bool {
    let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
    let (name, value) = line.split_at(colon);
    !name.is_empty() && name.iter().all(u8::is_ascii_alphanumeric) && value.starts_with(b": ")
}

/// <https://www.rfc-editor.org/rfc/rfc9580.html#name-optional-checksum>
fn checksum_line(bytes: &[u8]) -> Vec<u8> {
    let mut crc: u32 = 0x00B7_04CE;
    for byte in bytes {
        crc ^= u32::from(*byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= 0x0186_4CFB;
            }
        }
    }
    let [_, high, middle, low] = crc.to_be_bytes();
    format!("={}", BASE64.encode([high, middle, low])).into_bytes()
}
