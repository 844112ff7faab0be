//! The store through its public interface.

mod common;
mod export;
mod retained;
mod served;
mod store;
