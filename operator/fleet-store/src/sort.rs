//! Sorting more than fits into memory: sorted runs that spill to unnamed files, merged when they are read.
//!
//! A sorter holds at most [`BUDGET`] bytes of records, plus one small read buffer a run while merging. The spilled
//! files have no name, so nothing is left of them however the process ends.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::marker::PhantomData;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{Doing, Result, StoreError};

/// A value that can be sorted on disk: a key and a value, both compared as bytes, the key first.
pub trait Record: Sized {
    /// Appends the sort key.
    fn write_key(&self, out: &mut Vec<u8>);
    /// Appends the rest.
    fn write_value(&self, out: &mut Vec<u8>);
    /// Reads back what the two wrote; none where the bytes are not theirs.
    fn read(key: &[u8], value: &[u8]) -> Option<Self>;
}

/// Bytes of records that are held before they spill.
const BUDGET: usize = 4 << 20;
/// Runs that are merged at once; more are first merged into one.
const MAX_RUNS: usize = 64;
const READ_BUFFER: usize = 32 << 10;
/// Lengths of key and value, four bytes each, before every record.
const PREFIX: usize = 8;

/// Sorts any number of records in bounded memory.
pub struct RunSorter<R> {
    dir: PathBuf,
    budget: usize,
    buffer: Buffer,
    runs: Vec<Run>,
    count: u64,
    record: PhantomData<fn(R)>,
}

impl<R: Record> RunSorter<R> {
    /// `dir` is where runs spill to; [`crate::Writer::spill_dir`] has one on the store's own file system.
    pub fn new(dir: &Path) -> Self {
        Self::with_budget(dir, BUDGET)
    }

    fn with_budget(dir: &Path, budget: usize) -> Self {
        RunSorter {
            dir: dir.to_owned(),
            budget,
            buffer: Buffer::default(),
            runs: Vec::new(),
            count: 0,
            record: PhantomData,
        }
    }

    pub fn push(&mut self, record: &R) -> Result<()> {
        self.buffer.push(record);
        self.count += 1;
        if self.buffer.bytes() >= self.budget {
            self.spill()
        } else {
            Ok(())
        }
    }

    /// Ends the input.
    pub fn finish(mut self) -> Result<Sorted<R>> {
        if self.runs.is_empty() {
            self.buffer.sort();
        } else {
            self.spill()?;
            self.buffer = Buffer::default();
        }
        Ok(Sorted {
            buffer: self.buffer,
            runs: self.runs,
            count: self.count,
            record: PhantomData,
        })
    }

    fn spill(&mut self) -> Result<()> {
        if self.buffer.starts.is_empty() {
            return Ok(());
        }
        self.buffer.sort();
        let mut run = RunWriter::new(&self.dir)?;
        for record in self.buffer.iter() {
            run.push(record)?;
        }
        self.buffer.clear();
        self.runs.push(run.finish()?);
        if self.runs.len() == MAX_RUNS {
            self.merge_runs()?;
        }
        Ok(())
    }

    fn merge_runs(&mut self) -> Result<()> {
        let mut merged = RunWriter::new(&self.dir)?;
        let mut merge = Merge::new(&self.runs)?;
        while let Some(record) = merge.current() {
            merged.push(record)?;
            merge.advance()?;
        }
        drop(merge);
        self.runs = vec![merged.finish()?];
        Ok(())
    }
}

/// Sorted records that can be read more than once. Equal records are all kept.
pub struct Sorted<R> {
    buffer: Buffer,
    runs: Vec<Run>,
    count: u64,
    record: PhantomData<fn() -> R>,
}

impl<R: Record> Sorted<R> {
    pub fn len(&self) -> u64 {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn iter(&self) -> SortedIter<'_, R> {
        let source = if self.runs.is_empty() {
            Source::Memory {
                buffer: &self.buffer,
                next: 0,
            }
        } else {
            match Merge::new(&self.runs) {
                Ok(merge) => Source::Disk(merge),
                Err(e) => Source::Failed(Some(e)),
            }
        };
        SortedIter {
            source,
            record: PhantomData,
        }
    }
}

/// Reads sorted records; ends after the first error.
pub struct SortedIter<'a, R> {
    source: Source<'a>,
    record: PhantomData<fn() -> R>,
}

enum Source<'a> {
    Memory { buffer: &'a Buffer, next: usize },
    Disk(Merge<'a>),
    Failed(Option<StoreError>),
}

impl<R: Record> SortedIter<'_, R> {
    fn read_next(&mut self) -> Result<Option<R>> {
        match &mut self.source {
            Source::Memory { buffer, next } => {
                let Some(start) = buffer.starts.get(*next) else {
                    return Ok(None);
                };
                *next += 1;
                decode(buffer.record(*start)).map(Some)
            }
            Source::Disk(merge) => {
                let Some(record) = merge.current() else {
                    return Ok(None);
                };
                let record = decode(record)?;
                merge.advance()?;
                Ok(Some(record))
            }
            Source::Failed(error) => error.take().map_or(Ok(None), Err),
        }
    }
}

impl<R: Record> Iterator for SortedIter<'_, R> {
    type Item = Result<R>;
    fn next(&mut self) -> Option<Result<R>> {
        let item = self.read_next().transpose();
        if matches!(item, Some(Err(_))) {
            self.source = Source::Failed(None);
        }
        item
    }
}

fn damaged() -> StoreError {
    StoreError::corrupt("a temporary sort file", "its records cannot be read back")
}

fn decode<R: Record>(record: RawRecord<'_>) -> Result<R> {
    R::read(record.key, record.value).ok_or_else(damaged)
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct RawRecord<'a> {
    key: &'a [u8],
    value: &'a [u8],
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
struct Buffer {
    data: Vec<u8>,
    starts: Vec<u32>,
}

impl Buffer {
    fn push<R: Record>(&mut self, record: &R) {
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

    fn bytes(&self) -> usize {
        self.data.len() + self.starts.len() * size_of::<u32>()
    }

    fn record(&self, start: u32) -> RawRecord<'_> {
        record_at(&self.data, start)
    }

    fn iter(&self) -> impl Iterator<Item = RawRecord<'_>> {
        self.starts.iter().map(|start| self.record(*start))
    }

    fn sort(&mut self) {
        let data = &self.data;
        self.starts
            .sort_unstable_by(|a, b| record_at(data, *a).cmp(&record_at(data, *b)));
    }

    fn clear(&mut self) {
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
struct Run {
    file: File,
    len: u64,
}

struct RunWriter {
    out: BufWriter<File>,
    len: u64,
}

impl RunWriter {
    fn new(dir: &Path) -> Result<RunWriter> {
        let file = tempfile::tempfile_in(dir).doing("creating a temporary sort file")?;
        Ok(RunWriter {
            out: BufWriter::with_capacity(READ_BUFFER, file),
            len: 0,
        })
    }

    fn push(&mut self, record: RawRecord<'_>) -> Result<()> {
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

    fn finish(self) -> Result<Run> {
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
struct Cursor<'a> {
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
    fn new(run: &'a Run, number: usize) -> Result<Option<Cursor<'a>>> {
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
    fn advance(&mut self) -> Result<bool> {
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

    fn take(&mut self, count: usize) -> Result<&[u8]> {
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

    fn fill(&mut self, count: usize) -> Result<()> {
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

struct Merge<'a> {
    cursors: BinaryHeap<Cursor<'a>>,
}

impl<'a> Merge<'a> {
    fn new(runs: &'a [Run]) -> Result<Merge<'a>> {
        let mut cursors = BinaryHeap::with_capacity(runs.len());
        for (number, run) in runs.iter().enumerate() {
            cursors.extend(Cursor::new(run, number)?);
        }
        Ok(Merge { cursors })
    }

    fn current(&self) -> Option<RawRecord<'_>> {
        self.cursors.peek().map(Cursor::record)
    }

    fn advance(&mut self) -> Result<()> {
        if let Some(mut top) = self.cursors.peek_mut()
            && !top.advance()?
        {
            PeekMut::pop(top);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
    struct Line(Vec<u8>, Vec<u8>);

    impl Record for Line {
        fn write_key(&self, out: &mut Vec<u8>) {
            out.extend_from_slice(&self.0);
        }
        fn write_value(&self, out: &mut Vec<u8>) {
            out.extend_from_slice(&self.1);
        }
        fn read(key: &[u8], value: &[u8]) -> Option<Self> {
            Some(Line(key.to_vec(), value.to_vec()))
        }
    }

    fn sorted_through_disk(lines: &[Line], budget: usize) -> (Vec<Line>, Vec<Line>) {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = RunSorter::with_budget(dir.path(), budget);
        for line in lines {
            sorter.push(line).unwrap();
        }
        let sorted = sorter.finish().unwrap();
        assert_eq!(sorted.len(), lines.len() as u64);
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            0,
            "a run has a name"
        );
        let read = || sorted.iter().collect::<Result<Vec<_>>>().unwrap();
        (read(), read())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn sorting_on_disk_gives_what_sorting_in_memory_gives(
            lines in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..6), prop::collection::vec(any::<u8>(), 0..3)), 0..400),
            budget in 1usize..2000,
        ) {
            let lines: Vec<Line> = lines.into_iter().map(|(key, value)| Line(key, value)).collect();
            let mut expected = lines.clone();
            expected.sort();
            let (first, second) = sorted_through_disk(&lines, budget);
            prop_assert_eq!(&first, &expected);
            prop_assert_eq!(&second, &expected);
        }
    }

    #[test]
    fn records_larger_than_the_read_buffer_survive() {
        let lines: Vec<Line> = (0..5u8)
            .rev()
            .map(|n| Line(vec![n], vec![n; READ_BUFFER * 2 + 7]))
            .collect();
        let (read, _) = sorted_through_disk(&lines, 100);
        assert_eq!(read, lines.into_iter().rev().collect::<Vec<_>>());
    }
}
