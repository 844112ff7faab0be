//! Contents by number, and what crash tests make of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fleet_types::{Digest, Expected, RepoPath, Sha256};
use sha2::Digest as _;

use crate::{
    Entry, EntryState, Identity, Retention, Snapshot, SnapshotId, SnapshotMeta, StoreError, Writer,
};

fn content(number: u8) -> Vec<u8> {
    format!("content {number}\n")
        .repeat(usize::from(number) * 3)
        .into_bytes()
}

pub fn digest(number: u8) -> Sha256 {
    Sha256(sha2::Sha256::digest(content(number)).into())
}

pub fn identity() -> Identity {
    Identity {
        format_version: Identity::FORMAT_VERSION,
        upstream_type: "Debian".into(),
        authority: "https://example.org/debian/".into(),
        mirror: "debian".into(),
        serving_path: "debian".into(),
        directory_listing: true,
        retention: Retention {
            keep: 2,
            min_age: Duration::ZERO,
        },
        clients: Default::default(),
    }
}

pub fn build(
    writer: &Writer,
    listing: &BTreeMap<u8, u8>,
    parent: Option<Arc<Snapshot>>,
    now: i64,
) -> crate::Result<SnapshotId> {
    let mut builder = writer.index_builder(parent);
    for (path, number) in listing {
        let path = RepoPath::new(&format!("pool/{path}")).unwrap();
        builder.push(&path, &entry(*number))?;
    }
    Ok(builder.finish(meta(now))?.id)
}

/// Fetches what is missing, two files a batch.
pub fn fetch(writer: &Writer, listing: &BTreeMap<u8, u8>) -> crate::Result<()> {
    let wanted: BTreeSet<u8> = listing.values().copied().collect();
    let mut batch = Vec::new();
    for number in wanted {
        let bytes = content(number);
        let size = bytes.len() as u64;
        if writer.has_blob(&digest(number), size) {
            continue;
        }
        let mut file = writer.staging().begin(&Expected {
            size,
            digest: Digest::Sha256(digest(number)),
        })?;
        let resume_at = file.written() as usize;
        file.write(&bytes[resume_at..])?;
        match file.finish() {
            // A power cut may leave a beginning that is not ours: fetch it again, as the engine does.
            Err(StoreError::WrongDigest { .. }) => batch.push(writer.staging().put_bytes(&bytes)?),
            other => batch.push(other?),
        }
        if batch.len() == 2 {
            writer.staging().commit_batch(std::mem::take(&mut batch))?;
        }
    }
    writer.staging().commit_batch(batch)
}

pub fn entry(number: u8) -> Entry {
    Entry {
        state: EntryState::Present,
        digest: digest(number),
        size: content(number).len() as u64,
        mtime: 7,
        mutable: false,
        guarded: false,
        sha512: None,
    }
}

pub fn meta(created: i64) -> SnapshotMeta {
    SnapshotMeta {
        upstream_type: "Debian".into(),
        inputs: Sha256([1; 32]),
        content: serde_json::Value::Null,
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

pub fn blobs(dir: &Path) -> Vec<std::path::PathBuf> {
    let list = |dir: &Path| {
        std::fs::read_dir(dir)
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect::<Vec<_>>()
    };
    list(dir).iter().flat_map(|shard| list(shard)).collect()
}
