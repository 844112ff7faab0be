//! From sorted entries, several of which may name one path, to paths that do not exclude each other.

use crate::error::{ConflictKind, Result, StoreError};
use crate::index;
use crate::runs::Record;
use crate::sort::Sorted;
use crate::{Entry, EntryState};

/// One line of an index while it is sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathEntry {
    pub path: String,
    pub entry: Entry,
}

impl Record for PathEntry {
    fn write_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.path.as_bytes());
    }
    fn write_value(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&index::encode_record(&self.entry, None));
        out.extend_from_slice(
            self.entry
                .sha512
                .as_ref()
                .map_or(&[][..], |digest| &digest[..]),
        );
    }
    fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        let (record, sha512) = value.split_first_chunk()?;
        let (mut entry, _) = index::decode_record(record);
        entry.sha512 = if sha512.is_empty() {
            None
        } else {
            Some(sha512.try_into().ok()?)
        };
        Some(PathEntry {
            path: String::from_utf8(key.to_vec()).ok()?,
            entry,
        })
    }
}

/// Sorted entries with equal paths made one, and contradictions refused.
pub(crate) struct Distinct<'a> {
    sorted: std::iter::Peekable<crate::SortedIter<'a, PathEntry>>,
    ancestors: Ancestors,
}

impl<'a> Distinct<'a> {
    pub fn new(sorted: &'a Sorted<PathEntry>) -> Self {
        Distinct {
            sorted: sorted.iter().peekable(),
            ancestors: Ancestors::default(),
        }
    }

    fn read_next(&mut self) -> Result<Option<PathEntry>> {
        let Some(mut item) = self.sorted.next().transpose()? else {
            return Ok(None);
        };
        while let Some(same) = self
            .sorted
            .next_if(|next| next.as_ref().map_or(true, |next| next.path == item.path))
        {
            item.entry = unite(&item.entry, &same?.entry).ok_or_else(|| StoreError::Conflict {
                path: item.path.clone(),
                problem: ConflictKind::TwoContents,
            })?;
        }
        // What is left out is neither.
        if item.entry.state != EntryState::Excluded {
            self.ancestors.push(&item.path)?;
        }
        Ok(Some(item))
    }
}

impl Iterator for Distinct<'_> {
    type Item = Result<PathEntry>;
    fn next(&mut self) -> Option<Self::Item> {
        self.read_next().transpose()
    }
}

/// Two entries of one path as one, or none when they contradict.
fn unite(a: &Entry, b: &Entry) -> Option<Entry> {
    let unknown = |e: &Entry| e.state != EntryState::Present && e.digest == crate::NO_DIGEST;
    let agree = (a.digest, a.size) == (b.digest, b.size) || unknown(a) || unknown(b);
    let sha512_agree = a.sha512.zip(b.sha512).is_none_or(|(a, b)| a == b);
    if !agree || !sha512_agree {
        return None;
    }
    let better = if precedence(b) < precedence(a) { b } else { a };
    Some(Entry {
        mtime: a.mtime.max(b.mtime),
        mutable: a.mutable || b.mutable,
        guarded: a.guarded || b.guarded,
        sha512: a.sha512.or(b.sha512),
        ..*better
    })
}

/// Known content first, then by state.
fn precedence(entry: &Entry) -> (bool, u8) {
    let state = match entry.state {
        EntryState::Present => 0,
        EntryState::NotYetFetched => 1,
        EntryState::Excluded => 2,
        EntryState::AbsentUpstream => 3,
    };
    (entry.digest == crate::NO_DIGEST, state)
}

/// The earlier paths that the current one begins with, shortest first. `a-b` sorts between `a` and `a/b`, so looking
/// at the previous path alone would miss that `a` is both a file and a directory.
#[derive(Default)]
pub(crate) struct Ancestors(Vec<String>);

impl Ancestors {
    pub fn push(&mut self, path: &str) -> Result<()> {
        while self
            .0
            .last()
            .is_some_and(|ancestor| !path.starts_with(ancestor.as_str()))
        {
            self.0.pop();
        }
        let inside = |file: &&String| path.as_bytes().get(file.len()) == Some(&b'/');
        if let Some(file) = self.0.iter().find(inside) {
            return Err(StoreError::Conflict {
                path: file.clone(),
                problem: ConflictKind::FileAndDirectory,
            });
        }
        self.0.push(path.to_owned());
        Ok(())
    }
}
