//! A streaming reader of Debian control files: stanzas of `Name: value` fields, read as apt reads them.
//! <https://manpages.debian.org/bookworm/dpkg-dev/deb822.5.en.html>
//!
//! Memory is one stanza, whatever the length of the file. As in apt, only an empty line ends a stanza (a line of blanks
//! continues the field before it), carriage returns at the ends of lines mean nothing, blanks before a colon neither,
//! and there are no comments: archives' indices are machine-made.
//!
//! Two things readers disagree about: a line without a colon (apt takes what follows, up to the next colon and be it in
//! the next stanza, for a part of the field's name) and a field that stands twice. [`Reader::next_stanza`] refuses the
//! first, and asking for a field the second; [`Reader::next_entry`] gives such a stanza with its [`Fault`], so that one
//! bad entry does not cost the index.

mod error;
mod stanza;

use std::io::{self, Read};
use std::ops::Range;

pub use error::{Deb822Error, Fault};
pub use stanza::Stanza;
use stanza::{Field, repeated_field};

/// The largest stanza of a package index that is read: apt refuses an index with a larger one. Real ones stay below
/// 200 KiB.
pub const MAX_STANZA_BYTES: usize = 1 << 20;
const MAX_FIELDS: usize = 4096;
const CHUNK_BYTES: usize = 128 << 10;

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
    fault: Option<Fault>,
    /// Where in the stanza a field's name began with a line without a colon, while no colon followed.
    stray: Option<usize>,
    /// The stanza before ended in such a line, and nothing with a colon followed.
    runs_on: bool,
    /// Reused from stanza to stanza.
    hashes: Vec<u64>,
    /// The line that was read last, the first of the stanza being read, and that stanza; counted from 1.
    line: u64,
    first_line: u64,
    stanza: u64,
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
            fault: None,
            stray: None,
            runs_on: false,
            hashes: Vec::new(),
            line: 0,
            first_line: 0,
            stanza: 0,
        }
    }

    /// The next stanza; none at the end of the file. A stanza that cannot be read as it stands is an error; a field that
    /// stands twice is one when it is asked for.
    pub fn next_stanza(&mut self) -> Result<Option<Stanza<'_>>, Deb822Error> {
        if !self.advance()? {
            return Ok(None);
        }
        match &self.fault {
            Some(fault) => Err(Deb822Error::Malformed {
                line: fault.line,
                stanza: self.stanza,
                what: fault.what.clone(),
            }),
            None => Ok(Some(self.current())),
        }
    }

    /// The next stanza as one of many; none at the end of the file. What is wrong with it alone, a field that stands
    /// twice included, is its [`Stanza::fault`]; what makes the file unreadable (to apt as well) is an error.
    pub fn next_entry(&mut self) -> Result<Option<Stanza<'_>>, Deb822Error> {
        if !self.advance()? {
            return Ok(None);
        }
        if self.fault.is_none() {
            let bytes = self.buffer.get(self.filled.clone()).unwrap_or_default();
            let twice = repeated_field(bytes, &self.fields, &mut self.hashes);
            self.fault = twice.map(|what| Fault {
                line: self.first_line,
                what,
            });
        }
        Ok(Some(self.current()))
    }

    /// Reads a stanza into the buffer. False at the end of the file.
    fn advance(&mut self) -> Result<bool, Deb822Error> {
        self.filled.start += std::mem::take(&mut self.consumed);
        self.fields.clear();
        self.stray = None;
        self.stanza += 1;
        let mut first_line = None;
        let mut position = 0;
        while let Some(end) = self.line_end(position)? {
            self.line += 1;
            let text = self.without_carriage_returns(position..end.text);
            if !text.is_empty() {
                if first_line.is_none() {
                    first_line = Some(self.line);
                    self.fault = self.runs_on.then(|| Fault {
                        line: self.line,
                        what: "the stanza before ends in a line without a colon, and apt reads on into this one".to_owned(),
                    });
                }
                self.add_line(text);
                position = end.next;
            } else if first_line.is_none() {
                // Empty lines before a stanza.
                self.filled.start += end.next;
                position = 0;
            } else {
                position = end.next;
                break;
            }
        }
        let Some(first_line) = first_line else {
            return match self.runs_on {
                true => Err(self.malformed("the file ends in a line without a colon")),
                false => Ok(false),
            };
        };
        self.consumed = position;
        self.first_line = first_line;
        self.runs_on = self.stray.is_some();
        if self.fields.is_empty() && self.is_end_mark(position) {
            return Ok(false);
        }
        if self.fields.is_empty() {
            self.found_fault("no field");
        }
        Ok(true)
    }

    /// Whether all that is left of the file is one character, as in former times marked its end: apt passes over it.
    fn is_end_mark(&self, position: usize) -> bool {
        let last = self.pending();
        self.at_end && position == last.len() && matches!(last, [_] | [_, b'\n'])
    }

    /// The lines read so far.
    pub fn lines(&self) -> u64 {
        self.line
    }

    /// What [`Self::advance`] has read.
    fn current(&self) -> Stanza<'_> {
        Stanza {
            bytes: self.pending().get(..self.consumed).unwrap_or_default(),
            fields: &self.fields,
            fault: self.fault.as_ref(),
            number: self.stanza,
            line: self.first_line,
        }
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

    fn without_carriage_returns(&self, line: Range<usize>) -> Range<usize> {
        let text = self.pending().get(line.clone()).unwrap_or_default();
        let before = text.iter().take_while(|byte| **byte == b'\r').count();
        let behind = text.iter().rev().take_while(|byte| **byte == b'\r').count();
        let start = line.start + before;
        start..(line.end - behind).max(start)
    }

    fn add_line(&mut self, line: Range<usize>) {
        let text = self.pending().get(line.clone()).unwrap_or_default();
        if self.stray.is_none() && text.first().is_some_and(|byte| is_blank(*byte)) {
            // Before the first field it continues nothing.
            if let Some(field) = self.fields.last_mut() {
                field.value.end = line.end;
            }
            return;
        }
        let Some(colon) = memchr::memchr(b':', text) else {
            self.stray.get_or_insert(line.start);
            return self.found_fault("neither a field (`Name: value`) nor a continuation line");
        };
        if self.fields.len() == MAX_FIELDS {
            return self.found_fault("the stanza has too many fields");
        }
        let before = text.get(..colon).unwrap_or_default();
        let blanks = before.iter().rev().take_while(|byte| is_blank(**byte));
        let end = line.start + colon - blanks.count();
        let start = self.stray.take().unwrap_or(line.start);
        self.fields.push(Field {
            name: start..end,
            value: line.start + colon + 1..line.end,
        });
    }

    fn found_fault(&mut self, what: &str) {
        self.fault.get_or_insert_with(|| Fault {
            line: self.line,
            what: what.to_owned(),
        });
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

/// What apt takes for blank: C's `isspace`, which has a vertical tab more than ours.
fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == b'\x0b'
}
