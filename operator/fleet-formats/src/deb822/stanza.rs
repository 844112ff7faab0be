//! One stanza: its fields, and whether every reader sees the same ones.

use std::ops::Range;

use super::error::{Deb822Error, Fault};

/// Relative to the stanza's first byte.
pub(super) struct Field {
    pub name: Range<usize>,
    pub value: Range<usize>,
}

/// One stanza, borrowed from the reader.
pub struct Stanza<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) fields: &'a [Field],
    /// None where every reader sees the same.
    pub fault: Option<&'a Fault>,
    /// Counted from 1.
    pub number: u64,
    /// Of its first field, counted from 1.
    pub line: u64,
}

/// Says which field stands twice. `hashes` only say where to look; they are given for their memory.
pub(super) fn repeated_field(
    stanza: &[u8],
    fields: &[Field],
    hashes: &mut Vec<u64>,
) -> Option<String> {
    let name = |field: &Field| stanza.get(field.name.clone()).unwrap_or_default();
    hashes.clear();
    hashes.extend(fields.iter().map(|field| hash(name(field))));
    hashes.sort_unstable();
    let mut neighbours = hashes.iter().zip(hashes.iter().skip(1));
    if neighbours.all(|(one, other)| one != other) {
        return None;
    }
    let lower = |field: &Field| name(field).to_ascii_lowercase();
    let mut names: Vec<Vec<u8>> = fields.iter().map(lower).collect();
    names.sort_unstable();
    let mut neighbours = names.iter().zip(names.iter().skip(1));
    let (twice, _) = neighbours.find(|(one, other)| one == other)?;
    let twice = String::from_utf8_lossy(twice);
    Some(format!("the field {twice:.40} stands twice"))
}

/// Equal for names that differ in case only.
fn hash(name: &[u8]) -> u64 {
    let start = name.len() as u64;
    name.iter().fold(start, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    })
}

impl<'a> Stanza<'a> {
    /// The value of a field, its name in any case, without blanks around it; continuation lines keep their line feeds.
    /// None where the stanza has no such field; an error where it has two.
    pub fn get(&self, name: &str) -> Result<Option<&'a [u8]>, Deb822Error> {
        let mut values = self.all(name);
        let value = values.next();
        match values.next() {
            None => Ok(value),
            Some(_) => Err(self.malformed(format!("the field {name} stands twice"))),
        }
    }

    /// All values of a field that may stand several times, in order.
    pub fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        let bytes = self.bytes;
        let named = self.fields.iter().filter(move |field| {
            field.name.len() == name.len()
                && bytes
                    .get(field.name.clone())
                    .is_some_and(|text| text.eq_ignore_ascii_case(name.as_bytes()))
        });
        named
            .filter_map(move |field| bytes.get(field.value.clone()))
            .map(<[u8]>::trim_ascii)
    }

    /// As text the value that apt takes where a field stands several times: the last.
    pub fn last_text(&self, name: &str) -> Result<Option<&'a str>, Deb822Error> {
        match self.all(name).next_back().map(std::str::from_utf8) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(self.malformed(format!("the field {name} is not UTF-8"))),
        }
    }

    /// Which field stands twice.
    pub fn repeated(&self) -> Option<String> {
        repeated_field(self.bytes, self.fields, &mut Vec::new())
    }

    /// The value of a field as text.
    pub fn text(&self, name: &str) -> Result<Option<&'a str>, Deb822Error> {
        match self.get(name)?.map(std::str::from_utf8) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(self.malformed(format!("the field {name} is not UTF-8"))),
        }
    }

    /// The fields in order: name and raw value, as it stands after the colon.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let bytes = self.bytes;
        self.fields.iter().map(move |field| {
            let part = |range: &Range<usize>| bytes.get(range.clone()).unwrap_or_default();
            (part(&field.name), part(&field.value))
        })
    }

    /// An error that says where this stanza stands.
    pub fn malformed(&self, what: String) -> Deb822Error {
        Deb822Error::Malformed {
            line: self.line,
            stanza: self.number,
            what,
        }
    }
}
