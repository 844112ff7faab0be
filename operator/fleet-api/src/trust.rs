//! Whom an Upstream is believed by.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::GoDuration;

/// Whose signatures to believe, and how old an index may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrustSpec {
    /// The Secret or ConfigMap that holds the OpenPGP keyring, binary or armoured. Arch: two lists lie beside it as pacman's
    /// own do, `archlinux-trusted` (the masters, with their ownertrust) and `archlinux-revoked` (keys that vouch for nothing)
    /// beside `archlinux.gpg`; without the first, every key of the keyring is believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyring_ref: Option<KeyRef>,
    /// More keyrings, each with such lists of its own: for keys of several owners, and for what is too large for one object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub additional_keyring_refs: Vec<KeyRef>,
    /// Required: unsigned content is refused. Optional: unsigned content is accepted, a bad signature is not. None: not
    /// looked at; must be spelled out.
    #[serde(default)]
    pub signatures: Signatures,
    /// Arch only: what is asked of the signature of a database, `core.db.sig`. IfPresent where nothing is said; not looked at,
    /// and not copied, where `signatures` is None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub databases: Option<Databases>,
    /// Arch only: when a packager's key counts that is not a master itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_of_trust: Option<WebOfTrust>,
    /// How many different keys must have signed.
    #[schemars(range(min = 1, max = 16))]
    #[serde(default = "TrustSpec::default_min_good")]
    pub min_good_signatures: u32,
    /// Refuse an index that carries any signature that is not good, by an unknown or an expired key for example, beside
    /// those that are. By default those merely do not count, as for apt.
    #[serde(default)]
    pub all_signatures_good: bool,
    /// Refuse an index older than this where the upstream gives no Valid-Until.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_index_age: Option<GoDuration>,
}

impl TrustSpec {
    const fn default_min_good() -> u32 {
        1
    }
}

impl Default for TrustSpec {
    fn default() -> Self {
        TrustSpec {
            keyring_ref: None,
            additional_keyring_refs: Vec::new(),
            signatures: Signatures::default(),
            databases: None,
            web_of_trust: None,
            min_good_signatures: 1,
            all_signatures_good: false,
            max_index_age: None,
        }
    }
}

impl TrustSpec {
    /// All keyrings, the first one first.
    pub fn keyrings(&self) -> impl Iterator<Item = &KeyRef> {
        self.keyring_ref.iter().chain(&self.additional_keyring_refs)
    }
}

/// What is asked of the signatures of databases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Databases {
    /// A database without a signature is refused.
    Required,
    /// A signature that is there must be good.
    #[default]
    IfPresent,
    /// Signatures of databases are not asked for.
    None,
}

/// When a packager's key counts, by the rule of GnuPG that pacman goes by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebOfTrust {
    /// How many masters must vouch for a key where they are believed together, as with ownertrust 4 in the list of masters.
    #[schemars(range(min = 1, max = 16))]
    #[serde(default = "WebOfTrust::default_marginals_needed")]
    pub marginals_needed: u32,
    /// A package of this upstream that brings packagers' keys with it, `archlinux-keyring` for example. They are candidates:
    /// the masters of the keyring alone decide whether one counts, and a revocation in the package always does. The keyring
    /// then needs the masters only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = "^[a-zA-Z0-9@_+][a-zA-Z0-9@._+-]*$")
    )]
    pub keyring_package: Option<String>,
}

impl WebOfTrust {
    const fn default_marginals_needed() -> u32 {
        3
    }
}

impl Default for WebOfTrust {
    fn default() -> Self {
        WebOfTrust {
            marginals_needed: 3,
            keyring_package: None,
        }
    }
}

/// What is asked of signatures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Signatures {
    /// Unsigned content is refused.
    #[default]
    Required,
    /// Unsigned content is accepted, a bad signature is not.
    Optional,
    /// Signatures are not looked at.
    None,
}

/// One key of a Secret or ConfigMap in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// Where the key is.
    #[serde(default)]
    pub kind: RefKind,
    /// Name of the Secret or ConfigMap.
    #[schemars(length(min = 1, max = 253), regex(pattern = crate::rules::OBJECT_NAME))]
    pub name: String,
    /// Key inside it.
    #[schemars(length(min = 1, max = 253), regex(pattern = crate::rules::DATA_KEY))]
    pub key: String,
}

impl KeyRef {
    /// The key of a list beside a keyring, by pacman's own naming: `archlinux-trusted` beside `archlinux.gpg`.
    pub fn beside(&self, list: &str) -> String {
        let known = [".gpg", ".asc", ".pgp"];
        let stem = known.iter().find_map(|end| self.key.strip_suffix(end));
        format!("{}-{list}", stem.unwrap_or(&self.key))
    }

    /// The list of masters, with their ownertrust.
    pub const TRUSTED: &str = "trusted";
    /// The list of keys that vouch for nothing.
    pub const REVOKED: &str = "revoked";
}

#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum RefKind {
    /// A Secret.
    #[default]
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

impl RefKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            RefKind::Secret => "Secret",
            RefKind::ConfigMap => "ConfigMap",
        }
    }
}
