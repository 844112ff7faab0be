//! A store with one snapshot, for the targets that damage it.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_store::{
    Clients, Entry, EntryState, Identity, Retention, SnapshotId, SnapshotMeta, Writer,
};
use fleet_types::{RepoPath, Sha256};
use sha2::Digest as _;
use tempfile::TempDir;

const FILES: [&str; 5] = [
    "dists/stable/InRelease",
    "dists/stable/main/binary-amd64/Packages.xz",
    "pool/main/a/alpha_1_amd64.deb",
    "pool/main/a/alpha_1_arm64.deb",
    "pool/main/c/c++_1%3a2~rc_amd64.deb",
];

/// The store's directory, and its snapshot.
pub fn filled() -> (TempDir, SnapshotId) {
    let dir = TempDir::new().expect("a directory");
    let writer = Writer::open(dir.path(), &identity()).expect("a store");
    let staging = writer.staging();
    let mut staged = Vec::new();
    for path in FILES {
        staged.push(staging.put_bytes(path.as_bytes()).expect("content"));
    }
    staging.commit_batch(staged).expect("blobs");
    let mut builder = writer.index_builder(None);
    for (number, path) in FILES.into_iter().enumerate() {
        let path = RepoPath::new(path).expect("a path");
        builder
            .push(&path, &entry(&path, number))
            .expect("an entry");
    }
    let id = builder.finish(meta()).expect("an index").id;
    writer.publish(&id, 1_700_000_100).expect("published");
    (dir, id)
}

fn entry(path: &RepoPath, number: usize) -> Entry {
    Entry {
        state: EntryState::Present,
        digest: Sha256(sha2::Sha256::digest(path.as_str()).into()),
        size: path.as_str().len() as u64,
        mtime: 1_700_000_000,
        mutable: number == 0,
        guarded: number > 1,
        sha512: (number == 3).then_some([7; 64]),
    }
}

fn identity() -> Identity {
    Identity {
        format_version: Identity::FORMAT_VERSION,
        upstream_type: "Debian".to_owned(),
        authority: "https://upstream.example.org/debian/".to_owned(),
        mirror: "debian".to_owned(),
        serving_path: "debian".to_owned(),
        directory_listing: true,
        retention: Retention {
            keep: 1,
            min_age: Duration::ZERO,
        },
        clients: Clients::default(),
    }
}

fn meta() -> SnapshotMeta {
    SnapshotMeta {
        upstream_type: "Debian".to_owned(),
        inputs: Sha256([1; 32]),
        content: serde_json::json!({"suites": ["stable"]}),
        revision: Vec::new(),
        created: 1_700_000_000,
        parent: None,
        entries: 0,
        bytes: 0,
        changes: None,
        links: BTreeMap::from([("dists/stable".to_owned(), "dists/trixie".to_owned())]),
        openings: BTreeMap::from([("dists/trixie/InRelease".to_owned(), true)]),
        clocks: BTreeMap::new(),
    }
}
