//! A body of which nothing is known but a limit: in memory while it is small, else in a file without a name.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use fleet_types::{Problem, Reason, Sha256};
use sha2::Digest as _;

use super::error::SinkError;

/// More than this goes to the disk.
const IN_MEMORY_BYTES: usize = 1 << 20;

/// A body that came.
#[derive(Debug, Clone)]
pub enum Body {
    Memory(Vec<u8>),
    File(Arc<File>),
}

/// What a complete body came to.
pub(crate) struct Taken {
    pub digest: Sha256,
    pub size: u64,
    pub body: Option<Body>,
}

#[derive(Debug)]
pub(super) struct Spool {
    bytes: Vec<u8>,
    file: Option<Arc<File>>,
    position: u64,
    hasher: sha2::Sha256,
    pub limit: u64,
    folder: PathBuf,
}

impl Spool {
    pub fn new(limit: u64, folder: PathBuf) -> Spool {
        Spool {
            bytes: Vec::new(),
            file: None,
            position: 0,
            hasher: sha2::Sha256::new(),
            limit,
            folder,
        }
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    pub async fn write(&mut self, chunk: Bytes) -> Result<(), SinkError> {
        self.hasher.update(&chunk);
        let at = self.position;
        self.position += chunk.len() as u64;
        match &self.file {
            Some(file) => {
                let file = file.clone();
                off_thread(move || file.write_all_at(&chunk, at)).await
            }
            None => {
                self.bytes.extend_from_slice(&chunk);
                if self.bytes.len() > IN_MEMORY_BYTES {
                    self.move_to_disk().await?;
                }
                Ok(())
            }
        }
    }

    async fn move_to_disk(&mut self) -> Result<(), SinkError> {
        let (bytes, folder) = (std::mem::take(&mut self.bytes), self.folder.clone());
        let file = off_thread(move || {
            let file = tempfile::tempfile_in(folder)?;
            file.write_all_at(&bytes, 0).map(|()| file)
        });
        self.file = Some(Arc::new(file.await?));
        Ok(())
    }

    pub fn restart(&mut self) {
        *self = Spool::new(self.limit, std::mem::take(&mut self.folder));
    }

    pub fn take(&mut self) -> Taken {
        let body = match self.file.take() {
            Some(file) => Body::File(file),
            None => Body::Memory(std::mem::take(&mut self.bytes)),
        };
        let taken = Taken {
            digest: Sha256(self.hasher.finalize_reset().into()),
            size: self.position,
            body: Some(body),
        };
        self.position = 0;
        taken
    }
}

/// A slow disk must not hold up the connections' thread.
async fn off_thread<T: Send + 'static>(
    write: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, SinkError> {
    let written = tokio::task::spawn_blocking(write).await;
    let written = written.unwrap_or_else(|stopped| Err(io::Error::other(stopped)));
    written.map_err(|error| {
        let text =
            format!("what is read to learn the upstream's state cannot be set aside: {error}");
        SinkError::Store(Problem::new(Reason::StorageFailed, text))
    })
}
