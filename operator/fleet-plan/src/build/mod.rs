//! The objects that we want, one kind a file, each one literal. What is decided was decided before.

mod audit;
mod claim;
mod disruption_budget;
mod fill;
mod job;
mod metadata;
mod mirror_service;
mod pod;
mod probe;
mod route;
mod service;
mod stateful_set;

pub use audit::audit;
pub use claim::claim;
pub use disruption_budget::disruption_budget;
pub use job::{Following, Ordered, Start, job, kept_by};
pub use metadata::replica_labels;
pub use mirror_service::mirror_service;
pub use pod::{FOLLOW_PORT, METRICS_PORT};
pub use probe::{Ask, probe_job};

/// The names of our containers, of which a pod has one.
pub const CONTAINERS: [&str; 4] = [
    stateful_set::CONTAINER,
    job::CONTAINER,
    audit::CONTAINER,
    probe::CONTAINER,
];
pub use fill::CONTAINER as FILL_CONTAINER;
pub use route::route;
pub use service::service;
pub use stateful_set::{ORDERS_VOLUME, Told, stateful_set};
