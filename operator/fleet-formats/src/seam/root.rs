//! Root files: what is asked for, and what came.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use fleet_types::{Reason, RepoPath, Sha256};
use sha2::Digest as _;

use super::Rejected;

/// What to ask for to learn the state of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootPlan {
    /// Tried in order; the first that exists identifies the state. Unchanged means that this one file is unchanged.
    /// Debian: `InRelease`, then `Release`.
    pub probes: Vec<RootFile>,
    /// Fetched too when the probe is new; each may be absent, and the next ones are then of no use. Debian: `Release`,
    /// `Release.gpg`.
    pub companions: Vec<RootFile>,
    /// Signatures over the files above, fetched with them where an upstream's trust asks for them
    /// ([`Trust::indices`](super::Trust::indices)); each may be absent by itself. Arch: `core.db.sig`.
    pub signatures: Vec<RootFile>,
}

impl RootPlan {
    /// With the signatures among the companions.
    pub fn with_signatures(mut self) -> RootPlan {
        let companions = std::mem::take(&mut self.companions);
        self.companions = self.signatures.iter().cloned().chain(companions).collect();
        self
    }

    /// Whether it is one of the signatures.
    pub fn is_signature(&self, file: &RootFile) -> bool {
        self.signatures.contains(file)
    }

    /// All names, each once, in the order in which a copy writes them after everything else: what a client reads first
    /// comes last. Debian: `Release.gpg`, `Release`, `InRelease`.
    pub fn written_last(&self) -> Vec<&RepoPath> {
        let mut names: Vec<&RepoPath> = Vec::new();
        for root in self.probes.iter().chain(&self.companions) {
            if !names.contains(&&root.path) {
                names.push(&root.path);
            }
        }
        names.reverse();
        names
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootFile {
    pub path: RepoPath,
    /// No more than this is read.
    pub max_bytes: u64,
}

/// A root as it was fetched. Small ones are in memory, others where they can be read as often as needed.
#[derive(Debug, Clone)]
pub struct RootContent {
    pub path: RepoPath,
    pub sha256: Sha256,
    /// In bytes.
    pub size: u64,
    place: Place,
}

#[derive(Clone)]
enum Place {
    Memory(Arc<Vec<u8>>),
    Elsewhere(Arc<dyn Reread>),
}

/// Content that can be read as often as needed, each time from its beginning.
pub trait Reread: Send + Sync {
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>>;
}

impl RootContent {
    pub fn new(path: RepoPath, bytes: Vec<u8>) -> RootContent {
        RootContent {
            path,
            sha256: Sha256(sha2::Sha256::digest(&bytes).into()),
            size: bytes.len() as u64,
            place: Place::Memory(Arc::new(bytes)),
        }
    }

    pub fn elsewhere(
        path: RepoPath,
        sha256: Sha256,
        size: u64,
        content: Arc<dyn Reread>,
    ) -> RootContent {
        RootContent {
            path,
            sha256,
            size,
            place: Place::Elsewhere(content),
        }
    }

    pub fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        match &self.place {
            Place::Memory(bytes) => Ok(Box::new(bytes.as_slice())),
            Place::Elsewhere(content) => content.open(),
        }
    }

    /// As a whole, for a format that needs it so. Errors: `StorageFailed`.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>, Rejected> {
        match &self.place {
            Place::Memory(bytes) => Ok(Cow::Borrowed(bytes)),
            Place::Elsewhere(content) => {
                let mut bytes = Vec::new();
                let read = content
                    .open()
                    .and_then(|mut content| content.read_to_end(&mut bytes));
                read.map(|_| Cow::Owned(bytes)).map_err(|error| {
                    let message = format!("{} cannot be read again: {error}", self.path);
                    Rejected::new(Reason::StorageFailed, message)
                })
            }
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::Memory(_) => "in memory",
            Place::Elsewhere(_) => "elsewhere",
        })
    }
}
