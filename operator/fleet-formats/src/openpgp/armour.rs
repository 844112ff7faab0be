//! ASCII armour: which blocks a text holds, and their bytes. Decoding itself is the library's.
//! <https://www.rfc-editor.org/rfc/rfc9580.html#name-forming-ascii-armor>

use std::io::Read;

use pgp::armor::{Dearmor, DearmorOptions};

pub(super) const PUBLIC_KEY: &str = "PGP PUBLIC KEY BLOCK";
pub(super) const PRIVATE_KEY: &str = "PGP PRIVATE KEY BLOCK";
pub(super) const SIGNATURE: &str = "PGP SIGNATURE";

/// Why a text is not armour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArmourError {
    #[error("the block that begins at line {line} (`{label}`) has no end")]
    Unterminated { label: String, line: usize },
    #[error("the block that begins at line {line} (`{label}`) cannot be decoded: {detail}")]
    Undecodable {
        label: String,
        line: usize,
        detail: String,
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
    let mut open: Option<(String, usize, usize)> = None;
    let mut offset = 0;
    for (number, line) in (1..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
        match &open {
            None => open = begin_label(line).map(|label| (label, number, offset)),
            Some((label, begun, start)) if ends(line, label) => {
                let block = text.get(*start..offset + line.len()).unwrap_or_default();
                found.push(Block {
                    bytes: decode(block, label, *begun)?,
                    label: label.clone(),
                });
                open = None;
            }
            Some(_) => {}
        }
        offset += line.len();
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

fn decode(block: &[u8], label: &str, line: usize) -> Result<Vec<u8>, ArmourError> {
    let mut decoder =
        Dearmor::with_options(block, DearmorOptions::new().set_limit(block.len().max(1)));
    let mut bytes = Vec::new();
    match decoder.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(ArmourError::Undecodable {
            label: label.to_owned(),
            line,
            detail: error.to_string(),
        }),
    }
}
