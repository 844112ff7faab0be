//! Fills a store on demand.
