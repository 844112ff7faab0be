//! The parts of an index while it is written.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::build::{DOING, HashingWriter, fst_error};
use crate::distinct::{Distinct, PathEntry};
use crate::error::{Doing, Result};
use crate::index::{self, Header};
use crate::sort::Sorted;
use crate::{SnapshotId, SnapshotMeta};

/// Entries that are handed on together, and how often before somebody takes them.
const BATCH: usize = 256;
const BATCHES: usize = 8;

/// An index whose parts are still in separate unnamed files, since their lengths come first in the result.
pub(crate) struct Draft {
    records_file: BufWriter<File>,
    sha512_file: BufWriter<File>,
    fst: fst::MapBuilder<BufWriter<File>>,
    records: u64,
    sha512s: u32,
}

pub(crate) struct DraftParts {
    records_file: File,
    sha512_file: File,
    fst_file: File,
    records: u64,
    sha512s: u64,
}

impl Draft {
    fn new(folder: &Path) -> Result<Draft> {
        let part = || {
            tempfile::tempfile_in(folder)
                .doing(DOING)
                .map(BufWriter::new)
        };
        Ok(Draft {
            records_file: part()?,
            sha512_file: part()?,
            fst: fst::MapBuilder::new(part()?).map_err(fst_error)?,
            records: 0,
            sha512s: 0,
        })
    }

    /// Of all entries.
    pub fn of(folder: &Path, sorted: &Sorted<PathEntry>) -> Result<Draft> {
        let mut draft = Draft::new(folder)?;
        Distinct::new(sorted).try_for_each(|item| draft.push(&item?))?;
        Ok(draft)
    }

    fn push(&mut self, item: &PathEntry) -> Result<()> {
        let sha512 = item.entry.sha512.map(|digest| (self.sha512s, digest));
        if let Some((_, digest)) = sha512 {
            self.sha512_file.write_all(&digest).doing(DOING)?;
            self.sha512s += 1;
        }
        let record = index::encode_record(&item.entry, sha512.map(|(number, _)| number));
        self.records_file.write_all(&record).doing(DOING)?;
        self.fst
            .insert(item.path.as_bytes(), self.records)
            .map_err(fst_error)?;
        self.records += 1;
        Ok(())
    }

    pub fn close(self) -> Result<DraftParts> {
        let fst = self.fst.into_inner().map_err(fst_error)?;
        let close =
            |part: BufWriter<File>| part.into_inner().map_err(|e| e.into_error()).doing(DOING);
        Ok(DraftParts {
            records_file: close(self.records_file)?,
            sha512_file: close(self.sha512_file)?,
            fst_file: close(fst)?,
            records: self.records,
            sha512s: u64::from(self.sha512s),
        })
    }
}

impl DraftParts {
    pub fn write_to(self, file: &File, id: SnapshotId, meta: &SnapshotMeta) -> Result<()> {
        let meta = serde_json::to_vec(meta)
            .map_err(std::io::Error::from)
            .doing(DOING)?;
        let fst_len = self.fst_file.metadata().doing(DOING)?.len();
        let header = Header {
            id,
            meta_len: meta.len() as u64,
            records: self.records,
            sha512s: self.sha512s,
            fst_len,
        };
        let mut out = HashingWriter::new(file);
        out.write(&header.encode())?;
        out.write(&meta)?;
        for part in [self.records_file, self.sha512_file, self.fst_file] {
            out.copy(part)?;
        }
        out.finish()
    }
}

/// A draft that a thread of its own writes while entries still come. What contradicts is found by the check of all.
pub(crate) struct Drafting {
    batch: Vec<PathEntry>,
    /// The last path of the batch before.
    last: Option<String>,
    batches: SyncSender<Vec<PathEntry>>,
    thread: JoinHandle<Result<Draft>>,
}

impl Drafting {
    /// None where no thread can be had.
    pub fn start(folder: &Path) -> Option<Drafting> {
        let (batches, received) = sync_channel(BATCHES);
        let folder = folder.to_owned();
        let thread = thread::Builder::new().name("draft".to_owned());
        Some(Drafting {
            batch: Vec::with_capacity(BATCH),
            last: None,
            batches,
            thread: thread.spawn(move || draft(folder, received)).ok()?,
        })
    }

    /// False where an entry does not come after the one before: a draft has to be made when all are there.
    pub fn push(&mut self, item: PathEntry) -> bool {
        let before = self.batch.last().map(|before| &before.path);
        if before.or(self.last.as_ref()) >= Some(&item.path) {
            return false;
        }
        self.batch.push(item);
        if self.batch.len() == BATCH {
            self.last = self.batch.last().map(|last| last.path.clone());
            let full = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
            // Whoever does not take it any more says why at the end.
            let _ = self.batches.send(full);
        }
        true
    }

    pub fn finish(self) -> Result<Draft> {
        let _ = self.batches.send(self.batch);
        drop(self.batches);
        let made = self.thread.join();
        made.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

fn draft(folder: PathBuf, batches: Receiver<Vec<PathEntry>>) -> Result<Draft> {
    let mut draft = Draft::new(&folder)?;
    let mut items = batches.into_iter().flatten();
    items.try_for_each(|item| draft.push(&item))?;
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use fleet_types::Sha256;

    use super::*;
    use crate::sort::RunSorter;
    use crate::{Entry, EntryState};

    fn item(number: usize) -> PathEntry {
        let byte = number as u8;
        PathEntry {
            path: format!("pool/{number:05}"),
            entry: Entry {
                state: EntryState::Present,
                digest: Sha256([byte; 32]),
                size: number as u64,
                mtime: 7,
                mutable: false,
                guarded: true,
                sha512: number.is_multiple_of(3).then_some([byte; 64]),
            },
        }
    }

    fn bytes(draft: Draft) -> [Vec<u8>; 3] {
        let parts = draft.close().unwrap();
        [parts.records_file, parts.sha512_file, parts.fst_file].map(|mut part| {
            let mut bytes = Vec::new();
            part.rewind().unwrap();
            part.read_to_end(&mut bytes).unwrap();
            bytes
        })
    }

    #[test]
    fn what_is_written_while_entries_come_is_what_is_written_of_all() {
        let folder = tempfile::tempdir().unwrap();
        for count in [0, 1, BATCH, BATCH * (BATCHES + 3) + 5] {
            let mut drafting = Drafting::start(folder.path()).unwrap();
            let mut sorter = RunSorter::new(folder.path());
            for number in 0..count {
                sorter.push(&item(number)).unwrap();
                assert!(drafting.push(item(number)));
            }
            let whole = Draft::of(folder.path(), &sorter.finish().unwrap()).unwrap();
            assert!(bytes(drafting.finish().unwrap()) == bytes(whole), "{count}");
        }
    }

    #[test]
    fn entries_that_do_not_come_one_after_the_other_are_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        for count in [1, BATCH] {
            let mut drafting = Drafting::start(folder.path()).unwrap();
            for number in 1..=count {
                assert!(drafting.push(item(number)));
            }
            assert!(!drafting.push(item(count)), "twice");
            assert!(!drafting.push(item(count - 1)), "too late");
        }
    }
}
