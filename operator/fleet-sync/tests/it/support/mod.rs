//! A signed archive of any number of packages, a server that can misbehave, and options that copy the one from the other.

pub mod alone;
pub mod archive;
pub mod complete;
pub mod distribution;
pub mod forge;
pub mod held;
pub mod listener;
pub mod nginx;
pub mod pdiffs;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod relay;
pub mod rsyncd;
pub mod server;
pub mod tamper;
pub mod tls;
pub mod trial;
pub mod volume;
pub mod watcher;
mod world;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fleet_formats::debian::Debian;
use fleet_formats::openpgp::Keyring;
use fleet_formats::seam::{Format, Rejected, SignaturePolicy, Trust};
use fleet_store::{Clients, Retention, Writer};
use fleet_sync::{
    Access, Endpoint, Payload, PlanReport, Politeness, Progress, Publishing, Report, SyncOptions,
    Timeouts, Unwatched, Verification,
};
use fleet_types::{Reason, Sha256};
use tokio_util::sync::CancellationToken;
use url::Url;

pub use archive::Archive;
pub use world::{World, told};

/// A Mirror of `suites` of the archive.
pub fn options(keyring: &[u8], url: &Url, store: &Path, suites: &[&str]) -> SyncOptions {
    let content =
        serde_json::json!({"suites": suites, "components": ["main"], "architectures": ["amd64"]});
    SyncOptions {
        mirror: "test".to_owned(),
        store_dir: store.to_owned(),
        upstream_type: "Debian".to_owned(),
        serving_path: "debian".to_owned(),
        directory_listing: true,
        clients: Clients::default(),
        authority: url.clone(),
        endpoints: Vec::new(),
        access: Access::default(),
        politeness: Politeness {
            max_connections: 8,
            bandwidth: None,
            contact: Some("mirrors@example.org".to_owned()),
        },
        format: make_format(&content).unwrap(),
        make_format,
        content,
        payload: Payload::Copied,
        trust: Trust {
            keyring: Some(Keyring::parse(keyring).unwrap()),
            signatures: SignaturePolicy::Required,
            min_good_signatures: 1,
            all_signatures_good: false,
            max_index_age: None,
            indices: SignaturePolicy::None,
            web: None,
            keyring_package: None,
        },
        trust_digest: Sha256([7; 32]),
        exclude: Vec::new(),
        verification: Verification::default(),
        retention: Retention {
            keep: 3,
            min_age: Duration::ZERO,
        },
        publishing: Publishing::ByRun {
            pinned: None,
            skip: Vec::new(),
        },
        follow: None,
        timeouts: Timeouts {
            total: Duration::from_secs(120),
            stall: Duration::from_secs(30),
            retry_limit: 1,
            retry_backoff: Duration::from_millis(20),
            connect: Duration::from_secs(10),
        },
        high_water: Vec::new(),
        damaged: Vec::new(),
        user_agent: "mirrorfleet/test".to_owned(),
    }
}

pub fn set_content(options: &mut SyncOptions, content: serde_json::Value) {
    options.format = make_format(&content).unwrap();
    options.content = content;
}

pub fn endpoint(name: &str, url: &Url, priority: i32) -> Endpoint {
    Endpoint {
        name: name.to_owned(),
        url: url.clone(),
        priority,
    }
}

pub fn make_format(content: &serde_json::Value) -> Result<Arc<dyn Format>, Rejected> {
    let slice = serde_json::from_value(content.clone())
        .map_err(|error| Rejected::new(Reason::InvalidSpec, error.to_string()))?;
    Ok(Arc::new(Debian::new(slice)?))
}

/// The writer of a store that exists, as a person's command opens it.
pub struct HeldWriter {
    // Dropped before the note that it is held.
    writer: Writer,
    _held: process::Holding,
}

impl std::ops::Deref for HeldWriter {
    type Target = Writer;
    fn deref(&self) -> &Writer {
        &self.writer
    }
}

pub fn writer(options: &SyncOptions) -> HeldWriter {
    let held = process::hold();
    HeldWriter {
        writer: Writer::open_existing(&options.store_dir).unwrap(),
        _held: held,
    }
}

/// A dry run.
pub async fn plan(options: &SyncOptions) -> PlanReport {
    fleet_sync::plan(
        options.clone(),
        Arc::new(Unwatched),
        CancellationToken::new(),
    )
    .await
}

/// A whole run.
pub async fn sync(options: &SyncOptions) -> Report {
    watched(options, Arc::new(Unwatched)).await
}

pub async fn watched(options: &SyncOptions, progress: Arc<dyn Progress>) -> Report {
    cancellable(options, progress, CancellationToken::new()).await
}

pub async fn cancellable(
    options: &SyncOptions,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
) -> Report {
    let _held = process::hold();
    fleet_sync::sync(options.clone(), progress, cancel).await
}
