//! A streaming reader of Debian control files: stanzas of `Name: value` fields, read as apt reads them.
//! <https://manpages.debian.org/bookworm/dpkg-dev/deb822.5.en.html>
//!
//! Memory is one stanza, whatever the length of the file. As in apt, only a truly empty line ends a stanza (a line of
//! blanks continues the field before it), CR LF line ends are tolerated, and there are no comments: archives' indices
//! are machine-made. A field that is asked for and stands twice in a stanza is an error, since readers disagree about
//! which one counts.

use std::io::{self, Read};
use std::ops::Range;

/// The largest stanza of a package index that is read; real ones stay below 200 KiB.
pub const MAX_STANZA_BYTES: usize = 4 << 20;
const MAX_FIELDS: usize = 4096;
const CHUNK_BYTES: usize = 128 << 10;

/// Why a control file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Deb822Error {
    #[error("line {line} (stanza {stanza}): {what}")]
    Malformed {
        line: u64,
        stanza: u64,
        what: String,
    },
    #[error("stanza {stanza}, which begins at line {line}, is larger than {limit} bytes")]
    TooLarge {
        line: u64,
        stanza: u64,
        limit: usize,
    },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads stanzas one after the other.
pub struct Reader<R> {
    source: R,
    max_stanza_bytes: usize,
    buffer: Vec<u8>,
    /// What is filled of `buffer`.
    filled: Range<usize>,
    at_end: bool,
    /// Relative to `filled.start`, where the stanza that was given last ends.
    consumed: usize,
    fields: Vec<Field>,
    /// The line that was read last, and the stanza being read, counted from 1.
    line: u64,
    stanza: u64,
}

/// Relative to the stanza's first byte.
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

/// One stanza, borrowed from the reader.
pub struct Stanza<'a> {
    bytes: &'a [u8],
    fields: &'a [Field],
    /// Counted from 1.
    pub number: u64,
    /// Of its first field, counted from 1.
    pub line: u64,
}

impl<R: Read> Reader<R> {
    /// A reader of stanzas of at most [`MAX_STANZA_BYTES`].
    pub fn new(source: R) -> Self {
        Self::with_limit(source, MAX_STANZA_BYTES)
    }

    pub fn with_limit(source: R, max_stanza_bytes: usize) -> Self {
        Reader {
            source,
            max_stanza_bytes,
            buffer: Vec::new(),
            filled: 0..0,
            at_end: false,
            consumed: 0,
            fields: Vec::new(),
            line: 0,
            stanza: 0,
        }
    }

    /// The next stanza; none at the end of the file.
    pub fn next_stanza(&mut self) -> Result<Option<Stanza<'_>>, Deb822Error> {
        self.filled.start += std::mem::take(&mut self.consumed);
        self.fields.clear();
        self.stanza += 1;
        let mut first_line = 0;
        let mut position = 0;
        while let Some(end) = self.line_end(position)? {
            self.line += 1;
            let text_end = self.without_carriage_return(position, end.text);
            if text_end > position {
                if self.fields.is_empty() {
                    first_line = self.line;
                }
                self.add_line(position..text_end)?;
                position = end.next;
            } else if self.fields.is_empty() {
                // Empty lines before a stanza.
                self.filled.start += end.next;
                position = 0;
            } else {
                position = end.next;
                break;
            }
        }
        if self.fields.is_empty() {
            return Ok(None);
        }
        self.consumed = position;
        let bytes = self.pending().get(..position).unwrap_or_default();
        Ok(Some(Stanza {
            bytes,
            fields: &self.fields,
            number: self.stanza,
            line: first_line,
        }))
    }

    /// What is read and not consumed.
    fn pending(&self) -> &[u8] {
        self.buffer.get(self.filled.clone()).unwrap_or_default()
    }

    /// Where the line that begins at `from` ends; none when there is no further line.
    fn line_end(&mut self, from: usize) -> Result<Option<LineEnd>, Deb822Error> {
        let mut searched = from;
        loop {
            let pending = self.pending();
            if let Some(found) = pending
                .get(searched..)
                .and_then(|rest| memchr::memchr(b'\n', rest))
            {
                let text = searched + found;
                self.check_size(text)?;
                return Ok(Some(LineEnd {
                    text,
                    next: text + 1,
                }));
            }
            searched = pending.len();
            self.check_size(searched)?;
            if self.at_end {
                return Ok((searched > from).then_some(LineEnd {
                    text: searched,
                    next: searched,
                }));
            }
            self.fill()?;
        }
    }

    fn check_size(&self, bytes: usize) -> Result<(), Deb822Error> {
        if bytes <= self.max_stanza_bytes {
            return Ok(());
        }
        Err(Deb822Error::TooLarge {
            line: self.line + 1,
            stanza: self.stanza,
            limit: self.max_stanza_bytes,
        })
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.filled.start > 0 {
            self.buffer.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
        }
        if self.buffer.len() - self.filled.end < CHUNK_BYTES / 2 {
            self.buffer.resize(self.filled.end + CHUNK_BYTES, 0);
        }
        let space = self.buffer.get_mut(self.filled.end..).unwrap_or_default();
        match self.source.read(space) {
            Ok(0) => self.at_end = true,
            Ok(count) => self.filled.end += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn without_carriage_return(&self, start: usize, end: usize) -> usize {
        let line = self.pending().get(start..end).unwrap_or_default();
        if line.ends_with(b"\r") { end - 1 } else { end }
    }

    fn add_line(&mut self, line: Range<usize>) -> Result<(), Deb822Error> {
        let text = self.pending().get(line.clone()).unwrap_or_default();
        if matches!(text.first(), Some(b' ' | b'\t')) {
            return match self.fields.last_mut() {
                Some(field) => {
                    field.value.end = line.end;
                    Ok(())
                }
                None => Err(self.malformed("a continuation line without a field before it")),
            };
        }
        let colon = match memchr::memchr(b':', text) {
            Some(colon) if text.get(..colon).is_some_and(is_field_name) => colon,
            _ => {
                return Err(
                    self.malformed("neither a field (`Name: value`) nor a continuation line")
                );
            }
        };
        if self.fields.len() == MAX_FIELDS {
            return Err(self.malformed("the stanza has too many fields"));
        }
        let name = line.start..line.start + colon;
        self.fields.push(Field {
            value: name.end + 1..line.end,
            name,
        });
        Ok(())
    }

    fn malformed(&self, what: &str) -> Deb822Error {
        Deb822Error::Malformed {
            line: self.line,
            stanza: self.stanza,
            what: what.to_owned(),
        }
    }
}

struct LineEnd {
    text: usize,
    next: usize,
}

fn is_field_name(name: &[u8]) -> bool {
    !matches!(name.first(), None | Some(b'#' | b'-')) && name.iter().all(u8::is_ascii_graphic)
}

impl<'a> Stanza<'a> {
    /// The value of a field, its name in any case, without blanks around it; continuation lines keep their line feeds.
    /// None where the stanza has no such field; an error where it has two.
    pub fn get(&self, name: &str) -> Result<Option<&'a [u8]>, Deb822Error> {
        let mut named = self.fields.iter().filter(|field| {
            field.name.len() == name.len()
                && self
                    .bytes
                    .get(field.name.clone())
                    .is_some_and(|text| text.eq_ignore_ascii_case(name.as_bytes()))
        });
        let value = named
            .next()
            .and_then(|field| self.bytes.get(field.value.clone()))
            .map(<[u8]>::trim_ascii);
        match named.next() {
            None => Ok(value),
            Some(_) => Err(self.malformed(format!("the field {name} stands twice"))),
        }
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
