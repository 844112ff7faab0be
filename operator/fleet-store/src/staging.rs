//! skeleton
use crate::Result;
use fleet_types::{Expected, Sha256};

/// Where downloads become blobs. Cheap to clone; a few threads use it at once.
#[derive(Clone)]
pub struct Staging {}
impl Staging {
    /// Opens the staged file for this content, and takes up what an earlier run left of it after hashing it again.
    pub fn begin(&self, _expected: &Expected) -> Result<StagedFile> {
        unimplemented!()
    }
    /// Stages content that is in memory already.
    pub fn put_bytes(&self, _content: &[u8]) -> Result<Staged> {
        unimplemented!()
    }
    /// Makes a batch durable and moves it among the blobs.
    pub fn commit_batch(&self, _batch: Vec<Staged>) -> Result<()> {
        unimplemented!()
    }
}
pub struct StagedFile {}
impl StagedFile {
    /// How many bytes are there already: where a Range request continues.
    pub fn written(&self) -> u64 {
        0
    }
    /// How many bytes are still missing.
    pub fn remaining(&self) -> u64 {
        0
    }
    /// Starts again from nothing (a 200 to a Range request).
    pub fn restart(&mut self) -> Result<()> {
        Ok(())
    }
    /// Appends and hashes. `TooLong` when the index promised less.
    pub fn write(&mut self, _bytes: &[u8]) -> Result<()> {
        Ok(())
    }
    /// Checks size and digest. `TooShort` keeps what is there for the next try, `WrongDigest` removes it.
    pub fn finish(self) -> Result<Staged> {
        unimplemented!()
    }
}
/// Complete verified content that waits for its batch.
#[derive(Debug)]
pub struct Staged {
    digest: Sha256,
    size: u64,
}
impl Staged {
    pub fn digest(&self) -> Sha256 {
        self.digest
    }
    pub fn size(&self) -> u64 {
        self.size
    }
}
