//! `store.json`: what this store is a copy of. Serve, verify and export need no manifest beside it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use fleet_types::documents::ListForm;
use fleet_types::shown_url;
use serde::{Deserialize, Serialize};

use crate::document;
use crate::error::{Result, StoreError};
use crate::layout::Layout;

/// What a store is a copy of, and how it is kept and served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The version of the layout and of the index format: [`Identity::FORMAT_VERSION`].
    pub format_version: u32,
    /// `Debian`, `Arch`, ...: what the manifest's Upstream says.
    pub upstream_type: String,
    /// The URL that freshness is measured against.
    pub authority: String,
    /// The name of the Mirror.
    pub mirror: String,
    /// Without slashes at either end: `debian` is served under `/debian/`.
    pub serving_path: String,
    pub directory_listing: bool,
    pub retention: Retention,
    /// Stores of earlier versions do not say it.
    #[serde(default)]
    pub clients: Clients,
}

/// What clients are told besides the files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Clients {
    /// The name of our own trace file; none: the Mirror's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_name: Option<String>,
    /// Whom clients can write to about this copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    pub transactions: Transactions,
    /// The lists of regions that there are of this copy, and how one stands in each. The empty name is that of the whole
    /// copy; others are of repositories that lie in a folder of their own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lists: BTreeMap<String, ListForm>,
}

/// Which clients are sent to one kept snapshot for a whole update, so that none of their requests meets the next one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transactions {
    /// Those of units whose indices have changing names only.
    #[default]
    WithoutByHash,
    Always,
    Never,
}

/// How many superseded snapshots are kept, and for how long at least what they named can be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// The newest so many published snapshots are kept, the current one included; 0 is taken as 1, and more than
    /// [`Retention::MAX_KEPT`] as that.
    pub keep: usize,
    /// Counted from when a snapshot was superseded. Snapshots are kept for as long, [`Retention::MAX_KEPT`] of them at
    /// most; names whose content never changes can be fetched for as long, however many snapshots were made since.
    #[serde(rename = "minAgeSeconds", with = "seconds")]
    pub min_age: Duration,
}

impl Identity {
    pub const FORMAT_VERSION: u32 = 1;

    pub(crate) fn read(layout: &Layout) -> Result<Option<Identity>> {
        let file = layout.identity();
        let Some(version) = document::read::<FormatVersion>(layout, &file)? else {
            return Ok(None);
        };
        if version.format_version != Self::FORMAT_VERSION {
            let claim = format!(
                "it has store format {}, this program knows format {}; use the program version that wrote it, or a newer one",
                version.format_version,
                Self::FORMAT_VERSION
            );
            return Err(StoreError::mismatch(layout.root(), claim));
        }
        document::read(layout, &file)
    }

    /// Whether `self` may write to a store that says it is `existing`.
    pub(crate) fn may_claim(&self, existing: &Identity, dir: &Path) -> Result<()> {
        let differs = |what: &str, ours: &str, theirs: &str| {
            let claim = format!("it holds {what} {theirs:?}, and this mirror has {ours:?}");
            Err(StoreError::mismatch(dir, claim))
        };
        if self.upstream_type != existing.upstream_type {
            return differs(
                "upstream type",
                &self.upstream_type,
                &existing.upstream_type,
            );
        }
        if self.authority.trim_end_matches('/') != existing.authority.trim_end_matches('/') {
            return differs(
                "a copy of",
                &shown_url(&self.authority),
                &shown_url(&existing.authority),
            );
        }
        if self.mirror != existing.mirror {
            return differs("mirror", &self.mirror, &existing.mirror);
        }
        Ok(())
    }
}

impl Retention {
    /// However much a manifest asks to keep.
    pub const MAX_KEPT: usize = 32;

    /// Whether what was superseded then still counts; both in seconds since 1970-01-01T00:00:00Z.
    pub fn is_recent(&self, superseded_at: i64, now: i64) -> bool {
        let min_age = i64::try_from(self.min_age.as_secs()).unwrap_or(i64::MAX);
        now.saturating_sub(superseded_at) < min_age
    }
}

impl Default for Retention {
    /// The defaults of the Mirror resource: three snapshots, 48 hours.
    fn default() -> Self {
        Retention {
            keep: 3,
            min_age: Duration::from_secs(48 * 3600),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FormatVersion {
    format_version: u32,
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.as_secs())
    }
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_secs)
    }
}
