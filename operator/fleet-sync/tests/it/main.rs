//! Whole runs of the engine: real servers, real stores, real signatures, real file systems.

mod access;
mod allowed;
mod any_format;
mod changes;
mod connections;
mod damage;
mod distribution;
mod failover;
mod faults;
mod filters;
mod guards;
mod hostile;
mod layout;
mod left_out;
mod limits;
mod memory;
mod needs;
mod one_answer;
mod pipeline;
mod repair;
mod rsync;
mod runs;
mod storage;
mod support;
mod trace;
mod truths;
