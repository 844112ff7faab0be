//! A root file as it is while a run looks at it: in memory, under its digest.

use fleet_formats::seam::{RootContent, RootFile};
use fleet_types::Sha256;
use sha2::Digest as _;

use super::memory::Known;

#[derive(Clone)]
pub(super) struct Root {
    pub content: RootContent,
    pub digest: Sha256,
    /// The upstream's Last-Modified.
    pub modified: Option<i64>,
}

/// The file that identifies a state, as one endpoint has it.
pub(super) struct Probe {
    pub root: Root,
    pub known: Known,
}

pub(super) fn root(file: &RootFile, bytes: Vec<u8>, modified: Option<i64>) -> Root {
    let digest = Sha256(sha2::Sha256::digest(&bytes).into());
    Root {
        content: RootContent {
            path: file.path.clone(),
            bytes,
        },
        digest,
        modified,
    }
}
