//! What is on its way: a file of the folder, or bytes in memory where the volume has no room for one and it is small enough.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};

use bytes::Bytes;
use fleet_origin::{FoundBody, ServedFile};
use fleet_types::Sha256;
use tempfile::NamedTempFile;

use crate::disk::{Disk, Shelf};

/// A document may have so many bytes in memory where the volume has no room: a server sends no more from there at once.
pub const DOCUMENT_IN_MEMORY: u64 = 64 << 20;

/// Content that is being written.
pub struct Draft {
    place: Place,
    written: u64,
    /// The most that is put into memory.
    memory: u64,
}

enum Place {
    Folder(NamedTempFile),
    Memory(Vec<u8>),
}

/// Content that was written.
pub struct Settled {
    pub content: Content,
    /// It is a file of its shelf from now on.
    pub is_kept: bool,
}

/// Where it is.
pub enum Content {
    File(File),
    Bytes(Bytes),
}

impl Draft {
    /// Of which so many bytes may be in memory where there is no room for it.
    pub fn new(disk: &Disk, memory: u64) -> io::Result<Draft> {
        let place = match disk.staged() {
            Err(error) if is_full(&error) && memory > 0 => Place::Memory(Vec::new()),
            other => Place::Folder(other?),
        };
        Ok(Draft {
            place,
            written: 0,
            memory,
        })
    }

    pub fn written(&self) -> u64 {
        self.written
    }

    /// To be read while it is written; none where it is in memory.
    pub fn reader(&self) -> io::Result<Option<File>> {
        match &self.place {
            Place::Folder(file) => File::open(file.path()).map(Some),
            Place::Memory(_) => Ok(None),
        }
    }

    /// All that was written.
    pub fn read(&self) -> io::Result<Cow<'_, [u8]>> {
        match &self.place {
            Place::Folder(file) => fs::read(file.path()).map(Cow::Owned),
            Place::Memory(bytes) => Ok(Cow::Borrowed(bytes)),
        }
    }

    /// Goes on in memory with what has been written so far.
    fn leave_the_folder(&mut self) -> io::Result<()> {
        if let Place::Folder(file) = &mut self.place {
            file.rewind()?;
            let mut bytes = Vec::new();
            // An attempt that failed may have written more.
            file.as_file_mut()
                .take(self.written)
                .read_to_end(&mut bytes)?;
            self.place = Place::Memory(bytes);
        }
        Ok(())
    }

    /// Makes it the file of a key, in place of a former one, as far as there is room.
    pub fn settle(self, disk: &Disk, shelf: Shelf, key: &Sha256) -> io::Result<Settled> {
        let file = match self.place {
            Place::Memory(bytes) => {
                return Ok(Settled {
                    content: Content::Bytes(bytes.into()),
                    is_kept: false,
                });
            }
            Place::Folder(file) => file,
        };
        // Opened for reading only, and whatever becomes of its name.
        let reader = File::open(file.path())?;
        let is_kept = match disk.put(shelf, key, file) {
            Ok(_) => true,
            Err(error) if is_full(&error) => false,
            Err(error) => return Err(error),
        };
        Ok(Settled {
            content: Content::File(reader),
            is_kept,
        })
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Place::Folder(file) = &mut self.place {
            match file.write_all(bytes) {
                Err(error) if is_full(&error) && self.memory > 0 => self.leave_the_folder()?,
                other => {
                    other?;
                    self.written += bytes.len() as u64;
                    return Ok(bytes.len());
                }
            }
        }
        if let Place::Memory(held) = &mut self.place {
            if self.written + bytes.len() as u64 > self.memory {
                return Err(io::ErrorKind::StorageFull.into());
            }
            held.extend_from_slice(bytes);
        }
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Content {
    /// All of it.
    pub fn read(&self) -> io::Result<Bytes> {
        match self {
            Content::Bytes(bytes) => Ok(bytes.clone()),
            Content::File(file) => {
                let (mut file, mut bytes) = (file, Vec::new());
                file.rewind()?;
                file.read_to_end(&mut bytes)?;
                Ok(bytes.into())
            }
        }
    }

    pub fn into_body(self, tag: &Sha256) -> io::Result<FoundBody> {
        Ok(match self {
            Content::File(file) => FoundBody::File(ServedFile::new(tag, file)?),
            Content::Bytes(bytes) => FoundBody::Bytes(bytes),
        })
    }
}

/// Whether a volume has no room, or a quota leaves none.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::key;

    #[test]
    fn what_leaves_the_folder_is_the_same_and_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), "npm", "http://a").unwrap();
        let key = key(&[b"a"]);
        let mut draft = Draft::new(&disk, 8).unwrap();
        draft.write_all(b"123").unwrap();
        // As if a second write had failed in its middle.
        if let Place::Folder(file) = &mut draft.place {
            file.write_all(b"4").unwrap();
        }
        draft.leave_the_folder().unwrap();
        draft.write_all(b"45678").unwrap();
        assert!(
            is_full(&draft.write_all(b"9").unwrap_err()),
            "no more than is allowed"
        );
        let settled = draft.settle(&disk, Shelf::Tarballs, &key).unwrap();
        assert!(!settled.is_kept && disk.open_file(Shelf::Tarballs, &key).unwrap().is_none());
        assert_eq!(&settled.content.read().unwrap()[..], b"12345678");
    }

    #[test]
    fn what_has_room_is_the_file_of_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), "npm", "http://a").unwrap();
        let key = key(&[b"a"]);
        let mut draft = Draft::new(&disk, 0).unwrap();
        let mut reader = draft.reader().unwrap().unwrap();
        draft.write_all(b"123").unwrap();
        let settled = draft.settle(&disk, Shelf::Tarballs, &key).unwrap();
        assert!(settled.is_kept);
        assert_eq!(&settled.content.read().unwrap()[..], b"123");
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, "123");
    }
}
