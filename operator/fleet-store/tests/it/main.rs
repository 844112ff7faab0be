//! The store through its public interface.

mod adopt;
mod common;
mod export;
mod retained;
mod served;
mod store;
