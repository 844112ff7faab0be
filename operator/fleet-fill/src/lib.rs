//! A store that is filled when it is asked for something.
//!
//! What an index promises by its SHA-256 is fetched from the upstream's endpoints when the first client asks for it, by one
//! request however many ask; it becomes a blob of the store and stays until room is needed for what was used later. Small
//! content is whole and right before anybody gets a byte of it. Larger content is sent while it comes, but for its last
//! [`fleet_origin::HELD_BACK`] bytes: they follow when all of it was found right, and never otherwise, so that no client ever
//! has a complete wrong file. What the volume has no room for is sent all the same, and not kept.
//!
//! A fetch belongs to nobody who asks: that clients leave does not end it, but where nobody has waited for a while and most of
//! it is still to come. What it came to when it failed is told to whoever asks within a while after.
//!
//! Left to others: HTTP towards clients (`fleet-serve`, by the seam in `fleet-origin`), how endpoints are asked
//! (`fleet-fetch`), what an index promises (the sync engine), what a disk promises (`fleet-store`).

mod answer;
mod content;
mod depot;
mod filler;
mod judge;
mod memory;
mod options;
mod passing;
mod room;
mod shelf;

pub use filler::Filler;
pub use options::{FillOptions, Keep, Lines, Vouching};
