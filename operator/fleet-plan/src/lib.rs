//! Decides what the controller writes: `plan(&Mirror, &Observed) -> Plan`.
//!
//! This crate has no client, no clock, no randomness and no runtime: what a decision may not look at, it cannot depend
//! on. Planning is total: a wrong specification has a plan too (touch nothing, say what to change, wait).

pub mod observed;
pub mod plan;
pub mod report;
pub mod turn;

pub use observed::{
    Answer, Observed, SeenApplied, SeenClaim, SeenJob, SeenMeta, SeenObjects, SeenPod, Settings,
};
pub use plan::{FinishedRun, Plan, PlannedEvent, Write};
pub use report::RunReport;
pub use turn::{Claimant, Turn, TurnBook};
