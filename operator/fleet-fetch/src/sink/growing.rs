//! A body that goes to the disk while it arrives, so that another answer, or another run, can continue it.

use std::sync::Arc;

use bytes::Bytes;
use fleet_types::{Expected, Sha256};

use super::super::Bound;
use super::super::bodies::{BodyStore, OpenBody};
use super::SinkError;

#[derive(Debug)]
pub(super) struct Growing {
    /// None until the first byte is awaited.
    file: Option<Box<dyn OpenBody>>,
    position: u64,
    expected: Expected,
    length: Length,
    store: Arc<dyn BodyStore>,
}

/// What is known of the size of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    /// The index promises it.
    Promised,
    /// The index does not say it; no more than this is taken. Where an answer has announced its length, that is
    /// `expected.size`.
    AtMost { limit: u64, announced: bool },
}

/// What came of an announced length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// It is needed, and missing.
    Unknown,
    /// Nothing changes.
    Known,
    /// It is the size from now on, and the file begins again.
    Anew,
}

impl Growing {
    pub fn of_size(expected: Expected, store: Arc<dyn BodyStore>) -> Growing {
        Growing {
            file: None,
            position: 0,
            expected,
            length: Length::Promised,
            store,
        }
    }

    /// `expected.size` is the most that it may have.
    pub fn up_to(expected: Expected, store: Arc<dyn BodyStore>) -> Growing {
        Growing {
            length: Length::AtMost {
                limit: expected.size,
                announced: false,
            },
            ..Growing::of_size(expected, store)
        }
    }

    /// How many bytes are known to be there.
    pub fn position(&self) -> u64 {
        self.position
    }

    pub fn bound(&self) -> Bound {
        match self.length {
            Length::AtMost {
                limit,
                announced: false,
            } => Bound::AtMost(limit),
            _ => Bound::Exactly(self.expected),
        }
    }

    /// Takes the length of a whole body as the file's size where no index says it.
    pub async fn settle(&mut self, announced: Option<u64>) -> Result<Settled, SinkError> {
        let Length::AtMost {
            limit,
            announced: known,
        } = &mut self.length
        else {
            return Ok(Settled::Known);
        };
        let Some(size) = announced else {
            return Ok(Settled::Unknown);
        };
        if size > *limit {
            return Err(SinkError::TooLong {
                limit: *limit,
                exact: false,
            });
        }
        if *known && self.expected.size == size {
            return Ok(Settled::Known);
        }
        (self.expected.size, *known, self.position) = (size, true, 0);
        // Closed before it is opened again.
        self.file = None;
        let begun = self.store.begin(self.expected).await;
        let (opened, written) = begun.map_err(SinkError::Store)?;
        if written > 0 {
            opened.restart().await.map_err(SinkError::Store)?;
        }
        self.file = Some(opened);
        Ok(Settled::Anew)
    }

    /// Opens the file once its size is known. True where an earlier run has left a part of it.
    pub async fn open(&mut self) -> Result<bool, SinkError> {
        if self.file.is_some() || matches!(self.bound(), Bound::AtMost(_)) {
            return Ok(false);
        }
        let begun = self.store.begin(self.expected).await;
        let (opened, written) = begun.map_err(SinkError::Store)?;
        self.file = Some(opened);
        self.position = written;
        Ok(written > 0)
    }

    pub async fn write(&mut self, chunk: Bytes) -> Result<(), SinkError> {
        self.position += chunk.len() as u64;
        match &self.file {
            Some(file) => file.write(chunk).await.map_err(SinkError::Store),
            None => Ok(()),
        }
    }

    pub async fn restart(&mut self) -> Result<(), SinkError> {
        self.position = 0;
        match &self.file {
            Some(file) => file.restart().await.map_err(SinkError::Store),
            None => Ok(()),
        }
    }

    /// Checks the digest. None where there is no file yet.
    pub async fn finish(&mut self) -> Result<Option<Sha256>, SinkError> {
        self.position = 0;
        match self.file.take() {
            Some(file) => file.finish().await.map(Some),
            None => Ok(None),
        }
    }
}
