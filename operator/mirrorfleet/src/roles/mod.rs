//! One module a role: flags to options, and a call.

pub mod audit;
pub mod cluster;
pub mod completions;
pub mod controller;
pub mod crds;
pub mod export;
pub mod fill;
pub mod init;
pub mod local;
pub mod plan;
pub mod prewarm;
pub mod probe;
pub mod push;
pub mod serve;
pub mod snapshots;
pub mod sync;
pub mod verify;

use std::path::{Path, PathBuf};

use fleet_store::{Store, StoreError};

use crate::failure::Failure;

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::new(error.reason(), error.to_string())
    }
}

/// The store of one Mirror.
fn store(data: &Path, mirror: &str) -> Result<Store, Failure> {
    Store::open(&data.join(mirror)).map_err(|error| match error.is_absent() {
        true => {
            let known: Vec<_> = mirrors(data).unwrap_or_default();
            let known = if known.is_empty() {
                "no mirror at all".to_owned()
            } else {
                known.join(", ")
            };
            Failure::invalid(format!(
                "--data {} holds no mirror {mirror:?}; it holds {known}",
                data.display()
            ))
        }
        false => error.into(),
    })
}

/// The names of the Mirrors that have a store, sorted.
fn mirrors(data: &Path) -> Result<Vec<String>, Failure> {
    let unreadable = |error| {
        Failure::invalid(format!(
            "--data {}: cannot be read: {error}",
            data.display()
        ))
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(data).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let is_store = |path: PathBuf| Store::exists(&path);
        if let (true, Ok(name)) = (is_store(entry.path()), entry.file_name().into_string()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// What a Mirror serves now, as far as can be read.
fn served(data: &Path, mirror: &str) -> Option<String> {
    Store::open(&data.join(mirror))
        .ok()?
        .current()
        .ok()?
        .map(|id| id.to_string())
}
