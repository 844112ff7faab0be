//! The controller: it keeps the Kubernetes objects of every Mirror as its manifest asks, and says in their status what
//! is true of them.
//!
//! Owned here: effects. [`world`] knows what is, from watches; [`answers`] and [`probe`] ask what no watch tells, the
//! serving pods and the upstreams; [`write`] is the only place that writes, but that [`push`] notes on an Upstream what
//! somebody said. What to do is decided in `fleet-plan`,
//! which sees plain values only: a reconciliation observes, plans, writes in the plan's order and reports.

mod answers;
mod calls;
mod checks;
mod context;
mod error;
mod faults;
mod fleet;
mod leader;
mod options;
mod ownership;
mod page;
pub mod probe;
mod push;
mod reconcile;
mod run;
#[cfg(test)]
mod tests;
mod work;
mod world;
mod write;

pub use answers::{Asked, Asker};
pub use error::ControllerError;
pub use fleet_plan::{PodsAllowed, RoutesAllowed, Settings};
pub use options::{ControllerOptions, Intervals, LeaseOptions, StatusPageOptions};
pub use page::progress;
pub use run::run;

/// Chooses the process-wide cryptography once; a second choice changes nothing.
fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
