//! Content that an index holds itself: a blob before it is wanted, as one that an earlier run has left.

use fleet_types::Sha256;
use sha2::Digest as _;

use super::preflight::preflight_sizes;
use super::run::Ground;
use super::want::WantState;
use crate::Problem;

/// What is kept at once.
const BATCH_FILES: usize = 1024;
const BATCH_BYTES: usize = 8 << 20;

/// What waits to be kept.
#[derive(Default)]
pub(super) struct Given {
    contents: Vec<Vec<u8>>,
    bytes: usize,
}

impl Given {
    /// Keeps content that is new and wanted; its digest.
    pub fn add(
        &mut self,
        ground: &Ground,
        content: Vec<u8>,
        state: WantState,
    ) -> Result<Sha256, Problem> {
        let digest = Sha256(sha2::Sha256::digest(&content).into());
        let size = content.len();
        if state == WantState::Payload && !ground.stock.shelves.has(&digest, size as u64) {
            self.contents.push(content);
            self.bytes += size;
            if self.contents.len() >= BATCH_FILES || self.bytes >= BATCH_BYTES {
                self.keep(ground)?;
            }
        }
        Ok(digest)
    }

    /// Keeps what waits.
    pub fn keep(&mut self, ground: &Ground) -> Result<(), Problem> {
        let contents = std::mem::take(&mut self.contents);
        self.bytes = 0;
        if contents.is_empty() {
            return Ok(());
        }
        preflight_sizes(ground, contents.iter().map(|content| content.len() as u64))?;
        let shelves = &ground.stock.shelves;
        let staged = contents
            .iter()
            .map(|content| shelves.staging().put_bytes(content));
        shelves.keep(staged.collect::<Result<_, _>>()?)
    }
}
