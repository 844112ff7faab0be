//! Content that only indices list which clients can do without, and that cannot be had.

use std::collections::BTreeMap;

use fleet_fetch::FetchError;
use fleet_types::{Digest, Expected, RepoPath};

use super::memory::Missing;

/// By path.
pub(super) type LostFiles = BTreeMap<RepoPath, Lost>;

/// Why an index that lists a file is left out.
#[derive(Debug, Clone)]
pub(super) struct Lost {
    pub why: String,
    /// What to ask for again, where that can help.
    pub missing: Option<Missing>,
    /// A signature that the upstream need not have.
    pub is_optional: bool,
}

impl Lost {
    /// What is listed does not fit to what else is listed or known.
    pub fn unfit(why: String) -> Lost {
        Lost {
            why,
            missing: None,
            is_optional: false,
        }
    }

    /// The upstream has no signature where it need not have one.
    pub fn unsigned(why: String) -> Lost {
        Lost {
            is_optional: true,
            ..Lost::unfit(why)
        }
    }

    pub fn not_there(path: &RepoPath, expected: &Expected, error: &FetchError) -> Lost {
        let missing = match expected.digest {
            Digest::Sha256(sha256) => Some(Missing {
                path: path.to_string(),
                size: expected.size,
                sha256,
            }),
            _ => None,
        };
        Lost {
            why: error.message.clone(),
            missing,
            is_optional: false,
        }
    }
}
