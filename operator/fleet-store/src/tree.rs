//! Writing files below one directory under names that came from an upstream.
//!
//! Every step is relative to an open directory and follows no symbolic link, so nothing is touched outside, whatever
//! lies in the tree and whoever changes it meanwhile.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use crate::Entry;
use crate::error::{Doing, Result};

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const TEMPORARY: &str = ".mirrorfleet-new";

/// How files get into the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExportMode {
    /// Reflink where the file system has it, else hard link, else copy.
    #[default]
    Auto,
    /// Hard links: no space, but the blobs' mode 0444 and time, and editing one edits the store (`verify` catches it).
    /// Names whose content changes are copied, so that they have times of their own.
    Link,
    /// Copies that share their space until one is changed.
    Reflink,
    Copy,
}

/// A directory tree, with the directories on the way to the last path held open.
pub(crate) struct Tree {
    root: OwnedFd,
    open: Vec<(String, OwnedFd)>,
}

impl Tree {
    pub fn open(root: &Path) -> io::Result<Tree> {
        Ok(Tree {
            root: rustix::fs::open(root, DIRECTORY, Mode::empty())?,
            open: Vec::new(),
        })
    }

    /// Whether the file system has symbolic links, which those of cameras and memory sticks do not.
    pub fn takes_links(&self) -> io::Result<bool> {
        remove_temporary(self.root.as_fd())?;
        match rustix::fs::symlinkat(".", &self.root, TEMPORARY) {
            Ok(()) => remove_temporary(self.root.as_fd()).map(|()| true),
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a regular file of this size is there.
    pub fn has(&mut self, path: &str, size: u64) -> io::Result<bool> {
        let (parent, name) = split(path);
        let Some(dir) = self.directory(parent, false)? else {
            return Ok(false);
        };
        match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(
                FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                    && stat.st_size as u64 == size,
            ),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Removes a file, and the directories that become empty by it. False when there is no such file.
    pub fn remove(&mut self, path: &str) -> io::Result<bool> {
        let (parent, name) = split(path);
        let Some(dir) = self.directory(parent, false)? else {
            return Ok(false);
        };
        match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
            // A directory by now: EISDIR on Linux, EPERM elsewhere.
            Err(Errno::NOENT | Errno::ISDIR | Errno::PERM) => return Ok(false),
            other => other?,
        }
        let mut empty = parent;
        while !empty.is_empty() {
            let (above, name) = split(empty);
            self.open.truncate(depth(above));
            let Some(dir) = self.directory(above, false)? else {
                break;
            };
            if rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR).is_err() {
                break;
            }
            empty = above;
        }
        Ok(true)
    }

    /// Puts a symbolic link in the place of `path`, in one step; false when a directory is there. Nothing is done where it
    /// is as it should be.
    pub fn link(&mut self, path: &str, says: &str) -> io::Result<bool> {
        if self.is_link(path, says)? {
            return Ok(true);
        }
        let (parent, name) = split(path);
        let Some(dir) = self.directory(parent, true)? else {
            return Ok(false);
        };
        remove_temporary(dir)?;
        rustix::fs::symlinkat(says, dir, TEMPORARY)?;
        match rustix::fs::renameat(dir, TEMPORARY, dir, name) {
            Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {
                remove_temporary(dir)?;
                Ok(false)
            }
            other => Ok(other.map(|()| true)?),
        }
    }

    /// Whether there is a symbolic link that says this.
    pub fn is_link(&mut self, path: &str, says: &str) -> io::Result<bool> {
        let (parent, name) = split(path);
        let Some(dir) = self.directory(parent, false)? else {
            return Ok(false);
        };
        let now = rustix::fs::readlinkat(dir, name, Vec::new());
        Ok(now.is_ok_and(|now| now.as_bytes() == says.as_bytes()))
    }

    /// Removes a symbolic link; anything else in its place stays.
    pub fn unlink(&mut self, path: &str) -> io::Result<bool> {
        let (parent, name) = split(path);
        let is_link = match self.directory(parent, false)? {
            Some(dir) => rustix::fs::readlinkat(dir, name, Vec::new()).is_ok(),
            None => false,
        };
        Ok(is_link && self.remove(path)?)
    }

    /// Writes a file of our own making.
    pub fn write(&mut self, path: &str, content: &[u8], mtime: i64) -> io::Result<bool> {
        let (parent, name) = split(path);
        let Some(dir) = self.directory(parent, true)? else {
            return Ok(false);
        };
        remove_temporary(dir)?;
        write_copy(dir, mtime, |mut new| new.write_all(content))?;
        match rustix::fs::renameat(dir, TEMPORARY, dir, name) {
            Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {
                remove_temporary(dir)?;
                Ok(false)
            }
            other => Ok(other.map(|()| true)?),
        }
    }

    /// Opens a directory of the tree. With `create`, directories are made, and a file or link in their place is
    /// removed; otherwise none where there is no such directory.
    fn directory(&mut self, path: &str, create: bool) -> io::Result<Option<BorrowedFd<'_>>> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let shared = self
            .open
            .iter()
            .zip(&parts)
            .take_while(|((name, _), part)| name == *part)
            .count();
        self.open.truncate(shared);
        for part in parts.get(shared..).unwrap_or_default() {
            let above = self
                .open
                .last()
                .map_or(self.root.as_fd(), |(_, fd)| fd.as_fd());
            let Some(fd) = open_directory(above, part, create)? else {
                return Ok(None);
            };
            self.open.push(((*part).to_owned(), fd));
        }
        Ok(Some(
            self.open
                .last()
                .map_or(self.root.as_fd(), |(_, fd)| fd.as_fd()),
        ))
    }
}

fn depth(path: &str) -> usize {
    path.split('/').filter(|part| !part.is_empty()).count()
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn open_directory(above: BorrowedFd<'_>, name: &str, create: bool) -> io::Result<Option<OwnedFd>> {
    let open = || rustix::fs::openat(above, name, DIRECTORY, Mode::empty());
    match open() {
        Ok(fd) => return Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !create => return Ok(None),
        Err(Errno::NOENT) => {}
        Err(Errno::NOTDIR | Errno::LOOP) => rustix::fs::unlinkat(above, name, AtFlags::empty())?,
        Err(e) => return Err(e.into()),
    }
    match rustix::fs::mkdirat(above, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(Some(open()?)),
        Err(e) => Err(e.into()),
    }
}

/// How files are written, and what turned out not to work.
pub(crate) struct Writing {
    requested: ExportMode,
    /// With `Auto`: the best that has not failed.
    mode: ExportMode,
}

impl Writing {
    pub fn new(requested: ExportMode) -> Writing {
        let mode = if requested == ExportMode::Auto {
            ExportMode::Reflink
        } else {
            requested
        };
        Writing { requested, mode }
    }

    pub fn used(&self) -> ExportMode {
        self.mode
    }

    /// Writes a file in one step. False when a directory is in its place.
    pub fn put(
        &mut self,
        tree: &mut Tree,
        path: &str,
        source: &Path,
        blob: &File,
        entry: &Entry,
    ) -> Result<bool> {
        let (parent, name) = split(path);
        let dir = tree
            .directory(parent, true)
            .doing("exporting a directory")?;
        let Some(dir) = dir else { return Ok(false) };
        self.write_temporary(dir, source, blob, entry)
            .doing("exporting a file")?;
        let renamed = rustix::fs::renameat(dir, TEMPORARY, dir, name);
        if self.mode == ExportMode::Link || renamed.is_err() {
            // Renaming one link of a file over another does nothing and leaves both.
            remove_temporary(dir).doing("exporting a file")?;
        }
        match renamed {
            // What an earlier snapshot left there may be an empty directory.
            Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            other => other.doing("exporting a file").map(|()| true),
        }
    }

    fn write_temporary(
        &mut self,
        dir: BorrowedFd<'_>,
        source: &Path,
        blob: &File,
        entry: &Entry,
    ) -> io::Result<()> {
        let mtime = entry.mtime;
        remove_temporary(dir)?;
        loop {
            let written = match self.mode_for(entry) {
                ExportMode::Link => {
                    rustix::fs::linkat(rustix::fs::CWD, source, dir, TEMPORARY, AtFlags::empty())
                        .map_err(io::Error::from)
                }
                ExportMode::Reflink => {
                    write_copy(dir, mtime, |new| Ok(rustix::fs::ioctl_ficlone(new, blob)?))
                }
                ExportMode::Copy | ExportMode::Auto => write_copy(dir, mtime, |mut new| {
                    let mut content = File::open(source)?;
                    io::copy(&mut content, &mut new).map(drop)
                }),
            };
            let Err(e) = written else { return Ok(()) };
            remove_temporary(dir)?;
            match self.next_best(&e) {
                Some(mode) => self.mode = mode,
                None => return Err(e),
            }
        }
    }

    /// A link has the blob's own time. Where content changes under a name, others tell by the time that it has, so that
    /// such files are copied; they are few.
    fn mode_for(&self, entry: &Entry) -> ExportMode {
        match self.mode {
            ExportMode::Link if entry.mutable => ExportMode::Copy,
            mode => mode,
        }
    }

    fn next_best(&self, error: &io::Error) -> Option<ExportMode> {
        let errno = error.raw_os_error().map(Errno::from_raw_os_error)?;
        let cannot = [
            Errno::OPNOTSUPP,
            Errno::XDEV,
            Errno::INVAL,
            Errno::NOTTY,
            Errno::NOSYS,
            Errno::PERM,
            Errno::MLINK,
        ];
        if self.requested != ExportMode::Auto || !cannot.contains(&errno) {
            return None;
        }
        match self.mode {
            ExportMode::Reflink => Some(ExportMode::Link),
            ExportMode::Link => Some(ExportMode::Copy),
            ExportMode::Copy | ExportMode::Auto => None,
        }
    }
}

fn write_copy(
    dir: BorrowedFd<'_>,
    mtime: i64,
    fill: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let new = File::from(rustix::fs::openat(
        dir,
        TEMPORARY,
        flags,
        Mode::from_raw_mode(0o644),
    )?);
    fill(&new)?;
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime,
            tv_nsec: 0,
        },
    };
    Ok(rustix::fs::futimens(&new, &times)?)
}

fn remove_temporary(dir: BorrowedFd<'_>) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, TEMPORARY, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}
