//! The seam over a Unix socket: a server that has neither the upstream's credentials nor the right to write asks a process
//! that has both.
//!
//! A connection carries one question, as a line of JSON, and its answer, another. Bytes follow their question or answer.
//! Content that is a file, whole or on its way, is answered with that file, opened, which both processes share from then on;
//! of what is on its way lines tell how far it has come, and in the other direction how far it was read.
//! Nothing here is parsed that comes from a stranger: clients' paths are strings in a line, upstreams' bytes are in files.

mod client;
mod frames;
mod registry;
mod server;

use fleet_types::{Reason, Sha256};
use serde::{Deserialize, Serialize};

pub use client::Remote;
pub use registry::{Introduction, RemoteRegistry, introduction};
pub use server::{Behind, answer_on, bind};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Question {
    Obtain {
        mirror: String,
        path: String,
        digest: Sha256,
        size: u64,
    },
    Used {
        mirror: String,
        digests: Vec<Sha256>,
    },
    /// Of which stores what is fetched cannot be kept, and why.
    NotKept,
    /// Which registry is here, and how it is.
    Registry,
    /// A request to it.
    Ask(registry::Asked),
    /// What of it was given out again.
    Given(Vec<Sha256>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Answer {
    Blob(Sha256),
    /// So many bytes follow.
    Bytes(u64),
    /// Content of so many bytes, whose file comes with this line; [`Growth`] follows.
    Growing(u64),
    Absent,
    Refused(Reason, String),
    /// Seconds.
    Busy(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Growth {
    Released(u64),
    Broken(String),
}

/// What the server's side says meanwhile: so many bytes were read. It closes the connection when nobody reads any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Taken(u64);
