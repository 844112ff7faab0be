//! Where bodies are kept that an index promises: what a store is for a sink.

use std::fmt;

use bytes::Bytes;
use fleet_types::{Expected, Problem, Sha256};
use futures::future::BoxFuture;

use crate::SinkError;

/// Keeps bodies by the digest that is promised for them. Whatever it answers `Ok` for has been hashed.
pub trait BodyStore: Send + Sync + fmt::Debug {
    /// Keeps a body that is whole; its SHA-256. Nothing is kept where it is not the promised one.
    fn store(&self, expected: Expected, body: Bytes) -> BoxFuture<'_, Result<Sha256, SinkError>>;

    /// Opens the place of a body that arrives in parts, with how many of its bytes are there already.
    fn begin(&self, expected: Expected) -> BoxFuture<'_, Result<Begun, Problem>>;
}

/// A body to be continued, and how many of its bytes are there already.
pub type Begun = (Box<dyn OpenBody>, u64);

/// A body that grows. Dropping it leaves what is there for whoever begins the same one again.
pub trait OpenBody: Send + Sync + fmt::Debug {
    /// Appends. Waits while the disk is behind.
    fn write(&self, bytes: Bytes) -> BoxFuture<'_, Result<(), Problem>>;

    /// Starts again from nothing.
    fn restart(&self) -> BoxFuture<'_, Result<(), Problem>>;

    /// Checks size and digest; its SHA-256.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Sha256, SinkError>>;
}
