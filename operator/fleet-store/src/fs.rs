//! The seam to the file system: every operation whose *order* decides what survives a power cut.
//!
//! Reading and writing file content is plain `std::fs`; creating, renaming, removing and syncing goes through
//! [`FileSystem`], so that a test can put a model in place of the disk that forgets what was not synced.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat, renameat};
use rustix::io::{Errno, retry_on_intr};

/// The mode of what is complete.
pub(crate) const READ_ONLY: u32 = 0o444;

/// Changes to names, and the promises that make changes durable.
pub(crate) trait FileSystem: Send + Sync {
    /// Creates one directory; success when it exists already.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Opens for reading and writing; creates the file when it is missing, empties it when `truncate`.
    fn open(&self, path: &Path, truncate: bool) -> io::Result<File>;
    /// The same, emptied, for a file that is written at once: one that is new is read-only for whoever opens it next.
    fn open_once(&self, path: &Path) -> io::Result<File>;
    /// rename(2): replaces `to` in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// fsync(2) of a file's content. Its name may still be forgotten.
    fn sync_file(&self, file: &File) -> io::Result<()>;
    /// fsync(2) of a directory: the names in it.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// syncfs(2): all content and all names on the store's file system.
    fn sync_all(&self) -> io::Result<()>;
}

/// Opens a file for reading. What is no file (a folder, a pipe that would keep us waiting for ever) is an error.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path)?;
    let about = file.metadata()?;
    match about.is_file() {
        true => Ok(file),
        false if about.is_dir() => Err(Errno::ISDIR.into()),
        false => Err(Errno::NXIO.into()),
    }
}

/// `mode` is that of a file that is new.
fn writable(truncate: bool, mode: u32) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    options.truncate(truncate).mode(mode);
    options.custom_flags(OFlags::NOFOLLOW.bits() as i32);
    options
}

/// Whether the mode of a file is that of a blob: what it was made with can be another, by a umask or by the folder's own
/// rules.
pub(crate) fn is_read_only(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.mode() & 0o7777 == READ_ONLY)
}

/// The real thing.
pub(crate) struct Disk {
    /// Opened before the first write, so that syncfs reports every write-back error since then.
    root: File,
    path: PathBuf,
}

impl Disk {
    pub fn new(root: &Path) -> io::Result<Disk> {
        Ok(Disk {
            root: File::open(root)?,
            path: root.to_owned(),
        })
    }

    /// As the kernel is told of a path: from the store's own folder on, so that it does not walk through all above it for
    /// each of many files.
    fn at<'a>(&'a self, path: &'a Path) -> (BorrowedFd<'a>, &'a Path) {
        match path.strip_prefix(&self.path) {
            Ok(inside) => (self.root.as_fd(), inside),
            Err(_) => (CWD, path),
        }
    }
}

impl FileSystem for Disk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match fs::DirBuilder::new().mode(0o755).create(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            other => other,
        }
    }

    fn open(&self, path: &Path, truncate: bool) -> io::Result<File> {
        writable(truncate, 0o644).open(path)
    }

    fn open_once(&self, path: &Path) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (folder, path) = self.at(path);
        let open = || openat(folder, path, flags, Mode::from_raw_mode(READ_ONLY));
        Ok(File::from(retry_on_intr(open)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((old, from), (new, to)) = (self.at(from), self.at(to));
        Ok(renameat(old, from, new, to)?)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.root)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_keeps_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, 0o644.into(), 0).unwrap();
        for path in [pipe.as_path(), dir.path()] {
            let error = crate::StoreError::io("reading", open_file(path).unwrap_err());
            assert!(error.is_damage(), "{error}");
        }
    }
}
