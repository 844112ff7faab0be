//! Downloads on their way to becoming blobs.
//!
//! # Order
//!
//! Content is written under `staging/`, hashed while it streams. A batch is made durable with one `syncfs`, then
//! renamed into `blobs/`, then a second `syncfs` makes the names durable: a blob that exists is complete, whatever
//! happens in between. Before the first `syncfs` the digests are noted in `state/committed`, so that blobs of a run
//! that never makes a snapshot are found again without listing all blobs.

mod found;

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleet_types::{Digest, Expected, Sha256, counted, lock};
use sha2::Digest as _;

use crate::error::{Doing, Result, StoreError};
use crate::fs::{FileSystem, READ_ONLY, is_read_only};
use crate::shared::Shared;

/// Where downloads become blobs. Cheap to clone; several threads may use it at once.
#[derive(Clone)]
pub struct Staging {
    shared: Arc<Shared>,
}

const DOING: &str = "writing a download";

impl Staging {
    pub(crate) fn new(shared: Arc<Shared>) -> Staging {
        Staging { shared }
    }

    /// Opens the staged file for this content and takes up what an earlier run left of it, after hashing that again.
    /// The content may be complete already: then `remaining()` is 0 and only `finish` is left to do.
    pub fn begin(&self, expected: &Expected) -> Result<StagedFile> {
        let hasher = Hasher::new(&expected.digest)?;
        let (reservation, resumable) = self.reserve(&expected.digest);
        let path = &reservation.path;
        let file = self.or_anew(path, |fs| fs.open(path, !resumable))?;
        let mut staged = StagedFile {
            file,
            hasher,
            expected: *expected,
            written: 0,
            keep: resumable,
            reservation: Some(reservation),
        };
        staged.take_up()?;
        Ok(staged)
    }

    /// Content that is whole, and waits for its batch; none otherwise.
    pub fn open_complete(&self, digest: &Sha256) -> Option<File> {
        // It may become a blob at this moment.
        let path = lock(&self.shared.complete).get(digest).cloned()?;
        File::open(path).ok()
    }

    /// Stages content that is in memory already.
    pub fn put_bytes(&self, content: &[u8]) -> Result<Staged> {
        let digest = Sha256(sha2::Sha256::digest(content).into());
        self.write_whole(digest, &Digest::Sha256(digest), content)
    }

    /// Stages content that is in memory as a whole, and is what an index promises. Nothing is written otherwise.
    pub fn put(&self, expected: &Expected, content: &[u8]) -> Result<Staged> {
        let found = content.len() as u64;
        if found > expected.size {
            return Err(StoreError::TooLong {
                expected: expected.size,
            });
        }
        if found < expected.size {
            return Err(StoreError::TooShort {
                expected: expected.size,
                found,
            });
        }
        let mut hasher = Hasher::new(&expected.digest)?;
        hasher.update(content);
        let (digest, believed) = hasher.finish();
        if believed != expected.digest {
            return Err(StoreError::WrongDigest {
                expected: Box::new(expected.digest),
                found: Box::new(believed),
            });
        }
        self.write_whole(digest, &expected.digest, content)
    }

    /// In as few steps as there are: most files of most repositories come this way.
    fn write_whole(&self, digest: Sha256, promised: &Digest, content: &[u8]) -> Result<Staged> {
        let reservation = self.reserve(promised).0;
        let path = &reservation.path;
        let mut file = self.or_anew(path, |fs| fs.open_once(path))?;
        file.write_all(content).doing(DOING)?;
        Ok(Staged {
            digest,
            size: content.len() as u64,
            is_read_only: is_read_only(&file).doing(DOING)?,
            reservation: Some(reservation.completed(digest)),
        })
    }

    fn reserve(&self, promised: &Digest) -> (Reservation, bool) {
        let (path, resumable) = self.shared.reserve(self.shared.layout.staged(promised));
        let reservation = Reservation {
            shared: Arc::clone(&self.shared),
            path,
            holds: None,
        };
        (reservation, resumable)
    }

    /// Makes a batch durable and moves it among the blobs. Content that is a blob already replaces it, which repairs
    /// a damaged one.
    pub fn commit_batch(&self, batch: Vec<Staged>) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let _no_collection = self.shared.committing();
        let digests: Vec<Sha256> = batch.iter().map(|staged| staged.digest).collect();
        self.shared.note_committed(&digests)?;
        if let Err(e) = self.shared.fs.sync_all().doing(DOING) {
            // What the disk failed to write may look right until it is read again from the disk: fetch it again.
            batch
                .iter()
                .for_each(|staged| drop(self.shared.fs.remove_file(staged.path())));
            return Err(e);
        }
        for staged in &batch {
            self.move_to_blobs(staged)?;
        }
        self.shared.fs.sync_all().doing(DOING)
    }

    /// Makes it a blob, durable or not.
    pub(crate) fn move_to_blobs(&self, staged: &Staged) -> Result<()> {
        if !staged.is_read_only {
            let mode = Permissions::from_mode(READ_ONLY);
            fs::set_permissions(staged.path(), mode).doing(DOING)?;
        }
        let (fs, layout) = (&self.shared.fs, &self.shared.layout);
        let blob = layout.blob(&staged.digest);
        let [first, ..] = staged.digest.0;
        let shard = layout.shard(first);
        match fs.rename(staged.path(), &blob) {
            Ok(()) => {
                // Who fills the store beside this writer may have made the folder.
                self.shared.shards.made(first);
                return Ok(());
            }
            Err(e) if e.kind() == ErrorKind::NotFound => self.make_shard(first)?,
            Err(e) if e.kind() == ErrorKind::NotADirectory => {
                self.shared.set_aside(&shard, "it is not a directory")?;
                self.make_shard(first)?;
            }
            Err(e) if e.kind() == ErrorKind::IsADirectory => {
                self.shared.set_aside(&blob, "it is not a file")?;
            }
            Err(e) => return Err(e).doing(DOING),
        }
        fs.rename(staged.path(), &blob).doing(DOING)
    }

    fn make_shard(&self, first_byte: u8) -> Result<()> {
        let shard = self.shared.layout.shard(first_byte);
        self.shared.fs.create_dir(&shard).doing(DOING)?;
        self.shared.shards.made(first_byte);
        Ok(())
    }

    /// Opens a staged file, where need be after what is there was removed.
    fn or_anew(
        &self,
        path: &Path,
        open: impl Fn(&dyn FileSystem) -> std::io::Result<File>,
    ) -> Result<File> {
        let fs = self.shared.fs.as_ref();
        match open(fs) {
            // Killed between becoming read-only and being moved: it cannot be continued, and need not be.
            Err(e) if e.kind() == ErrorKind::PermissionDenied && path.is_file() => {
                fs.remove_file(path).doing(DOING)?;
                open(fs).doing(DOING)
            }
            other => other.doing(DOING),
        }
    }
}

/// Content that is being written.
pub struct StagedFile {
    file: File,
    hasher: Hasher,
    expected: Expected,
    written: u64,
    /// Whether a later run can use what is there when this value is dropped before its end.
    keep: bool,
    /// Moves on into [`Staged`].
    reservation: Option<Reservation>,
}

impl StagedFile {
    /// How many bytes are there already: where a Range request continues.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// How many bytes are still missing.
    pub fn remaining(&self) -> u64 {
        self.expected.size - self.written
    }

    /// Starts again from nothing (a 200 to a Range request).
    pub fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).doing(DOING)?;
        self.file.rewind().doing(DOING)?;
        self.hasher = Hasher::new(&self.expected.digest)?;
        self.written = 0;
        Ok(())
    }

    /// Appends and hashes. [`StoreError::TooLong`] when the index promised less; nothing of `bytes` is written then,
    /// and what was staged is given up.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() as u64 > self.remaining() {
            self.keep = false;
            return Err(StoreError::TooLong {
                expected: self.expected.size,
            });
        }
        self.file.write_all(bytes).doing(DOING)?;
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Checks size and digest. [`StoreError::TooShort`] keeps what is there for the next try,
    /// [`StoreError::WrongDigest`] gives it up.
    pub fn finish(mut self) -> Result<Staged> {
        if self.remaining() > 0 {
            return Err(StoreError::TooShort {
                expected: self.expected.size,
                found: self.written,
            });
        }
        let (digest, believed) = self.hasher.clone().finish();
        if believed != self.expected.digest {
            self.keep = false;
            return Err(StoreError::WrongDigest {
                expected: Box::new(self.expected.digest),
                found: Box::new(believed),
            });
        }
        self.keep = true;
        let reservation = self.reservation.take();
        let reservation = reservation.map(|reservation| reservation.completed(digest));
        Ok(Staged {
            digest,
            size: self.written,
            is_read_only: false,
            reservation,
        })
    }

    /// Hashes what an earlier run left.
    fn take_up(&mut self) -> Result<()> {
        let found = self.file.metadata().doing(DOING)?.len();
        if found > self.expected.size {
            return self.restart();
        }
        self.file.seek(SeekFrom::Start(0)).doing(DOING)?;
        let read = self.hasher.update_from(&mut self.file);
        self.written += read.doing("reading an unfinished download")?;
        let complete = self.remaining() == 0 && found > 0;
        if complete && self.hasher.clone().finish().1 != self.expected.digest {
            return self.restart();
        }
        Ok(())
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if let (false, Some(reservation)) = (self.keep, &self.reservation)
            && let Err(e) = reservation.shared.fs.remove_file(&reservation.path)
        {
            tracing::debug!(error = %e, "cannot remove a staged file that is given up");
        }
    }
}

/// Complete, verified content that waits for its batch.
pub struct Staged {
    digest: Sha256,
    size: u64,
    is_read_only: bool,
    reservation: Option<Reservation>,
}

impl Staged {
    /// The name of the blob that it becomes.
    pub fn digest(&self) -> Sha256 {
        self.digest
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// The verified content, for reading it before it is committed.
    pub fn open(&self) -> Result<File> {
        File::open(self.path()).doing("reading a download")
    }

    fn path(&self) -> &Path {
        self.reservation.as_ref().map_or(Path::new(""), |r| &r.path)
    }
}

impl std::fmt::Debug for Staged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Staged({}, {})", self.digest, counted(self.size, "byte"))
    }
}

/// Keeps a second download of the same content away from a file.
struct Reservation {
    shared: Arc<Shared>,
    path: PathBuf,
    /// What is there, once it is whole.
    holds: Option<Sha256>,
}

impl Reservation {
    fn completed(mut self, digest: Sha256) -> Reservation {
        lock(&self.shared.complete).insert(digest, self.path.clone());
        self.holds = Some(digest);
        self
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(digest) = &self.holds {
            lock(&self.shared.complete).remove(digest);
        }
        self.shared.release(&self.path);
    }
}

/// SHA-256 always, since it names the blob; SHA-512 where that is what the index promises.
#[derive(Clone)]
struct Hasher {
    sha256: sha2::Sha256,
    sha512: Option<Box<sha2::Sha512>>,
}

impl Hasher {
    fn new(expected: &Digest) -> Result<Hasher> {
        let algorithm = expected.algorithm();
        if !algorithm.is_strong() {
            return Err(StoreError::WeakDigest { algorithm });
        }
        let sha512 = matches!(expected, Digest::Sha512(_)).then(Box::default);
        Ok(Hasher {
            sha256: sha2::Sha256::new(),
            sha512,
        })
    }

    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(sha512) = &mut self.sha512 {
            sha512.update(bytes);
        }
    }

    /// Takes in all that is left of a file; how many bytes.
    fn update_from(&mut self, file: &mut File) -> std::io::Result<u64> {
        let mut block = [0; 64 << 10];
        let mut read = 0;
        loop {
            match file.read(&mut block)? {
                0 => return Ok(read),
                count => {
                    self.update(&block[..count]);
                    read += count as u64;
                }
            }
        }
    }

    /// The blob's name, and the digest to compare with the promised one.
    fn finish(self) -> (Sha256, Digest) {
        let sha256 = Sha256(self.sha256.finalize().into());
        let believed = self.sha512.map_or(Digest::Sha256(sha256), |sha512| {
            Digest::Sha512(sha512.finalize().into())
        });
        (sha256, believed)
    }
}
