//! The store through its public interface.

mod adopt;
mod common;
mod export;
mod export_links;
mod retained;
mod served;
mod store;
