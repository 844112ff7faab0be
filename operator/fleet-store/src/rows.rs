//! Rows of equal length in an index file, read when they are asked for.
//!
//! An index is not mapped into memory: a file that is cut short under a mapping, or a page of it that the disk cannot
//! give back, ends the process (SIGBUS) and so all mirrors that it serves. A row is read by pread(2), which answers
//! with an error instead, at the price of a system call. When the index was opened its digest was verified, and a check of
//! each row was kept then (4 bytes), so that a row that has changed since is not believed either.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// `LEN` is a multiple of 8.
pub(crate) struct Rows<const LEN: usize> {
    /// Offset of the first row.
    start: u64,
    checks: Vec<u32>,
}

/// A row is not what it was when the index was opened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Changed;

impl<const LEN: usize> Rows<LEN> {
    pub fn new(start: u64, count: usize) -> Rows<LEN> {
        Rows {
            start,
            checks: Vec::with_capacity(count),
        }
    }

    /// Takes the next rows as they are, while the file is being verified.
    pub fn take(&mut self, rows: &[u8]) {
        self.checks.extend(rows.chunks_exact(LEN).map(check));
    }

    /// None where there is no such row.
    pub fn read(&self, file: &File, number: u64) -> Result<Option<[u8; LEN]>, Changed> {
        let mut row = [0; LEN];
        let count = self.read_many(file, number, &mut row)?;
        Ok((count == 1).then_some(row))
    }

    /// Reads as many rows from `first` on as there are and as `into` has room for.
    pub fn read_many(&self, file: &File, first: u64, into: &mut [u8]) -> Result<usize, Changed> {
        let checks = usize::try_from(first)
            .ok()
            .and_then(|first| self.checks.get(first..));
        let checks = checks.unwrap_or_default();
        let count = checks.len().min(into.len() / LEN);
        let Some(into) = into.get_mut(..count * LEN) else {
            return Err(Changed);
        };
        if count == 0 {
            return Ok(0);
        }
        file.read_exact_at(into, self.start + first * LEN as u64)
            .map_err(|_| Changed)?;
        let same = into
            .chunks_exact(LEN)
            .map(check)
            .eq(checks.iter().take(count).copied());
        same.then_some(count).ok_or(Changed)
    }
}

/// Each step can be undone, so rows that differ in one word never agree before the last shift.
fn check(row: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let words = row.chunks_exact(8).filter_map(|word| word.first_chunk());
    let sum = words.fold(FACTOR, |sum: u64, word| {
        (sum.rotate_left(23) ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR)
    });
    (sum >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn rows_that_were_changed_or_cut_off_are_not_believed() {
        let content: Vec<u8> = (0..48 * 4).map(|n| (n * 7) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"head").unwrap();
        file.write_all(&content).unwrap();
        let mut rows = Rows::<48>::new(4, 4);
        rows.take(&content);
        assert_eq!(rows.read(&file, 2).unwrap().unwrap()[..], content[96..144]);
        assert_eq!(rows.read(&file, 4), Ok(None));
        assert_eq!(rows.read(&file, u64::MAX), Ok(None));
        let mut all = [0; 48 * 9];
        assert_eq!(rows.read_many(&file, 1, &mut all), Ok(3));
        file.write_all_at(&[content[100] ^ 1], 104).unwrap();
        assert_eq!(rows.read(&file, 2), Err(Changed));
        assert!(rows.read(&file, 1).is_ok());
        assert_eq!(rows.read_many(&file, 1, &mut all), Err(Changed));
        file.set_len(60).unwrap();
        assert!(rows.read(&file, 0).is_ok());
        assert_eq!(rows.read(&file, 1), Err(Changed));
    }
}
