//! A signed archive of any number of packages, a server that can misbehave, and options that copy the one from the other.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod archive;
pub mod server;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fleet_formats::debian::{Debian, DebianSlice, Include};
use fleet_formats::openpgp::Keyring;
use fleet_formats::seam::{Format, Rejected, SignaturePolicy, Trust};
use fleet_store::Retention;
use fleet_sync::{
    Access, Endpoint, Politeness, Report, SyncOptions, Timeouts, Unwatched, Verification,
};
use fleet_types::{Reason, Sha256};
use tokio_util::sync::CancellationToken;
use url::Url;

pub use archive::Archive;

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
        trust: Trust {
            keyring: Some(Keyring::parse(keyring).unwrap()),
            signatures: SignaturePolicy::Required,
            min_good_signatures: 1,
            max_index_age: None,
        },
        trust_digest: Sha256([7; 32]),
        exclude: Vec::new(),
        verification: Verification::default(),
        retention: Retention {
            keep: 3,
            min_age: Duration::ZERO,
        },
        pinned: None,
        timeouts: Timeouts {
            total: Duration::from_secs(120),
            stall: Duration::from_secs(30),
            retry_limit: 1,
            retry_backoff: Duration::from_millis(20),
        },
        high_water: Vec::new(),
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
    let list = |name: &str| -> Vec<String> {
        let items = content[name].as_array().into_iter().flatten();
        items
            .filter_map(|item| item.as_str())
            .map(str::to_owned)
            .collect()
    };
    let slice = DebianSlice {
        suites: list("suites"),
        components: list("components"),
        architectures: list("architectures"),
        include: Include::default(),
    };
    Debian::new(slice)
        .map(|format| Arc::new(format) as Arc<dyn Format>)
        .map_err(|e| Rejected::new(Reason::InvalidSpec, e.message))
}

/// A whole run. A process that another test starts at the same time (gpg, xz) shares this one's locks between its fork
/// and its exec; that is waited out here and cannot happen to a worker, which starts none.
pub async fn sync(options: &SyncOptions) -> Report {
    loop {
        let report = fleet_sync::sync(
            options.clone(),
            Arc::new(Unwatched),
            CancellationToken::new(),
        )
        .await;
        if report.reason != Reason::StoreBusy {
            return report;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
