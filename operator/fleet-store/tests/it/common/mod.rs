//! A small world for the tests of the store.
use std::path::Path;
use std::time::Duration;

use fleet_store::*;
use fleet_types::{Digest, Expected, Reason, RepoPath, Sha256};
use sha2::Digest as _;

pub fn identity() -> Identity {
    Identity {
        format_version: Identity::FORMAT_VERSION,
        upstream_type: "Debian".into(),
        authority: "https://example.org/debian/".into(),
        mirror: "debian".into(),
        serving_path: "debian".into(),
        directory_listing: true,
        retention: Retention {
            keep: 1,
            min_age: Duration::ZERO,
        },
        clients: Default::default(),
    }
}

pub fn writer(dir: &Path) -> Writer {
    Writer::open(dir, &identity()).unwrap()
}

pub fn sha256(content: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(content).into())
}

pub fn expected(content: &[u8]) -> Expected {
    Expected {
        size: content.len() as u64,
        digest: Digest::Sha256(sha256(content)),
    }
}

pub fn entry(content: &str) -> Entry {
    Entry {
        state: EntryState::Present,
        digest: sha256(content.as_bytes()),
        size: content.len() as u64,
        mtime: 1_000_000_000,
        mutable: false,
        guarded: false,
        sha512: None,
    }
}

pub fn meta(created: i64) -> SnapshotMeta {
    SnapshotMeta {
        upstream_type: "Debian".into(),
        inputs: sha256(b"inputs"),
        content: serde_json::json!({"suites": ["trixie"]}),
        revision: Vec::new(),
        created,
        parent: None,
        links: Default::default(),
        openings: Default::default(),
        clocks: Default::default(),
        changes: None,
        entries: 0,
        bytes: 0,
    }
}

/// Stores all content and prepares a snapshot of it.
pub fn prepare(writer: &Writer, created: i64, files: &[(&str, &str)]) -> Result<SnapshotId> {
    prepare_linked(writer, created, files, &[])
}

pub fn prepare_linked(
    writer: &Writer,
    created: i64,
    files: &[(&str, &str)],
    links: &[(&str, &str)],
) -> Result<SnapshotId> {
    let staged = files
        .iter()
        .map(|(_, content)| writer.staging().put_bytes(content.as_bytes()));
    writer
        .staging()
        .commit_batch(staged.collect::<Result<_>>()?)?;
    let mut builder = writer.index_builder(writer.current_snapshot()?);
    for (path, content) in files {
        builder.push(&RepoPath::new(path).unwrap(), &entry(content))?;
    }
    let links = links
        .iter()
        .map(|(link, target)| ((*link).to_owned(), (*target).to_owned()));
    let meta = SnapshotMeta {
        links: links.collect(),
        ..meta(created)
    };
    Ok(builder.finish(meta)?.id)
}

pub fn publish(writer: &Writer, now: i64, files: &[(&str, &str)]) -> SnapshotId {
    let id = prepare(writer, now, files).unwrap();
    writer.publish(&id, now).unwrap();
    id
}

pub fn text_of<T>(result: Result<T>) -> (Reason, String) {
    let error = result.err().expect("an error");
    (error.reason(), error.to_string())
}
