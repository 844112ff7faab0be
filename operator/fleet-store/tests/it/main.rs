//! The store through its public interface.

mod adopt;
mod blobs;
mod collection;
mod common;
mod damage;
mod export;
mod export_links;
mod ownership;
mod retained;
mod served;
mod snapshots;
