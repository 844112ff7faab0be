//! The two resources that people write, `Upstream` and `Mirror`, and the words that Kubernetes objects of ours carry.
//!
//! Types and their rules only: no client, no runtime, so that the planner, the command line and the tests can use them.

// The lint takes the names inside two rules of one struct for attributes that are there twice.
#![allow(clippy::duplicated_attributes)]

mod arch_content;
pub mod condition;
mod content;
pub mod crds;
pub mod duration;
mod freshness;
pub mod labels;
pub mod mirror;
mod mirror_status;
pub mod names;
mod npm_content;
pub mod pods;
mod publication;
pub mod pull_through;
mod quantity;
pub mod region_status;
mod regions;
mod route;
pub mod rules;
mod serving;
mod snapshots;
mod storage;
mod sync;
mod trust;
pub mod upstream;
mod upstream_status;
mod verification;

pub use condition::ConditionType;
pub use crds::crds;
pub use duration::GoDuration;
pub use fleet_types::ConditionStatus;
pub use mirror::{Mirror, MirrorSpec};
pub use mirror_status::{
    AcceptedUnit, Fetcher, MirrorStatus, SnapshotChanges, SnapshotStatus, UnitStatus, fetching,
};
pub use publication::{Audit, Halted, Preparing, Publication, PublicationPhase, Trial};
pub use quantity::ByteQuantity;
pub use region_status::{
    Attempt, Contradiction, OrderStatus, RegionRole, RegionState, RegionStatus, ReplicaStatus, Run,
    Trigger,
};
pub use upstream::{Upstream, UpstreamSpec, UpstreamStatus};
