//! Stores that are filled from an upstream that a test controls.

mod content;
mod keeping;
mod trouble;
mod upstream;
mod world;
