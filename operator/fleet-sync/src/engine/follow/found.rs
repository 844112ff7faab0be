//! What an earlier copy has staged and was killed before it made it blobs.

use fleet_store::{Leftovers, Staged};
use fleet_types::{Digest, Expected};

use crate::Problem;
use crate::engine::shelves::Shelves;

/// Takes up what is there as a whole, a batch at a time.
pub(in crate::engine) struct Found<'a> {
    shelves: &'a Shelves,
    leftovers: Leftovers,
    staged: Vec<Staged>,
}

impl<'a> Found<'a> {
    /// What is made durable at once.
    const BATCH_FILES: usize = 256;

    pub fn new(shelves: &'a Shelves) -> Result<Found<'a>, Problem> {
        Ok(Found {
            leftovers: shelves.writer.leftovers()?,
            staged: Vec::new(),
            shelves,
        })
    }

    /// Whether all of this content was staged; it is a blob after the next [`Found::keep`].
    pub fn take(&mut self, expected: &Expected) -> Result<bool, Problem> {
        let is_taken = |staged: &Staged| Digest::Sha256(staged.digest()) == expected.digest;
        if self.staged.iter().any(is_taken) {
            return Ok(true);
        }
        if self.leftovers.bytes(&expected.digest) == 0 {
            return Ok(false);
        }
        let Some(staged) = self.shelves.staging().take_whole(expected)? else {
            return Ok(false);
        };
        self.staged.push(staged);
        if self.staged.len() >= Self::BATCH_FILES {
            self.keep()?;
        }
        Ok(true)
    }

    /// Makes blobs of what was found.
    pub fn keep(&mut self) -> Result<(), Problem> {
        self.shelves.keep(std::mem::take(&mut self.staged))
    }
}
