//! Decides what the controller writes: `plan(&Mirror, &Observed) -> Plan`.
//!
//! This crate has no client, no clock, no randomness and no runtime: what a decision may not look at, it cannot depend
//! on. Planning is total: a wrong specification has a plan too (touch nothing, say what to change, wait).

pub mod act;
mod addresses;
mod after;
pub mod alone;
pub mod build;
mod canary;
mod canonical;
mod cause;
mod claims;
pub mod client_files;
mod conditions;
mod due;
pub mod fleet;
mod follow;
pub mod freshness;
mod gauges;
pub mod high_water;
mod http_route;
pub mod inputs;
mod lanes;
mod lists;
pub mod names;
mod news;
mod object;
mod objects;
pub mod observed;
mod orders;
mod place;
pub mod plan;
mod planner;
mod pods;
pub mod publication;
pub mod report;
mod rollout;
mod routes;
mod routing;
mod runs;
pub mod schedule;
pub mod score;
mod site;
mod start;
mod status;
pub mod summary;
mod takeover;
mod teardown;
pub mod timing;
pub mod turn;
mod unreadable;
pub mod upstream;
mod verdict;
mod view;
mod wanted;
pub mod why;
mod withdrawal;

pub use after::Failure;
pub use http_route::HttpRoute;
pub use lanes::{Lane, stages};
pub use lists::Networks;
pub use object::{Object, Owned};
pub use observed::{
    Answer, Observed, Refusal, SeenApplied, SeenClaim, SeenJob, SeenMeta, SeenObjects, SeenPod,
    SeenRoute, SeenSlice, SeenWarning, Settings,
};
pub use plan::{FinishedRun, Labelled, Plan, PlannedEvent, Write};
pub use planner::{plan, wanted_names};
pub use pods::PodsAllowed;
pub use routes::RoutesAllowed;
pub use turn::{Line, Turn, TurnBook};
pub use unreadable::conditions_of_unreadable;
pub use upstream::{
    Errand, Heard, ObservedUpstream, Probe, ProbeAnswer, Prober, ProberPlan, SeenAttempt,
    UpstreamPlan, concerns, confirmed, plan_upstream,
};
pub use verdict::state_of_stalled;
