//! Makes a store of many small files and two large ones where there is none yet, writes the same files as a tree for
//! other servers to serve, and serves the store until it is killed: for comparing servers with a load generator.
//!
//! `cargo run --release --example serve-store -- DIRECTORY ADDRESS [CERTIFICATE KEY]`

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;

use fleet_serve::{ServeOptions, TlsFiles, serve};
use fleet_store::{
    Clients, Entry, EntryState, ExportOptions, Identity, Retention, SnapshotMeta, Writer,
};
use fleet_telemetry::{BuildInfo, Registry, ServerPlace};
use fleet_types::{RepoPath, Sha256};
use tokio_util::sync::CancellationToken;

const SMALL_FILES: u32 = 20_000;
const SMALL: usize = 4 * 1024;
const LARGE: [(&str, usize); 2] = [("1m", 1 << 20), ("256m", 256 << 20)];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(dir), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("give a directory and an address".into());
    };
    let data = Path::new(&dir).join("data");
    if !data.exists() {
        fill(&data.join("bench"), &Path::new(&dir).join("tree/bench"))?;
    }
    let registry = Registry::new(&BuildInfo {
        version: "0".into(),
        revision: String::new(),
        role: "serve".into(),
    })?;
    let options = ServeOptions {
        data,
        orders: None,
        registries: Default::default(),
        lists: None,
        listen: address.parse()?,
        metrics_listen: None,
        follow_listen: None,
        tls: arguments
            .next()
            .zip(arguments.next())
            .map(|(cert, key)| TlsFiles {
                cert: cert.into(),
                key: key.into(),
            }),
        drain: Duration::from_secs(1),
        place: ServerPlace::default(),
        origin: None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(
        options,
        &registry,
        CancellationToken::new(),
        |listening| println!("listening on {}", listening.http),
    ))?;
    Ok(())
}

fn fill(store: &Path, tree: &Path) -> Result<(), Box<dyn Error>> {
    let writer = Writer::open(store, &identity())?;
    let mut index = writer.index_builder(None);
    let mut batch = Vec::new();
    let small = (0..SMALL_FILES).map(|n| (format!("small/{n}"), SMALL, n));
    let large = (SMALL_FILES..).zip(LARGE);
    let large = large.map(|(n, (name, size))| (name.to_owned(), size, n));
    for (name, size, seed) in small.chain(large) {
        let content: Vec<u8> = (0..size as u32 / 4)
            .flat_map(|i| (i.wrapping_mul(2_654_435_761) ^ seed).to_le_bytes())
            .collect();
        let staged = writer.staging().put_bytes(&content)?;
        let entry = Entry {
            state: EntryState::Present,
            digest: staged.digest(),
            size: staged.size(),
            mtime: 1_700_000_000,
            mutable: false,
            guarded: false,
            sha512: None,
        };
        index.push(&RepoPath::new(&name)?, &entry)?;
        batch.push(staged);
    }
    writer.staging().commit_batch(batch)?;
    let prepared = index.finish(SnapshotMeta {
        upstream_type: "Debian".into(),
        inputs: Sha256([0; 32]),
        content: serde_json::Value::Null,
        revision: Vec::new(),
        created: 1,
        parent: None,
        changes: None,
        entries: 0,
        bytes: 0,
        links: BTreeMap::new(),
        openings: BTreeMap::new(),
        clocks: BTreeMap::new(),
    })?;
    writer.publish(&prepared.id, 1)?;
    fs::create_dir_all(tree.parent().unwrap_or(tree))?;
    writer.export(tree, &ExportOptions::default())?;
    Ok(())
}

fn identity() -> Identity {
    Identity {
        format_version: Identity::FORMAT_VERSION,
        upstream_type: "Debian".into(),
        authority: "https://upstream.example.org/".into(),
        mirror: "bench".into(),
        serving_path: "bench".into(),
        directory_listing: true,
        retention: Retention {
            keep: 1,
            min_age: Duration::ZERO,
        },
        clients: Clients::default(),
    }
}
