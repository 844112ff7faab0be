//! What the examples put into a store: an index without blobs.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_store::{Clients, Entry, EntryState, Identity, Retention, SnapshotMeta};
use fleet_types::Sha256;
use sha2::Digest as _;

/// Not present, so that no blobs are needed: the index has the same size.
pub fn entry(n: u64) -> Entry {
    Entry {
        state: EntryState::NotYetFetched,
        digest: Sha256(sha2::Sha256::digest(n.to_le_bytes()).into()),
        size: n,
        mtime: 1_700_000_000,
        mutable: false,
        guarded: true,
        sha512: None,
    }
}

pub fn identity(mirror: &str, keep: usize) -> Identity {
    Identity {
        format_version: Identity::FORMAT_VERSION,
        upstream_type: "Debian".into(),
        authority: "https://example.org/debian/".into(),
        mirror: mirror.into(),
        serving_path: mirror.into(),
        directory_listing: true,
        retention: Retention {
            keep,
            min_age: Duration::ZERO,
        },
        clients: Clients::default(),
    }
}

pub fn meta(created: i64) -> SnapshotMeta {
    SnapshotMeta {
        upstream_type: "Debian".into(),
        inputs: Sha256([0; 32]),
        content: serde_json::Value::Null,
        revision: Vec::new(),
        created,
        parent: None,
        changes: None,
        entries: 0,
        bytes: 0,
        links: BTreeMap::new(),
        openings: BTreeMap::new(),
        clocks: BTreeMap::new(),
    }
}
