//! The sync engine: *list → verify → plan → fetch → check → prepare → publish → collect*.
//!
//! Owns the order of things ([`engine`]). Leaves the network to `fleet-fetch`, what bytes mean to `fleet-formats`, what a
//! disk promises to `fleet-store`, and manifests to the caller.

mod audit;
mod engine;
mod options;
mod progress;
mod report;
mod scrub;
mod writers;

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

pub use audit::{AuditReport, AuditedUnit, Finding, Sampling};
pub use fleet_fetch::{
    Access, Credentials, Destination, Endpoint, NotADestination, install_crypto_provider,
};
pub use fleet_types::Problem;
pub use fleet_types::documents::{Damaged, LeftOut, Report, RunResult, ScrubState, UnitReport};
pub use options::{
    AllowedMutation, Follow, MakeFormat, Payload, Politeness, Publishing, Shrink, SyncOptions,
    Timeouts, Verification,
};
pub use progress::{Phase, Progress, Unwatched};
pub use report::{PlanReport, Room, Share};

/// Runs one Mirror once. Always answers with a report, which is also kept in the store where that can be written.
/// `cancel` ends the run at the next safe place; what is staged stays for the next run.
///
/// Boxed, so that the engine is compiled in this crate, as this crate is optimised, and not again in each caller.
pub fn sync(
    options: SyncOptions,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
) -> BoxFuture<'static, Report> {
    Box::pin(engine::sync(options, progress, cancel))
}

/// What [`sync`] would do, found out by fetching indices into a temporary directory. Changes nothing in the store.
pub fn plan(
    options: SyncOptions,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
) -> BoxFuture<'static, PlanReport> {
    Box::pin(engine::plan(options, progress, cancel))
}

/// Looks at a mirror that is served, at the options' authority, as clients do: every root and index is judged as an
/// upstream's, and drawn files of what they list. Keeps nothing; the options' store is not looked at.
pub fn audit(
    options: SyncOptions,
    sampling: Sampling,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
) -> BoxFuture<'static, AuditReport> {
    Box::pin(engine::audit(options, sampling, progress, cancel))
}
