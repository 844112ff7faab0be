//! How what is fetched on demand is kept, and what is told while it cannot be had.

use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ByteQuantity, GoDuration};

/// How a Mirror of mode PullThrough fetches what clients ask for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(crates(kube_core = "kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct PullThrough {
    /// Nothing is fetched for clients: they get what is stored, and 504 for the rest. Runs go on; `suspend` stops them.
    #[serde(default)]
    pub offline: bool,
    /// How long whoever asks for a file that the upstream does not have, or has with wrong content, is told so without
    /// asking the upstream again: an hour at most. That the upstream is away is found out anew after 5 s.
    #[x_kube(validation = Rule::new("duration(self) <= duration('1h')").message("pullThrough.negativeAge must be at most 1h: a file that appears would be missed for longer"))]
    #[serde(default = "PullThrough::default_negative_age")]
    pub negative_age: GoDuration,
}

impl PullThrough {
    const fn default_negative_age() -> GoDuration {
        GoDuration::from_secs(60)
    }
}

impl Default for PullThrough {
    fn default() -> Self {
        PullThrough {
            offline: false,
            negative_age: Self::default_negative_age(),
        }
    }
}

/// What is kept of what was fetched on demand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cache {
    /// No more than this: what was used longest ago goes first, and nothing that a pinned snapshot names. Metadata of a
    /// repository is not in it, and one file that is larger stays until the next one comes. Of an npm registry documents count
    /// as well as tarballs, each file rounded up to 4 KiB, and what was first promised for versions does not: it never goes.
    pub max_bytes: ByteQuantity,
}
