//! Small JSON documents that tell by themselves whether they are what was written.
//!
//! The last field is `checksum`: SHA-256 (hexadecimal) of all text before it. JSON alone does not tell that a digit of a
//! date has changed, and a high-water mark must not be lowered by a bit. A document without that field is one of an
//! earlier version, and is taken as it is.
//!
//! # Two copies
//!
//! [`COPIED`] documents and `store.json` are written twice (`state/<name>.copy.json`), since nothing else holds all of
//! what they say: a person's pin, the newest state that was ever accepted, where the store is served. Either copy is
//! enough for a reader, and a writer makes both equal again. Should both be lost, a sync goes on by what is left: the
//! marks are then the revisions of the kept snapshots, and those that its caller remembers (in a cluster the status of
//! the Mirror, which every Job is told), so that a store that rotted does not take back an older state in silence.

use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Digest as _;

use crate::error::{Doing, Result, StoreError};
use crate::fs::open_file;
use crate::layout::Layout;

/// Names of the documents of `state/` that are kept twice.
pub(crate) const COPIED: [&str; 2] = [crate::facts::DOCUMENT, "units"];
/// More than any document has: the longest is that of damage, of some 70 bytes for each blob, should all be lost. A file
/// of more, which may well be a hole, is not read.
const MAX_BYTES: u64 = 256 << 20;
const FIELD: &[u8] = b",\n  \"checksum\": \"";
const END: &[u8] = b"\"\n}\n";

/// The text of a document. What is not an object has no checksum.
pub(crate) fn seal<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)?;
    if text.starts_with(b"{") && text.ends_with(b"\n}") {
        text.truncate(text.len() - 2);
        let sum = fleet_types::Sha256(sha2::Sha256::digest(&text).into());
        text.extend_from_slice(FIELD);
        text.extend_from_slice(sum.to_string().as_bytes());
        text.extend_from_slice(END);
    } else {
        text.push(b'\n');
    }
    Ok(text)
}

/// The reverse of [`seal`]. The error is the problem in words.
pub(crate) fn unseal<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    // Where in it a parser stumbled helps nobody: documents are written whole, or made anew.
    let read = |text: &[u8]| {
        let read = serde_json::from_slice(text);
        read.map_err(|_| "it is not a document that this program wrote".to_owned())
    };
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err("it is empty".to_owned());
    }
    let Some(at) = text.windows(FIELD.len()).rposition(|field| field == FIELD) else {
        return read(text);
    };
    let (content, sum) = text.split_at(at);
    let sum = sum.get(FIELD.len()..).and_then(|sum| sum.strip_suffix(END));
    let found = fleet_types::Sha256(sha2::Sha256::digest(content).into());
    if sum != Some(found.to_string().as_bytes()) {
        return Err("its checksum is wrong".to_owned());
    }
    read(&[content, b"\n}"].concat())
}

/// Where the second copy of a document is.
pub(crate) fn copy_of(layout: &Layout, path: &Path) -> Option<PathBuf> {
    let copied = COPIED.map(|name| layout.state_document(name));
    let copied = path == layout.identity() || copied.iter().any(|copied| copied == path);
    let name = path.file_stem()?.to_str()?;
    copied.then(|| layout.state().join(format!("{name}.copy.json")))
}

/// What a file of the store holds; none where there is no such file.
pub(crate) fn read_file(path: &Path, doing: &'static str) -> Result<Option<Vec<u8>>> {
    let read = || {
        let mut file = open_file(path)?;
        if file.metadata()?.len() > MAX_BYTES {
            return Ok(None);
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map(|_| Some(text))
    };
    match read() {
        Ok(None) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            Err(StoreError::corrupt(
                name,
                "it is larger than any document of a store",
            ))
        }
        Ok(text) => Ok(text),
        // `NotADirectory`: a file lies where the folder belongs, so what was in it is not there.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(e).doing(doing),
    }
}

/// One copy.
pub(crate) fn read_one<T: DeserializeOwned>(layout: &Layout, path: &Path) -> Result<Option<T>> {
    match read_file(path, "reading a document of the store") {
        Ok(None) => Ok(None),
        Ok(Some(text)) => {
            let value = unseal(&text);
            value
                .map(Some)
                .map_err(|problem| StoreError::corrupt(layout.shown(path), problem))
        }
        Err(error) if error.is_damage() => Err(StoreError::corrupt(
            layout.shown(path),
            error.cause().unwrap_or_else(|| error.to_string()),
        )),
        Err(error) => Err(error),
    }
}

/// The document, from whichever copy can be read.
pub(crate) fn read<T: DeserializeOwned>(layout: &Layout, path: &Path) -> Result<Option<T>> {
    let first = read_one(layout, path);
    let absent_or_damaged = match &first {
        Ok(Some(_)) => false,
        Ok(None) => true,
        Err(error) => error.is_damage(),
    };
    let second = absent_or_damaged
        .then(|| copy_of(layout, path))
        .flatten()
        .map(|copy| read_one(layout, &copy));
    match second {
        Some(Ok(Some(value))) => Ok(Some(value)),
        _ => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn a_document_is_plain_json_and_reads_back() {
        for value in [
            json!({"a": 1, "b": {"c": [0.1, 1e300]}}),
            json!({}),
            json!([1]),
            json!({"checksum": ",\n"}),
        ] {
            let text = seal(&value).unwrap();
            assert!(serde_json::from_slice::<Value>(&text).is_ok());
            assert_eq!(unseal::<Value>(&text), Ok(value));
        }
        assert_eq!(
            unseal::<Value>(b"{\"a\": 1}"),
            Ok(json!({"a": 1})),
            "of an earlier version"
        );
    }

    proptest! {
        #[test]
        fn no_bit_can_change_what_a_document_says(at: prop::sample::Index, bit in 0u8..8) {
            let value = json!({"units": {"trixie": {"highWater": {"date": 1_750_000_000, "digest": "ab".repeat(32)}}}});
            let mut text = seal(&value).unwrap();
            let at = at.index(text.len());
            text[at] ^= 1 << bit;
            if let Ok(read) = unseal::<Value>(&text) {
                // The name of the field itself may change: nothing that was written does.
                prop_assert_eq!(&read["units"], &value["units"]);
            }
            prop_assert!(unseal::<Value>(&text[..at]).is_err());
        }
    }
}
