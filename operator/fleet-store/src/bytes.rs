//! The bytes of an immutable file: mapped where that is safe, on the heap where it is not.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::ops::Range;
use std::sync::Arc;

use memmap2::Mmap;

use crate::space;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Bytes(Arc<Source>);

enum Source {
    Mapped(Mmap),
    Heap(Vec<u8>),
}

impl Bytes {
    /// Maps the file on a local file system and reads it on a network one, where another machine can remove the file
    /// and touching the mapping would then end the process (SIGBUS).
    pub fn of(file: &File) -> io::Result<Bytes> {
        let source = if space::is_network(file) {
            Source::Heap(read_whole(file)?)
        } else {
            Source::Mapped(map(file)?)
        };
        Ok(Bytes(Arc::new(source)))
    }

    pub fn get(&self, range: Range<usize>) -> Option<&[u8]> {
        self.as_slice().get(range)
    }

    /// None when the range is not inside.
    pub fn region(&self, range: Range<usize>) -> Option<Region> {
        self.get(range.clone())?;
        Some(Region {
            bytes: self.clone(),
            range,
        })
    }

    /// Gives the pages of this range back; they are read again when they are asked for.
    pub fn release(&self, range: Range<usize>) {
        let Source::Mapped(map) = &*self.0 else {
            return;
        };
        let whole_pages = range.start.next_multiple_of(PAGE)..range.end / PAGE * PAGE;
        if whole_pages.is_empty() || whole_pages.end > map.len() {
            return;
        }
        // SAFETY: the mapping is shared, read-only and of a file, so a page that was given back is filled from the
        // file again, with the same bytes, by whoever touches it next.
        #[allow(unsafe_code)]
        let released = unsafe {
            map.unchecked_advise_range(
                memmap2::UncheckedAdvice::DontNeed,
                whole_pages.start,
                whole_pages.len(),
            )
        };
        if let Err(e) = released {
            tracing::debug!(error = %e, "cannot give back pages of an index");
        }
    }

    fn as_slice(&self) -> &[u8] {
        match &*self.0 {
            Source::Mapped(map) => map,
            Source::Heap(bytes) => bytes,
        }
    }
}

/// The largest page size of the machines that we run on; alignment to it is alignment to all.
const PAGE: usize = 64 << 10;

fn read_whole(mut file: &File) -> io::Result<Vec<u8>> {
    file.rewind()?;
    let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or(0));
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: an index has mode 0444, is never written again after its rename, and is only ever unlinked, which on a
    // local file system leaves the mapping intact.
    #[allow(unsafe_code)]
    unsafe {
        Mmap::map(file)
    }
}

/// A part of the bytes that keeps all of them alive.
pub(crate) struct Region {
    bytes: Bytes,
    range: Range<usize>,
}

impl AsRef<[u8]> for Region {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(self.range.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_pages_are_read_again_with_the_same_content() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..PAGE * 4).map(|n| (n / 7) as u8).collect();
        io::Write::write_all(&mut file, &content).unwrap();
        for bytes in [
            Bytes(Arc::new(Source::Mapped(map(&file).unwrap()))),
            Bytes(Arc::new(Source::Heap(read_whole(&file).unwrap()))),
        ] {
            bytes.release(10..PAGE * 3 + 5);
            bytes.release(0..PAGE * 100);
            assert_eq!(bytes.get(0..content.len()).unwrap(), content);
            assert!(bytes.get(1..content.len() + 1).is_none());
            assert!(bytes.region(5..content.len() + 1).is_none());
        }
    }
}
