//! A store whose snapshot lists what is not there, and who fills it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fleet_fetch::{Access, FetchOptions, RetryPolicy};
use fleet_fill::{FillOptions, Filler, Keep, Lines, Vouching};
use fleet_formats::debian::Debian;
use fleet_formats::seam::Trust;
use fleet_origin::{Missing, Obtained, Origin, Wanted};
use fleet_store::{
    Clients, Entry, EntryState, Identity, Retention, SnapshotId, SnapshotMeta, Store, Writer,
};
use fleet_telemetry::{BuildInfo, FillMetrics, Registry, ServerPlace};
use fleet_types::{RepoPath, Sha256};
use sha2::Digest as _;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use url::Url;

pub struct World {
    pub filler: Arc<Filler>,
    pub options: FillOptions,
    _dir: TempDir,
}

/// Bytes that no two of which are alike.
pub fn bytes(size: usize, seed: u8) -> Vec<u8> {
    let word = |n: u32| (n.wrapping_mul(2_654_435_761) ^ u32::from(seed)).to_le_bytes();
    let all = (0..(size as u32).div_ceil(4)).flat_map(word);
    all.take(size).collect()
}

pub fn digest(content: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(content).into())
}

impl World {
    /// `contents` by path are listed, and not there.
    pub fn new(upstream: &Url, contents: &[(&str, &[u8])]) -> World {
        World::changed(upstream, contents, |_| {})
    }

    pub fn changed(
        upstream: &Url,
        contents: &[(&str, &[u8])],
        change: impl FnOnce(&mut FillOptions),
    ) -> World {
        let dir = tempfile::tempdir().unwrap();
        let store_dir = dir.path().join("test");
        drop(Writer::open(&store_dir, &identity()).unwrap());
        let slice = serde_json::json!({"suites": ["stable"], "components": ["main"], "architectures": ["amd64"]});
        let format = Debian::new(serde_json::from_value(slice).unwrap()).unwrap();
        let mut options = FillOptions {
            mirror: "test".to_owned(),
            store_dir,
            lines: Arc::new(lines(upstream, dir.path().to_owned())),
            vouching: Vouching {
                format: Arc::new(format),
                trust: Trust::nothing_is_judged(),
            },
            // Without a bound a tenth of the volume stays free, and a disk may be fuller than that.
            keep: Keep {
                cache_bytes: Some(1 << 30),
                ..Keep::default()
            },
            is_offline: false,
            negative_age: Duration::from_secs(60),
            abandoned_after: Duration::from_secs(60),
        };
        change(&mut options);
        let build = BuildInfo {
            version: "0".into(),
            revision: String::new(),
            role: "test".into(),
        };
        let registry = Registry::new(&build).unwrap();
        let metrics = FillMetrics::register(&registry, ServerPlace::default()).unwrap();
        let filler = Arc::new(Filler::new(
            Handle::current(),
            CancellationToken::new(),
            metrics,
        ));
        filler.declare(std::slice::from_ref(&options));
        let world = World {
            filler,
            options,
            _dir: dir,
        };
        world.publish(1, contents);
        world
    }

    /// A snapshot that lists these.
    pub fn publish(&self, date: i64, contents: &[(&str, &[u8])]) -> SnapshotId {
        let writer = self.writer();
        let mut builder = writer.index_builder(None);
        for (path, content) in contents {
            let entry = Entry {
                state: EntryState::NotYetFetched,
                digest: digest(content),
                size: content.len() as u64,
                mtime: date,
                mutable: false,
                guarded: true,
                sha512: None,
            };
            builder.push(&RepoPath::new(path).unwrap(), &entry).unwrap();
        }
        let id = builder.finish(meta(date)).unwrap().id;
        writer.publish(&id, date).unwrap();
        writer.collect(date, &[]).unwrap();
        id
    }

    pub fn writer(&self) -> Writer {
        Writer::open(&self.options.store_dir, &identity()).unwrap()
    }

    pub fn store(&self) -> Store {
        Store::open(&self.options.store_dir).unwrap()
    }

    /// Other settings from now on.
    pub fn declare(&mut self, change: impl FnOnce(&mut FillOptions)) {
        change(&mut self.options);
        self.filler.declare(std::slice::from_ref(&self.options));
    }

    pub fn ask(&self, path: &str, content: &[u8]) -> impl Future<Output = Obtained> + use<> {
        self.filler.obtain(Missing {
            mirror: "test",
            wanted: Wanted::Content {
                path,
                digest: digest(content),
                size: content.len() as u64,
            },
        })
    }

    /// What is stored of this content, if anything is.
    pub fn blob(&self, content: &[u8]) -> Option<Vec<u8>> {
        std::fs::read(self.store().blob_path(&digest(content))).ok()
    }
}

/// Connections to an upstream, as `mirrorfleet local` makes them.
pub fn lines(upstream: &Url, scratch: PathBuf) -> Lines {
    let options = FetchOptions {
        authority: upstream.clone(),
        endpoints: Vec::new(),
        access: Access::default(),
        max_connections: 4,
        user_agent: "mirrorfleet/test".to_owned(),
        contact: None,
        stall: Duration::from_secs(30),
        connect: Duration::from_secs(10),
        follows_redirects: true,
        retry: RetryPolicy {
            limit: 1,
            longest_wait: Duration::from_millis(20),
        },
        scratch,
    };
    Lines::new(&options, None).unwrap()
}

fn identity() -> Identity {
    Identity {
        format_version: Identity::FORMAT_VERSION,
        upstream_type: "Debian".into(),
        authority: "https://upstream.example.org/".into(),
        mirror: "test".into(),
        serving_path: "test".into(),
        directory_listing: true,
        retention: Retention {
            keep: 2,
            min_age: Duration::ZERO,
        },
        clients: Clients::default(),
    }
}

fn meta(date: i64) -> SnapshotMeta {
    SnapshotMeta {
        upstream_type: "Debian".into(),
        inputs: Sha256([0; 32]),
        content: serde_json::Value::Null,
        revision: Vec::new(),
        created: date,
        parent: None,
        changes: None,
        entries: 0,
        bytes: 0,
        links: BTreeMap::new(),
        openings: BTreeMap::new(),
        clocks: BTreeMap::new(),
    }
}
