//! Content for which the volume has no room: it passes through a window in memory to the one who asked for it, as fast as that
//! one takes it, and nothing of it stays.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, memfd_create};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{Grower, Growing, HELD_BACK};

/// What is in memory of one content, in bytes: more than is held back, so that the rest of it can come.
const WINDOW: u64 = 4 * HELD_BACK;
/// What is written at once.
const PIECE: u64 = HELD_BACK;
/// All that pass at once in this process.
const MOST: usize = 128;

static PLACES: Semaphore = Semaphore::const_new(MOST);

/// Who writes what passes.
#[derive(Debug)]
pub struct Passage {
    file: Arc<File>,
    grower: Grower,
    written: u64,
    /// What was given back of the memory.
    freed: u64,
    taken: u64,
    _place: SemaphorePermit<'static>,
}

/// Why no more passes.
#[derive(Debug)]
pub enum Ended {
    /// Who asked for it has gone.
    Left,
    Failed(io::Error),
}

impl Passage {
    /// For content of `size` bytes, and for one who reads it. `WouldBlock` where too much passes already.
    pub fn new(size: u64) -> io::Result<(Passage, Growing)> {
        let place = PLACES
            .try_acquire()
            .map_err(|_| io::Error::from(io::ErrorKind::WouldBlock))?;
        // Offsets are those of the content; only the window has pages.
        let file = File::from(memfd_create("passing", MemfdFlags::CLOEXEC)?);
        let file = Arc::new(file);
        let (grower, growing) = Growing::new(file.clone(), size);
        let passage = Passage {
            file,
            grower,
            written: 0,
            freed: 0,
            taken: 0,
            _place: place,
        };
        Ok((passage, growing))
    }

    /// How much has passed, or is in the window.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Waits until who reads has taken enough of what came before.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        for piece in bytes.chunks(PIECE as usize) {
            self.make_room(piece.len() as u64).await?;
            self.file
                .write_all_at(piece, self.written)
                .map_err(Ended::Failed)?;
            self.written += piece.len() as u64;
            self.grower.wrote(self.written);
        }
        Ok(())
    }

    async fn make_room(&mut self, bytes: u64) -> Result<(), Ended> {
        let end = self.written + bytes;
        while end.saturating_sub(self.taken) > WINDOW {
            self.taken = self
                .grower
                .taken_beyond(self.taken)
                .await
                .ok_or(Ended::Left)?;
        }
        // Who began behind the first byte has not read what comes before.
        let until = self.taken.min(self.written);
        if until - self.freed >= PIECE {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(&self.file, flags, self.freed, until - self.freed)
                .map_err(|error| Ended::Failed(error.into()))?;
            self.freed = until;
        }
        Ok(())
    }

    /// All of it has come, and was found right.
    pub fn whole(self) {
        self.grower.whole();
    }

    /// What came is not what was promised, or no more comes.
    pub fn fail(self, why: String) {
        self.grower.fail(why);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn content(size: u64) -> Vec<u8> {
        (0..size).map(|at| (at % 251) as u8).collect()
    }

    async fn read(mut growing: Growing, mut at: u64) -> Result<Vec<u8>, Vec<u8>> {
        let mut read = Vec::new();
        while at < growing.size() {
            let Ok(until) = growing.beyond(at).await else {
                return Err(read);
            };
            let mut piece = vec![0; (until - at) as usize];
            growing.file().read_exact_at(&mut piece, at).unwrap();
            read.extend(piece);
            at = until;
        }
        Ok(read)
    }

    fn pages(file: &File) -> u64 {
        use std::os::unix::fs::MetadataExt;
        file.metadata().unwrap().blocks() * 512
    }

    #[tokio::test]
    async fn all_of_it_passes_and_little_of_it_is_in_memory() {
        let size = 10 * WINDOW + 17;
        let content = content(size);
        let (mut passage, growing) = Passage::new(size).unwrap();
        let file = growing.file().clone();
        let reading = tokio::spawn(read(growing, 0));
        for piece in content.chunks(100_000) {
            passage.write(piece).await.unwrap();
            assert!(pages(&file) <= WINDOW + 2 * PIECE, "{}", pages(&file));
        }
        passage.whole();
        assert_eq!(reading.await.unwrap().as_ref(), Ok(&content));
    }

    #[tokio::test]
    async fn who_wants_the_end_alone_is_not_waited_for_before_it() {
        let size = 10 * WINDOW;
        let content = content(size);
        let (mut passage, growing) = Passage::new(size).unwrap();
        let reading = tokio::spawn(read(growing, size - 100));
        passage.write(&content).await.unwrap();
        passage.whole();
        assert_eq!(
            reading.await.unwrap().as_deref(),
            Ok(&content[content.len() - 100..])
        );
    }

    #[tokio::test]
    async fn who_takes_nothing_is_waited_for_and_who_leaves_ends_it() {
        let size = 10 * WINDOW;
        let (mut passage, growing) = Passage::new(size).unwrap();
        let bytes = content(size);
        let writing = tokio::spawn(async move { passage.write(&bytes).await });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!writing.is_finished() && pages(growing.file()) <= WINDOW);
        drop(growing);
        assert!(matches!(writing.await.unwrap(), Err(Ended::Left)));
    }

    #[tokio::test]
    async fn nobody_has_all_of_what_is_wrong() {
        let size = 2 * WINDOW;
        let (mut passage, growing) = Passage::new(size).unwrap();
        let reading = tokio::spawn(read(growing, 0));
        passage.write(&content(size)).await.unwrap();
        passage.fail("wrong".to_owned());
        let read = reading.await.unwrap().unwrap_err();
        assert!(read.len() as u64 <= size - HELD_BACK);
    }
}
