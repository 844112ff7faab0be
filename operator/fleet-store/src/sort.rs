//! Sorting more than fits into memory: sorted runs that spill to unnamed files, merged when they are read.
//!
//! A sorter holds at most [`BUDGET`] bytes of records, plus one small read buffer a run while merging. The spilled
//! files have no name, so nothing is left of them however the process ends.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use crate::error::{Result, StoreError};
use crate::runs::{Buffer, Merge, RawRecord, Record, Run, RunWriter, damaged};

/// Bytes of records that are held before they spill.
const BUDGET: usize = 1 << 20;
/// The last one before that fits too, unless it is very long.
const LAST_RECORD: usize = 4 << 10;
/// Runs that are merged at once; more are first merged into one.
const MAX_RUNS: usize = 128;

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
            buffer: Buffer::with_room(budget + LAST_RECORD),
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
    pub fn empty() -> Sorted<R> {
        Sorted {
            buffer: Buffer::default(),
            runs: Vec::new(),
            count: 0,
            record: PhantomData,
        }
    }

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

fn decode<R: Record>(record: RawRecord<'_>) -> Result<R> {
    R::read(record.key, record.value).ok_or_else(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::READ_BUFFER;
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
