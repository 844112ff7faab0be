//! A root file as it is while a run looks at it: small ones in memory, others where they are on the disk.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use fleet_fetch::{Body, FetchError, Received};
use fleet_formats::seam::{Reread, RootContent, RootFile};
use fleet_types::{ClockReading, Reason};

use super::known::Known;
use crate::Problem;

#[derive(Clone)]
pub(super) struct Root {
    pub content: RootContent,
    /// The upstream's Last-Modified.
    pub modified: Option<i64>,
}

/// The file that identifies a state, as one endpoint has it.
pub(super) struct Probe {
    pub root: Root,
    pub known: Known,
}

impl Probe {
    /// The same, asked for again while the clock stood so.
    pub fn seen_at(mut self, clock: Option<ClockReading>) -> Probe {
        self.known.clock = clock;
        self
    }
}

/// A root that came.
pub(super) fn arrived(file: &RootFile, received: Received) -> Root {
    let path = file.path.clone();
    let content = match received.body {
        Some(Body::File(body)) => {
            let body = Arc::new(OnDisk(body));
            RootContent::elsewhere(path, received.digest, received.size, body)
        }
        Some(Body::Memory(bytes)) => RootContent::new(path, bytes),
        None => RootContent::new(path, Vec::new()),
    };
    Root {
        content,
        modified: received.modified,
    }
}

pub(super) fn no_roots(unit: &str, error: FetchError) -> Problem {
    let text = format!(
        "{unit}: the upstream has no such state; check the name, or that the URL is the repository's top folder ({})",
        error.message
    );
    Problem::new(Reason::UpstreamIncomplete, text)
}

/// A file that is open: its name may be gone.
pub(super) struct OnDisk(pub Arc<File>);

impl Reread for OnDisk {
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(FromStart {
            file: &self.0,
            position: 0,
        }))
    }
}

/// Reads by position: others may read the same file.
struct FromStart<'a> {
    file: &'a File,
    position: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}
