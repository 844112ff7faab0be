//! npm's registry, filled on demand. Owns what is kept of an upstream registry, when it is asked again, what is held back, and
//! which bytes answer which question.
//!
//! Left to others: what documents mean (`fleet-formats`), connections to the upstream (`fleet-fetch`), connections of clients
//! (`fleet-serve`, behind the seam of `fleet-origin`, whose [`fleet_origin::Registry`] this is).
//!
//! The way of a question: `registry` takes it, `answers` reads it, `document` gets the packument, from the disk or by `upstream`,
//! `learn` writes down what it promises, `shown` writes it as clients are to see it, `tarball` brings a tarball, for which `early`
//! asks while its promise is on its way, `passing` what is not kept for long. `pins` remembers what was first promised for each
//! version, and `trail` what was held back.
//!
//! # What is on the disk
//!
//! ```text
//! registry.json         what this is a copy of
//! lock                  held by the one process that uses it
//! heads/ab/cdef…        by name: which documents are here, and when the upstream was asked about them
//! pins/ab/cdef…         by name: what was first promised for each version; only ever grows
//! bodies/ab/cdef…       documents as they came, by their SHA-256
//! tarballs/ab/cdef…     by name, file and promise
//! passed/ab/cdef…       small documents that are no packuments, by their address
//! shown/ab/cdef…        documents as clients see them; of this process, emptied when the next one begins
//! staging/              what is on its way; emptied as well
//! trail.jsonl           what was held back
//! ```
//!
//! Nothing that was cut off is ever believed: what is on its way becomes a file by a rename, a document is read by its digest,
//! and a tarball is compared with its promise before a process gives it out for the first time. So of all these only the pins,
//! which cannot be fetched again, are synced.

mod answers;
mod arrival;
mod disk;
mod document;
mod draft;
mod early;
mod encoding;
mod head;
mod inner;
mod learn;
mod passing;
mod pins;
mod promised;
mod receive;
mod refusal;
mod registry;
mod room;
mod shown;
mod sites;
mod tarball;
mod trail;
mod unwritten;
mod upstream;

pub use disk::OpenError;
pub use registry::{NpmRegistry, Options};

/// Unix seconds.
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
