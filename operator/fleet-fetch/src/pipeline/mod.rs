//! Small files over pipelined HTTP/1.1: several requests on the way on each connection, so that a round trip is shared.
//!
//! Only plain GETs of bodies that an index promises with digest and size take this way, and small ones that nothing
//! promises among them, which the promised ones vouch for (`connection::unpromised`). Nothing that it meets counts
//! against a file: whatever is missing, redirected, wrong or in doubt is asked for once more alone, the ordinary way
//! (`Alone`), and that answer counts. Only what is likely missing needs no second answer that says so
//! ([`Want::likely_missing`](super::Want::likely_missing)). An endpoint that gives reason for doubt is not pipelined any
//! more.

mod connection;
mod desk;
mod dial;
mod head;
mod pipelining;
mod traffic;
mod wire;

pub(super) use dial::Dialer;
pub(super) use pipelining::{APPETITE, Pipelining};
pub(super) use traffic::{Alone, Traffic, open_ahead};
pub(super) use wire::Wire;
