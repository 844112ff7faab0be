//! The two resources that people write, `Upstream` and `Mirror`, and the words that Kubernetes objects of ours carry.
//!
//! Types and their rules only: no client, no runtime, so that the planner, the command line and the tests can use them.

pub mod duration;
pub mod labels;
pub mod mirror;
pub mod quantity;
pub mod upstream;

pub use duration::GoDuration;
pub use mirror::{Mirror, MirrorSpec, MirrorStatus};
pub use quantity::ByteQuantity;
pub use upstream::{Upstream, UpstreamSpec, UpstreamStatus};
