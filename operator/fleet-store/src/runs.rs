//! Sorted runs of raw records: in memory, in an unnamed file, and merged.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{Doing, Result, StoreError};

pub(crate) const READ_BUFFER: usize = 32 << 10;
/// Lengths of key and value, four bytes each, before every record.
const PREFIX: usize = 8;

pub(crate) fn damaged() -> StoreError {
    StoreError::corrupt("a temporary sort file", "its records cannot be read back")
}

/// A value that can be sorted on disk: a key and a value, both compared as bytes, the key first.
pub trait Record: Sized {
    /// Appends the sort key.
    fn write_key(&self, out: &mut Vec<u8>);
    /// Appends the rest.
    fn write_value(&self, out: &mut Vec<u8>);
    /// Reads back what the two wrote; none where the bytes are not theirs.
    fn read(key: &[u8], value: &[u8]) -> Option<Self>;
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RawRecord<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
}

impl<'a> RawRecord<'a> {
    /// Splits the bytes after the prefix.
    fn split(prefix: [u8; PREFIX], bytes: &'a [u8]) -> Option<Self> {
        let (key_len, value_len) = lengths(prefix);
        let (key, rest) = bytes.split_at_checked(key_len)?;
        Some(RawRecord {
            key,
            value: rest.get(..value_len)?,
        })
    }
}

fn lengths(prefix: [u8; PREFIX]) -> (usize, usize) {
    let [a, b, c, d, e, f, g, h] = prefix;
    (
        u32::from_le_bytes([a, b, c, d]) as usize,
        u32::from_le_bytes([e, f, g, h]) as usize,
    )
}

/// Records in memory, one after the other, and where each begins.
#[derive(Default)]
pub(crate) struct Buffer {
    data: Vec<u8>,
    pub starts: Vec<u32>,
    /// Taken with the first record, all at once: what is not used of it is never touched, and to grow would leave behind
    /// holes of each smaller size.
    room: usize,
}

impl Buffer {
    pub fn with_room(room: usize) -> Buffer {
        Buffer {
            room,
            ..Buffer::default()
        }
    }

    pub fn push<R: Record>(&mut self, record: &R) {
        if self.data.capacity() == 0 {
            self.data.reserve_exact(self.room);
        }
        let start = self.data.len();
        self.data.extend_from_slice(&[0; PREFIX]);
        record.write_key(&mut self.data);
        let key_len = self.data.len() - start - PREFIX;
        record.write_value(&mut self.data);
        let value_len = self.data.len() - start - PREFIX - key_len;
        self.data[start..start + 4].copy_from_slice(&(key_len as u32).to_le_bytes());
        self.data[start + 4..start + PREFIX].copy_from_slice(&(value_len as u32).to_le_bytes());
        self.starts.push(start as u32);
    }

    pub fn bytes(&self) -> usize {
        self.data.len() + self.starts.len() * size_of::<u32>()
    }

    pub fn record(&self, start: u32) -> RawRecord<'_> {
        record_at(&self.data, start)
    }

    pub fn iter(&self) -> impl Iterator<Item = RawRecord<'_>> {
        self.starts.iter().map(|start| self.record(*start))
    }

    pub fn sort(&mut self) {
        let data = &self.data;
        self.starts
            .sort_unstable_by(|a, b| record_at(data, *a).cmp(&record_at(data, *b)));
    }

    pub fn clear(&mut self) {
        self.data.clear();
        self.starts.clear();
    }
}

/// `start` is one that `Buffer::push` recorded, so the slices are inside `data`.
fn record_at(data: &[u8], start: u32) -> RawRecord<'_> {
    let start = start as usize;
    let mut prefix = [0; PREFIX];
    prefix.copy_from_slice(&data[start..start + PREFIX]);
    RawRecord::split(prefix, &data[start + PREFIX..]).unwrap_or(RawRecord {
        key: &[],
        value: &[],
    })
}

/// One sorted file.
pub(crate) struct Run {
    file: File,
    len: u64,
}

pub(crate) struct RunWriter {
    out: BufWriter<File>,
    len: u64,
}

impl RunWriter {
    pub fn new(dir: &Path) -> Result<RunWriter> {
        let file = tempfile::tempfile_in(dir).doing("creating a temporary sort file")?;
        Ok(RunWriter {
            out: BufWriter::with_capacity(READ_BUFFER, file),
            len: 0,
        })
    }

    pub fn push(&mut self, record: RawRecord<'_>) -> Result<()> {
        for part in [
            &(record.key.len() as u32).to_le_bytes()[..],
            &(record.value.len() as u32).to_le_bytes()[..],
            record.key,
            record.value,
        ] {
            self.out
                .write_all(part)
                .doing("writing a temporary sort file")?;
            self.len += part.len() as u64;
        }
        Ok(())
    }

    pub fn finish(self) -> Result<Run> {
        let file = self
            .out
            .into_inner()
            .map_err(|e| e.into_error())
            .doing("writing a temporary sort file")?;
        Ok(Run {
            file,
            len: self.len,
        })
    }
}

/// The position in one run.
pub(crate) struct Cursor<'a> {
    run: &'a Run,
    /// Tells runs apart so that the order is total.
    number: usize,
    /// What was read from the run and not yet used up begins at `at`.
    buffer: Vec<u8>,
    at: usize,
    file_position: u64,
    /// Lengths of key and value of the current record, which ends at `at`.
    key_len: usize,
    value_len: usize,
}

impl<'a> Cursor<'a> {
    /// Positioned on the first record; none when the run is empty.
    pub fn new(run: &'a Run, number: usize) -> Result<Option<Cursor<'a>>> {
        let mut cursor = Cursor {
            run,
            number,
            buffer: Vec::new(),
            at: 0,
            file_position: 0,
            key_len: 0,
            value_len: 0,
        };
        Ok(cursor.advance()?.then_some(cursor))
    }

    /// Goes to the next record; false at the end.
    pub fn advance(&mut self) -> Result<bool> {
        if self.at == self.buffer.len() && self.file_position == self.run.len {
            return Ok(false);
        }
        let mut prefix = [0; PREFIX];
        prefix.copy_from_slice(self.take(PREFIX)?);
        let (key_len, value_len) = lengths(prefix);
        self.take(key_len + value_len)?;
        (self.key_len, self.value_len) = (key_len, value_len);
        Ok(true)
    }

    pub fn take(&mut self, count: usize) -> Result<&[u8]> {
        if self.buffer.len() - self.at < count {
            self.fill(count)?;
        }
        let taken = self
            .buffer
            .get(self.at..self.at + count)
            .ok_or_else(damaged)?;
        self.at += count;
        Ok(taken)
    }

    pub fn fill(&mut self, count: usize) -> Result<()> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let have = self.buffer.len();
        let left = self.run.len - self.file_position;
        let more = (READ_BUFFER.max(count) - have).min(usize::try_from(left).unwrap_or(usize::MAX));
        self.buffer.resize(have + more, 0);
        self.run
            .file
            .read_exact_at(&mut self.buffer[have..], self.file_position)
            .doing("reading a temporary sort file")?;
        self.file_position += more as u64;
        Ok(())
    }

    fn record(&self) -> RawRecord<'_> {
        let value = self.at - self.value_len;
        RawRecord {
            key: &self.buffer[value - self.key_len..value],
            value: &self.buffer[value..self.at],
        }
    }
}

/// Smallest record first in a heap that gives the greatest.
impl Ord for Cursor<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .record()
            .cmp(&self.record())
            .then(other.number.cmp(&self.number))
    }
}

impl PartialOrd for Cursor<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Cursor<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Cursor<'_> {}

pub(crate) struct Merge<'a> {
    cursors: BinaryHeap<Cursor<'a>>,
}

impl<'a> Merge<'a> {
    pub fn new(runs: &'a [Run]) -> Result<Merge<'a>> {
        let mut cursors = BinaryHeap::with_capacity(runs.len());
        for (number, run) in runs.iter().enumerate() {
            cursors.extend(Cursor::new(run, number)?);
        }
        Ok(Merge { cursors })
    }

    pub fn current(&self) -> Option<RawRecord<'_>> {
        self.cursors.peek().map(Cursor::record)
    }

    pub fn advance(&mut self) -> Result<()> {
        if let Some(mut top) = self.cursors.peek_mut()
            && !top.advance()?
        {
            PeekMut::pop(top);
        }
        Ok(())
    }
}
