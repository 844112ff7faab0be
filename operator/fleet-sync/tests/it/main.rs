//! Whole runs of the engine: real servers, real stores, real signatures, real file systems.

mod access;
mod changes;
mod distribution;
mod faults;
mod limits;
mod memory;
mod pipeline;
mod repair;
mod runs;
mod storage;
mod support;
