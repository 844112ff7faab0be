//! Where a body goes while it arrives: bounded, hashed, resumable.

mod error;
mod growing;
mod spool;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use fleet_types::{Digest, Expected, Sha256};
use sha2::Digest as _;

use self::growing::{Growing, Settled};
use self::spool::Spool;
use super::Bound;
use super::bodies::BodyStore;

pub use error::SinkError;
pub use spool::Body;
pub(crate) use spool::Taken;

/// Bodies up to this size are handed to the disk as a whole; they are not worth resuming.
const SMALL_BYTES: u64 = 256 << 10;

/// The receiving end of one body. It accepts no byte more than promised, and knows how many it has.
#[derive(Debug)]
pub struct Sink(Kind, Beginning);

/// Where the first bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    /// The answer that is being read.
    Own,
    /// An earlier one, of this run or another.
    Earlier,
}

#[derive(Debug)]
enum Kind {
    /// Handed back.
    Spooled(Spool),
    /// Collected, then handed to the store as a whole.
    Small {
        body: Vec<u8>,
        bound: Bound,
        store: Arc<dyn BodyStore>,
    },
    /// Handed to the store as it arrives.
    Large(Growing),
}

impl Sink {
    /// Hands the body back, of which nothing is known; no more than `limit` bytes are taken. What is large is in a file in
    /// `folder` that has no name.
    pub fn spooled(limit: u64, folder: PathBuf) -> Sink {
        Sink::of(Kind::Spooled(Spool::new(limit, folder)))
    }

    /// Hands the body to the store.
    pub fn stored(expected: Expected, store: Arc<dyn BodyStore>) -> Sink {
        if expected.size <= SMALL_BYTES {
            Sink::of(Kind::Small {
                body: Vec::new(),
                bound: Bound::Exactly(expected),
                store,
            })
        } else {
            Sink::of(Kind::Large(Growing::of_size(expected, store)))
        }
    }

    /// The same for a file of which the index gives the digest only; `expected.size` is the most that it may have.
    pub fn stored_up_to(expected: Expected, store: Arc<dyn BodyStore>) -> Sink {
        Sink::of(Kind::Large(Growing::up_to(expected, store)))
    }

    /// The same for a small file of which nothing is known; no more than `limit` bytes are taken, or 256 KiB.
    pub fn stored_small(limit: u64, store: Arc<dyn BodyStore>) -> Sink {
        Sink::of(Kind::Small {
            body: Vec::new(),
            bound: Bound::AtMost(limit.min(SMALL_BYTES)),
            store,
        })
    }

    fn of(kind: Kind) -> Sink {
        Sink(kind, Beginning::Own)
    }

    /// The next bytes come with another answer than those that are there.
    pub(super) fn begin_answer(&mut self) {
        let held = match &self.0 {
            Kind::Spooled(spool) => spool.position(),
            Kind::Small { body, .. } => body.len() as u64,
            Kind::Large(file) => file.position(),
        };
        self.1 = if held > 0 {
            Beginning::Earlier
        } else {
            Beginning::Own
        };
    }

    /// What is known of the size of a body that is collected as a whole, before any of it is there.
    pub(crate) fn small(&self) -> Option<Bound> {
        match &self.0 {
            Kind::Small { body, bound, .. } if body.is_empty() => Some(*bound),
            _ => None,
        }
    }

    /// Appends to a small body.
    pub(crate) fn append(&mut self, chunk: &[u8]) -> Result<(), SinkError> {
        let (limit, promised) = (self.limit(), self.promised());
        let exact = promised.is_some();
        let Kind::Small { body, .. } = &mut self.0 else {
            return Err(SinkError::TooLong { limit, exact });
        };
        let total = (body.len() + chunk.len()) as u64;
        if total > limit {
            return Err(SinkError::TooLong { limit, exact });
        }
        if let Some(promised) = promised.filter(|_| body.is_empty()) {
            body.reserve_exact(promised.min(SMALL_BYTES) as usize);
        }
        body.extend_from_slice(chunk);
        Ok(())
    }

    /// Empties a small body that will be asked for again.
    pub(crate) fn forget(&mut self) {
        if let Kind::Small { body, .. } = &mut self.0 {
            body.clear();
        }
    }

    /// Takes the length of a whole body as the file's size where no index says it. False where that is needed and
    /// missing.
    pub(crate) async fn settle(&mut self, announced: Option<u64>) -> Result<bool, SinkError> {
        let Kind::Large(file) = &mut self.0 else {
            return Ok(true);
        };
        let settled = file.settle(announced).await?;
        if settled == Settled::Anew {
            self.1 = Beginning::Own;
        }
        Ok(settled != Settled::Unknown)
    }

    /// The exact size, where it is known.
    pub fn promised(&self) -> Option<u64> {
        match self.bound() {
            Bound::Exactly(expected) => Some(expected.size),
            Bound::AtMost(_) => None,
        }
    }

    fn bound(&self) -> Bound {
        match &self.0 {
            Kind::Spooled(spool) => Bound::AtMost(spool.limit),
            Kind::Small { bound, .. } => *bound,
            Kind::Large(file) => file.bound(),
        }
    }

    /// No more than this is taken.
    pub(crate) fn limit(&self) -> u64 {
        match self.bound() {
            Bound::Exactly(expected) => expected.size,
            Bound::AtMost(limit) => limit,
        }
    }

    /// How many bytes are there: where a Range request continues. Takes up what an earlier run has left.
    pub async fn position(&mut self) -> Result<u64, SinkError> {
        match &mut self.0 {
            Kind::Spooled(spool) => Ok(spool.position()),
            Kind::Small { body, .. } => Ok(body.len() as u64),
            Kind::Large(file) => {
                if file.open().await? {
                    self.1 = Beginning::Earlier;
                }
                Ok(file.position())
            }
        }
    }

    /// Refuses a body whose announced length cannot be right, before any of it is read.
    pub(crate) fn announced(&self, position: u64, length: u64) -> Result<(), SinkError> {
        let total = position.saturating_add(length);
        match self.bound() {
            Bound::Exactly(expected) if total > expected.size => Err(SinkError::TooLong {
                limit: expected.size,
                exact: true,
            }),
            Bound::AtMost(limit) if total > limit => Err(SinkError::TooLong {
                limit,
                exact: false,
            }),
            _ => Ok(()),
        }
    }

    /// Appends what arrived. Waits while the disk is behind.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), SinkError> {
        let position = self.position().await?;
        self.announced(position, chunk.len() as u64)?;
        match &mut self.0 {
            Kind::Spooled(spool) => spool.write(chunk).await?,
            Kind::Small { body, .. } => body.extend_from_slice(&chunk),
            Kind::Large(file) => file.write(chunk).await?,
        }
        Ok(())
    }

    /// Starts again from nothing.
    pub async fn restart(&mut self) -> Result<(), SinkError> {
        self.1 = Beginning::Own;
        match &mut self.0 {
            Kind::Spooled(spool) => spool.restart(),
            Kind::Small { body, .. } => body.clear(),
            Kind::Large(file) => file.restart().await?,
        }
        Ok(())
    }

    /// Checks size and digest. After an error other than a missing end the sink is empty again.
    pub(crate) async fn finish(&mut self) -> Result<Taken, SinkError> {
        let beginning = self.1;
        match self.take().await {
            Err(SinkError::WrongDigest { expected, found }) if beginning == Beginning::Earlier => {
                Err(SinkError::WrongMixture { expected, found })
            }
            other => other,
        }
    }

    async fn take(&mut self) -> Result<Taken, SinkError> {
        let found = self.position().await?;
        if let Some(expected) = self.promised().filter(|expected| found < *expected) {
            return Err(SinkError::TooShort { expected, found });
        }
        let limit = self.limit();
        match &mut self.0 {
            Kind::Spooled(spool) => Ok(spool.take()),
            Kind::Small { body, bound, store } => {
                let body = std::mem::take(body);
                let expected = match bound {
                    Bound::Exactly(expected) => *expected,
                    Bound::AtMost(_) => Expected {
                        size: body.len() as u64,
                        digest: Digest::Sha256(Sha256(sha2::Sha256::digest(&body).into())),
                    },
                };
                Ok(Taken {
                    digest: store.store(expected, body.into()).await?,
                    size: expected.size,
                    body: None,
                })
            }
            Kind::Large(file) => {
                let digest = file.finish().await?.ok_or(SinkError::TooShort {
                    expected: limit,
                    found,
                })?;
                Ok(Taken {
                    digest,
                    size: limit,
                    body: None,
                })
            }
        }
    }
}
