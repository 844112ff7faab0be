//! Owns what an operator sees of a running program: the metrics of each role, the listener that serves them with the
//! health checks, and the log; and which connections give up their place when a listener is full. The `prometheus` crate is used inside only, so that it can be replaced here.
//!
//! Metric names, labels and help texts are API. They are declared once, in [`api`], [`controller`], [`fill`], [`package_registry`], [`process`],
//! [`server`] and [`worker`], as lists of [`Definition`]s from which a reference can be generated.
//!
//! Left to others: what the values are. Nothing here reads a clock, a store or the Kubernetes API.

mod by_mirror;
mod definition;
mod health;
mod keeping;
mod listener;
mod logging;
mod registry;
mod samples;
mod seats;
mod state;

pub mod api;
pub mod controller;
pub mod fill;
pub mod package_registry;
pub mod process;
pub mod server;
pub mod worker;

pub use api::ApiMetrics;
pub use by_mirror::{ByMirror, ServerPlace};
pub use controller::{ControllerMetrics, Countable, LAG_QUERY};
pub use definition::{Definition, Kind};
pub use fill::{FetchResult, FillCounts, FillMetrics};
pub use health::{Health, Readiness};
pub use keeping::Keeping;
pub use listener::{
    Answer, ExtraRoutes, METRICS_CONTENT_TYPE, on_threads, respond, serve_hooks, serve_metrics,
    serve_routes,
};
pub use logging::{LogFormat, LogOptions, LoggingError, init_logging};
pub use package_registry::{AnswerSource, PackageRegistryMetrics, QuestionResult, RegistryTraffic};
pub use registry::{BuildInfo, Registry, RegistryError};
pub use seats::{Mark, Seat, Seats};
pub use server::{MirrorTraffic, OnDemand, ServedSnapshot, ServerMetrics, StoreHealth};
pub use state::{ObjectKey, Run};
pub use worker::{RunFigures, RunPlace, RunProgress, WorkerMetrics};
