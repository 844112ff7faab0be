//! The planner's decisions, on a model of a cluster.

mod concerns;
mod endpoints;
mod kstatus;
mod lag;
mod model;
mod prober;
mod properties;
mod rsync_endpoints;
mod size;
mod stories;
mod upstream;
mod why;
