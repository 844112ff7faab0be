//! The private directory of one run: what rsync writes there is read back without following anything.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use fleet_types::{Problem, Reason, RepoPath};
use rustix::fs::{AtFlags, Dir, FallocateFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use tempfile::TempDir;

use super::watch::Extent;
use crate::{FailureKind, FetchError, Validators};

const CHUNK: usize = 256 << 10;
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// NONBLOCK: so that no pipe, should there be one, is waited for. RDWR: to give room back.
const FILE: OFlags = OFlags::RDWR
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);
const PUNCH: FallocateFlags = FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE);
const ALONE: &str = "file";
const MANY: &str = "files";

/// Removed with all that is in it.
pub(super) struct Folder(Arc<TempDir>);

/// Size and time of change of a file: by these rsync tells whether it is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub size: u64,
    /// Since 1970-01-01T00:00:00Z.
    age: Duration,
}

/// A regular file that rsync has written.
pub(super) struct Found {
    pub stamp: Stamp,
    file: Option<File>,
}

impl Folder {
    /// `scratch` is the store's staging.
    pub fn new(scratch: &Path) -> Result<Folder, FetchError> {
        let made = tempfile::Builder::new()
            .prefix("rsync-")
            .tempdir_in(scratch);
        made.map(|dir| Folder(Arc::new(dir))).map_err(failed)
    }

    /// Where a file that comes alone is written.
    pub fn alone(&self) -> OsString {
        self.0.path().join(ALONE).into_os_string()
    }

    /// Where many are written; with a slash at its end.
    pub fn many(&self) -> OsString {
        let mut target = self.0.path().join(MANY).into_os_string();
        target.push("/");
        target
    }

    /// Puts a stand-in without content there: as long as what is not to be fetched again, or with the stamp by which
    /// rsync sees that nothing is new.
    pub fn prepare(&self, position: u64, known: Option<Stamp>) -> Result<(), FetchError> {
        if position == 0 && known.is_none() {
            return Ok(());
        }
        let put = || {
            let file = File::create_new(self.0.path().join(ALONE))?;
            file.set_len(known.map_or(position, |known| known.size))?;
            known.map_or(Ok(()), |known| file.set_modified(UNIX_EPOCH + known.age))
        };
        put().map_err(failed)
    }

    pub async fn open_alone(&self) -> Result<Option<Found>, FetchError> {
        self.blocking(|dir| open(dir, &[ALONE])).await
    }

    pub async fn open(&self, path: &RepoPath) -> Result<Option<Found>, FetchError> {
        let path = path.clone();
        self.blocking(move |dir| open(dir, &parts(&path))).await
    }

    /// Which of these files are there by now.
    pub async fn which_are_there(
        &self,
        paths: Vec<(usize, RepoPath)>,
    ) -> Result<Vec<usize>, FetchError> {
        let look = move |dir: &Path| {
            let mut there = Vec::new();
            for (index, path) in &paths {
                if is_there(dir, &parts(path))? {
                    there.push(*index);
                }
            }
            Ok(there)
        };
        self.blocking(look).await
    }

    /// A file that was taken up needs its room no longer.
    pub async fn remove(&self, path: &RepoPath) -> Result<(), FetchError> {
        let path = path.clone();
        self.blocking(move |dir| remove(dir, &parts(&path))).await
    }

    /// All that is there; counting ends after `most` entries.
    pub async fn extent(&self, most: usize) -> Result<Extent, FetchError> {
        self.blocking(move |dir| extent(dir, most)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, FetchError> {
        let dir = self.0.clone();
        blocking(move || work(dir.path())).await
    }
}

impl Stamp {
    /// As [`Stamp::validators`] has written it.
    pub fn read(validators: &Validators) -> Option<Stamp> {
        let (age, size) = validators.etag.as_deref()?.split_once('-')?;
        let (seconds, nanoseconds) = age.split_once('.')?;
        Some(Stamp {
            size: size.parse().ok()?,
            age: Duration::new(seconds.parse().ok()?, nanoseconds.parse().ok()?),
        })
    }

    pub fn validators(self) -> Validators {
        let (seconds, nanoseconds) = (self.age.as_secs(), self.age.subsec_nanos());
        Validators {
            etag: Some(format!("{seconds}.{nanoseconds:09}-{}", self.size)),
            last_modified: None,
        }
    }

    pub fn modified(self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(self.age)
    }
}

impl Found {
    /// Leaves out what was taken up before.
    pub async fn skip_to(&mut self, position: u64) -> Result<(), FetchError> {
        let Some(mut file) = self.file.take() else {
            return Ok(());
        };
        let file = blocking(move || file.seek(SeekFrom::Start(position)).map(|_| file)).await?;
        self.file = Some(file);
        Ok(())
    }

    pub async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        let Some(mut file) = self.file.take() else {
            return Ok(None);
        };
        let read = move || {
            let mut chunk = Vec::new();
            let at = file.stream_position()?;
            (&mut file).take(CHUNK as u64).read_to_end(&mut chunk)?;
            // Its sink has the only copy from here on, so that a file needs its room once. Where the file system cannot
            // give back a part of a file, it is needed twice for a while.
            let _ = rustix::fs::fallocate(&file, PUNCH, at, chunk.len() as u64);
            Ok((file, chunk))
        };
        let (file, chunk) = blocking(read).await?;
        // The end is not asked for once more.
        self.file = (chunk.len() == CHUNK).then_some(file);
        Ok((!chunk.is_empty()).then(|| chunk.into()))
    }
}

fn parts(path: &RepoPath) -> Vec<&str> {
    std::iter::once(MANY)
        .chain(path.as_str().split('/'))
        .collect()
}

/// The directory that holds the last part; none where one on the way is missing or none.
fn parent(dir: &Path, parts: &[&str]) -> io::Result<Option<std::os::fd::OwnedFd>> {
    let mut at = rustix::fs::open(dir, DIRECTORY, Mode::empty())?;
    for part in parts.split_last().map_or(&[][..], |(_, above)| above) {
        at = match rustix::fs::openat(&at, *part, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            other => other?,
        };
    }
    Ok(Some(at))
}

fn open(dir: &Path, parts: &[&str]) -> io::Result<Option<Found>> {
    let (Some(parent), Some(name)) = (parent(dir, parts)?, parts.last()) else {
        return Ok(None);
    };
    let file = match rustix::fs::openat(parent, *name, FILE, Mode::empty()) {
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::ISDIR) => return Ok(None),
        other => File::from(other?),
    };
    let about = file.metadata()?;
    let age = about.modified()?.duration_since(UNIX_EPOCH);
    let stamp = Stamp {
        size: about.len(),
        age: age.unwrap_or_default(),
    };
    Ok(about.is_file().then_some(Found {
        stamp,
        file: Some(file),
    }))
}

fn is_there(dir: &Path, parts: &[&str]) -> io::Result<bool> {
    let (Some(parent), Some(name)) = (parent(dir, parts)?, parts.last()) else {
        return Ok(false);
    };
    match rustix::fs::statat(parent, *name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(false),
        other => Ok(FileType::from_raw_mode(other?.st_mode) == FileType::RegularFile),
    }
}

fn remove(dir: &Path, parts: &[&str]) -> io::Result<()> {
    let (Some(parent), Some(name)) = (parent(dir, parts)?, parts.last()) else {
        return Ok(());
    };
    match rustix::fs::unlinkat(parent, *name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}

fn extent(dir: &Path, most: usize) -> io::Result<Extent> {
    let mut sum = Extent::default();
    let mut open = vec![rustix::fs::open(dir, DIRECTORY, Mode::empty())?];
    while let Some(at) = open.pop() {
        for entry in Dir::read_from(&at)? {
            let entry = entry?;
            if entry.file_name() == c"." || entry.file_name() == c".." {
                continue;
            }
            sum.entries += 1;
            if sum.entries > most {
                return Ok(sum);
            }
            // rsync renames meanwhile: what is gone is counted under its new name, now or the next time.
            let about = match rustix::fs::statat(&at, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
            {
                Err(Errno::NOENT) => continue,
                other => other?,
            };
            match FileType::from_raw_mode(about.st_mode) {
                FileType::Directory => {
                    let below =
                        rustix::fs::openat(&at, entry.file_name(), DIRECTORY, Mode::empty());
                    open.push(below?);
                }
                FileType::RegularFile => {
                    let bytes = |count: i64| u64::try_from(count).unwrap_or(0);
                    sum.bytes = sum.bytes.saturating_add(bytes(about.st_size));
                    let blocks = bytes(about.st_blocks);
                    sum.on_disk = sum.on_disk.saturating_add(blocks.saturating_mul(512));
                }
                _ => {}
            }
        }
    }
    Ok(sum)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, FetchError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other)
        .and_then(|done| done)
        .map_err(failed)
}

/// Our own disk.
fn failed(error: io::Error) -> FetchError {
    let reason = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Reason::StorageFull,
        ErrorKind::ReadOnlyFilesystem => Reason::StorageReadOnly,
        _ => Reason::StorageFailed,
    };
    let text = format!("what rsync fetches cannot be taken up: {error}");
    let problem = Problem::new(reason, text);
    FetchError::new(FailureKind::Local(problem.clone()), problem.message)
}

/// The disk was full, or something of the kind, while rsync wrote.
pub(super) fn no_room(said: &str) -> Option<FetchError> {
    let reason = [
        ("No space left on device", Reason::StorageFull),
        ("Disk quota exceeded", Reason::StorageFull),
        ("Read-only file system", Reason::StorageReadOnly),
    ];
    let line = |words: &str| said.lines().find(|line| line.contains(words));
    reason.into_iter().find_map(|(words, reason)| {
        let problem = Problem::new(reason, format!("rsync could not write: {}", line(words)?));
        let kind = FailureKind::Local(problem.clone());
        Some(FetchError::new(kind, problem.message))
    })
}
