//! The documents of npm's registry: names and addresses, packuments, integrity, and what a mirror may hold back.
//!
//! A *packument* is the document of a package: all of its versions, in two forms. The full one has everything, the
//! abbreviated one what an installer needs. Specification:
//! <https://github.com/npm/registry/blob/main/docs/responses/package-metadata.md>. The list of fields grows, and clients base
//! decisions about safety on fields that others do not know: so a packument is never read into values and written again. Its
//! bytes are copied, but for the two addresses of each version that must lead here, and for members that are held back.

mod address;
mod edits;
mod guard;
mod integrity;
mod name;
mod packument;
mod scan;
mod view;

pub use address::{Address, BadAddress, Form};
pub use guard::{Deny, Facts, Guard, Held, HeldBy, Mutation, Patterns, Verdict, Waiver};
pub use integrity::{Algorithm, Hasher, Integrity};
pub use name::{BadName, PackageName};
pub use packument::{MAX_PACKUMENT_BYTES, Packument, Version};
pub use scan::Malformed;
pub use view::{Place, View};
