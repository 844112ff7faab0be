//! The seam between who serves a store and who fetches into it when something is asked for.
//!
//! A server that finds something listed and not there asks an [`Origin`], and sends what comes of it. It knows no upstream:
//! what is behind the seam may be a part of the same process or of another one. Mirrors that are copied as a whole have no
//! origin. A registry of packages, all of which is known by asking, is a [`Registry`] instead.
//!
//! Whoever fetches on demand, into a store or into a registry's folder, does it by what is here: one task for all who want the
//! same ([`Flights`]), content that is read while it comes ([`Growing`]), or passes where there is no room for it
//! ([`Passage`]), what could not be had ([`Refusals`]), and the rule by which room is made ([`Room`]).

mod flights;
mod growing;
pub mod line;
mod passage;
mod refusals;
mod registry;
mod room;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use fleet_types::documents::NotKept;
use fleet_types::{Reason, Sha256};
use futures::future::BoxFuture;

pub use flights::{ABANDONED_AFTER, Flights, Landing, is_worth_finishing};
pub use growing::{Broken, Grower, Growing, HELD_BACK, Readers, WHOLE_FIRST};
pub use passage::{Ended, Passage};
pub use refusals::{BRIEFLY, Refusals};
pub use registry::{COUNTED, Found, FoundBody, Lasts, Question, Registry, ServedFile, counted};
pub use room::Room;

/// What a server asks for what it does not have.
pub trait Origin: Send + Sync + fmt::Debug {
    /// Fetches it, or waits for who is fetching it already. That the future is dropped ends nothing for others who wait for
    /// the same.
    fn obtain(&self, missing: Missing<'_>) -> BoxFuture<'static, Obtained>;

    /// What clients were given of a Mirror's store lately: it is given up later than other content. Must not block.
    fn used(&self, mirror: &str, digests: Vec<Sha256>);

    /// Why what is fetched cannot be kept, by Mirror; none of those of which it can. Blocks on the disk.
    fn not_kept(&self) -> BTreeMap<String, NotKept>;
}

/// Something that is asked for and is not in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing<'a> {
    /// The Mirror whose store lacks it.
    pub mirror: &'a str,
    pub wanted: Wanted<'a>,
}

/// What it is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// Content that a snapshot lists as not yet fetched.
    Content {
        /// The path in the repository.
        path: &'a str,
        digest: Sha256,
        /// Bytes.
        size: u64,
    },
}

/// What came of it.
#[derive(Debug, Clone)]
pub enum Obtained {
    /// It is a blob of the store by now.
    Blob(Sha256),
    /// It is whole and right, and there is no room for it in the store.
    Bytes(Bytes),
    /// It is on its way; what has come of it may be sent already.
    Growing(Growing),
    /// It cannot be had, for this reason: the upstream's, the volume's, or a rule's.
    Refused(Reason, String),
    /// The upstream does not have it.
    Absent,
    /// Too many ask for too much at once: the client is to come back after this time.
    Busy(Duration),
}
