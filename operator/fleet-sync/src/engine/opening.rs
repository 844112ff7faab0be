//! The store that a run writes to, and those of dry runs and audits.

use fleet_store::{Identity, Store, Writer};
use fleet_types::Reason;

use super::shelves::Shelves;
use crate::{Payload, Problem, SyncOptions};

pub(super) fn open_writer(options: &SyncOptions) -> Result<Writer, Problem> {
    let writer = Writer::open(&options.store_dir, &identity(options))?;
    if options.payload == Payload::Copied {
        // What was fetched on demand before may be what it is to rely on.
        writer.keep_inserter_out()?;
    }
    Ok(writer)
}

/// A store for a dry run, in the system's directory for temporary files.
pub(super) fn open_dry(options: &SyncOptions) -> Result<Shelves, Problem> {
    let real = match Store::open(&options.store_dir) {
        Ok(store) => Some(store),
        Err(e) if e.is_absent() => None,
        Err(e) => return Err(e.into()),
    };
    temporary(options, real)
}

/// A store for an audit: there is nothing beside it.
pub(super) fn open_alone(options: &SyncOptions) -> Result<Shelves, Problem> {
    temporary(options, None)
}

fn temporary(options: &SyncOptions, real: Option<Store>) -> Result<Shelves, Problem> {
    let failed = |e: std::io::Error| {
        Problem::new(
            Reason::StorageFailed,
            format!("no temporary directory can be made: {e}"),
        )
    };
    let temporary = tempfile::Builder::new()
        .prefix("mirrorfleet-")
        .tempdir()
        .map_err(failed)?;
    let writer = Writer::open(&temporary.path().join("store"), &identity(options))?;
    Shelves::dry(writer, real, temporary)
}

fn identity(options: &SyncOptions) -> Identity {
    let mut authority = options.authority.clone();
    // Fails only for URLs that cannot have either.
    let _ = authority.set_username("");
    let _ = authority.set_password(None);
    Identity {
        format_version: Identity::FORMAT_VERSION,
        upstream_type: options.upstream_type.clone(),
        authority: authority.into(),
        mirror: options.mirror.clone(),
        serving_path: options.serving_path.clone(),
        directory_listing: options.directory_listing,
        retention: options.retention,
        clients: options.clients.clone(),
    }
}
