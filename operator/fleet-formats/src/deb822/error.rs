//! What is wrong with a control file, or with one of its stanzas.

use fleet_types::counted;
use std::io;

/// Why a control file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Deb822Error {
    #[error("line {line} (stanza {stanza}): {what}")]
    Malformed {
        line: u64,
        stanza: u64,
        what: String,
    },
    #[error("stanza {stanza}, which begins at line {line}, is larger than {}", counted(*.limit, "byte"))]
    TooLarge {
        line: u64,
        stanza: u64,
        limit: usize,
    },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why readers could see different things in a stanza.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Counted from 1.
    pub line: u64,
    pub what: String,
}
