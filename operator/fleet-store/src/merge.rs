//! Walking along a snapshot beside another sorted list of paths.

use fleet_types::RepoPath;

use crate::{Entries, Entry, Snapshot};

/// Looks up ascending paths in a snapshot by walking, without a search each.
pub(crate) struct Merged<'a> {
    entries: Option<std::iter::Peekable<Entries<'a>>>,
}

impl<'a> Merged<'a> {
    /// Without a snapshot nothing is found.
    pub fn new(snapshot: Option<&'a Snapshot>) -> Merged<'a> {
        Merged {
            entries: snapshot.map(|s| s.iter().peekable()),
        }
    }

    /// The entry at `path`, which is not less than the one before.
    pub fn at(&mut self, path: &str) -> Option<Entry> {
        let entries = self.entries.as_mut()?;
        while entries
            .next_if(|(other, _)| other.as_str() < path)
            .is_some()
        {}
        entries
            .peek()
            .filter(|(other, _)| other.as_str() == path)
            .map(|(_, entry)| *entry)
    }
}

/// What two snapshots say about one path.
pub(crate) struct Change {
    pub path: RepoPath,
    pub before: Option<Entry>,
    pub after: Option<Entry>,
}

/// All paths of two snapshots, in order.
pub(crate) struct Changes<'a> {
    before: Option<std::iter::Peekable<Entries<'a>>>,
    after: std::iter::Peekable<Entries<'a>>,
}

impl<'a> Changes<'a> {
    pub fn new(before: Option<&'a Snapshot>, after: &'a Snapshot) -> Changes<'a> {
        Changes {
            before: before.map(|s| s.iter().peekable()),
            after: after.iter().peekable(),
        }
    }
}

impl Iterator for Changes<'_> {
    type Item = Change;
    fn next(&mut self) -> Option<Change> {
        let before = self.before.as_mut();
        let old_first = match (before.and_then(|b| b.peek()), self.after.peek()) {
            (None, None) => return None,
            (Some((old, _)), Some((new, _))) if old == new => {
                let before = self.before.as_mut().and_then(Iterator::next);
                let (path, after) = self.after.next()?;
                return Some(Change {
                    path,
                    before: before.map(|(_, entry)| entry),
                    after: Some(after),
                });
            }
            (Some((old, _)), Some((new, _))) => old < new,
            (Some(_), None) => true,
            (None, Some(_)) => false,
        };
        let (path, entry) = match old_first {
            true => self.before.as_mut().and_then(Iterator::next)?,
            false => self.after.next()?,
        };
        Some(Change {
            path,
            before: Some(entry).filter(|_| old_first),
            after: Some(entry).filter(|_| !old_first),
        })
    }
}
