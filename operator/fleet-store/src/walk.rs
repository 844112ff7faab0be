//! Walking over a snapshot: all of it in order, or what lies directly in one directory.

use fleet_types::RepoPath;
use fst::Streamer;

use crate::index::RECORD_LEN;
use crate::{Entry, Snapshot};

impl Snapshot {
    /// All entries, in the order of the paths' bytes.
    pub fn iter(&self) -> Entries<'_> {
        self.iter_from("")
    }

    /// The entries from the first path that is not less than `from`.
    pub fn iter_from(&self, from: &str) -> Entries<'_> {
        Entries::new(self, from)
    }

    /// What lies directly in a directory (`""` is the top), in byte order; nothing where there is no such directory.
    /// Costs one search for each directory inside it, however much lies below.
    pub fn children(&self, dir: &str) -> Children<'_> {
        Children::new(self, dir)
    }

    /// Whether some path lies below this one.
    pub fn is_dir(&self, path: &str) -> bool {
        path.is_empty() || self.children(path).next().is_some()
    }
}

/// The entries of a snapshot in order.
pub struct Entries<'a> {
    snapshot: &'a Snapshot,
    stream: fst::map::Stream<'a>,
    window: Window,
}

impl<'a> Entries<'a> {
    /// From the first path that is not less than `from`.
    fn new(snapshot: &'a Snapshot, from: &str) -> Entries<'a> {
        Entries {
            snapshot,
            stream: snapshot.stream_from(from),
            window: Window::default(),
        }
    }
}

impl Iterator for Entries<'_> {
    type Item = (RepoPath, Entry);

    /// A path or record that no builder wrote, or that cannot be read any more, ends the walk.
    fn next(&mut self) -> Option<Self::Item> {
        let (path, number) = self.stream.next()?;
        let path = RepoPath::new(std::str::from_utf8(path).ok()?).ok()?;
        Some((path, self.window.entry(self.snapshot, number)?))
    }
}

/// Records that a walk has read ahead: more each time, so that a short walk reads little.
#[derive(Default)]
pub(crate) struct Window {
    first: u64,
    rows: Vec<u8>,
}

impl Window {
    const FIRST_ROWS: usize = 8;
    const MOST_ROWS: usize = 1024;

    pub fn entry(&mut self, snapshot: &Snapshot, number: u64) -> Option<Entry> {
        if self.row(number).is_none() {
            self.read_from(snapshot, number)?;
        }
        snapshot.decode(self.row(number)?)
    }

    fn row(&self, number: u64) -> Option<&[u8; RECORD_LEN]> {
        let at = usize::try_from(number.checked_sub(self.first)?)
            .ok()?
            .checked_mul(RECORD_LEN)?;
        self.rows.get(at..)?.first_chunk()
    }

    fn read_from(&mut self, snapshot: &Snapshot, number: u64) -> Option<()> {
        let before = self.rows.len() / RECORD_LEN;
        let rows = (before * 4).clamp(Self::FIRST_ROWS, Self::MOST_ROWS);
        self.rows.resize(rows * RECORD_LEN, 0);
        let records = &snapshot.contents.records;
        let read = snapshot.believed(records.read_many(&snapshot.file, number, &mut self.rows))?;
        self.first = number;
        self.rows.truncate(read * RECORD_LEN);
        Some(())
    }
}

/// One line of a directory listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Child {
    Directory { name: String },
    File { name: String, entry: Entry },
}

impl Child {
    pub fn name(&self) -> &str {
        match self {
            Child::Directory { name } | Child::File { name, .. } => name,
        }
    }
}

/// What lies directly in one directory.
pub struct Children<'a> {
    snapshot: &'a Snapshot,
    stream: fst::map::Stream<'a>,
    window: Window,
    /// Empty, or ends with `/`.
    prefix: String,
}

impl<'a> Children<'a> {
    fn new(snapshot: &'a Snapshot, dir: &str) -> Children<'a> {
        let prefix = if dir.is_empty() {
            String::new()
        } else {
            format!("{dir}/")
        };
        Children {
            snapshot,
            stream: snapshot.stream_from(&prefix),
            window: Window::default(),
            prefix,
        }
    }
}

impl Iterator for Children<'_> {
    type Item = Child;

    fn next(&mut self) -> Option<Child> {
        let (path, number) = self.stream.next()?;
        let below = std::str::from_utf8(path).ok()?.strip_prefix(&self.prefix)?;
        let Some((directory, _)) = below.split_once('/') else {
            return Some(Child::File {
                name: below.to_owned(),
                entry: self.window.entry(self.snapshot, number)?,
            });
        };
        let name = directory.to_owned();
        // `0` follows `/`: the first path after everything in that directory.
        self.stream = self
            .snapshot
            .stream_from(&format!("{}{name}0", self.prefix));
        Some(Child::Directory { name })
    }
}
