//! The manifests that `init` writes: their shape, and their text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

const API: &str = "mirrorfleet.dev/v1alpha1";
const BASE64_LINE: usize = 76;
/// The key of a Secret with a login that names, one a line, the hosts that may get it.
const HOSTS: &str = "hosts";

/// One document, with a comment above it.
pub struct Commented<'a> {
    pub comment: String,
    pub document: &'a Document,
}

/// Any of the documents, in the order of fields in which people write them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Document {
    Resource(Box<Resource>),
    Secret(SecretDocument),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    api_version: String,
    kind: String,
    metadata: Name,
    spec: Spec,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Spec {
    Upstream(UpstreamDocument),
    Mirror(MirrorDocument),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Name {
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretDocument {
    api_version: String,
    kind: String,
    metadata: Name,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    data: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    string_data: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamDocument {
    #[serde(rename = "type")]
    pub upstream_type: String,
    pub authority: Address,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<EndpointAddress>,
    #[serde(default, skip_serializing_if = "TrustBlock::is_empty")]
    pub trust: TrustBlock,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Address {
    pub url: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointAddress {
    pub name: String,
    pub url: String,
    pub priority: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustBlock {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signatures: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyring_ref: Option<KeyReference>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additional_keyring_refs: Vec<KeyReference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub databases: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_of_trust: Option<WebOfTrustBlock>,
}

impl TrustBlock {
    fn is_empty(&self) -> bool {
        *self == TrustBlock::default()
    }

    /// Nothing is judged.
    pub fn nobody() -> TrustBlock {
        TrustBlock {
            signatures: Some("None".to_owned()),
            ..TrustBlock::default()
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebOfTrustBlock {
    pub keyring_package: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyReference {
    pub kind: String,
    pub name: String,
    pub key: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_url: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MirrorDocument {
    pub upstream_ref: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    pub content: Content,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<GuardBlock>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    pub regions: Vec<Name>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    pub expired: Vec<ExpiredUnit>,
}

/// A suite of which states are taken whose time is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExpiredUnit {
    pub unit: String,
    pub rule: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    Debian { debian: DebianBlock },
    Arch { arch: ArchBlock },
    Npm { npm: NpmBlock },
}

/// Which packages of a registry are carried.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NpmBlock {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
}

/// Names that are never asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuardBlock {
    pub reserved: Vec<String>,
}

/// Which of pacman's repositories to copy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArchBlock {
    pub repos: Vec<String>,
    pub architectures: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<ArchLayout>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include: Option<ArchInclude>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ArchLayout {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<ArchPath>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArchPath {
    pub repo: String,
    pub path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ArchInclude {
    pub signatures: bool,
}

/// What of an archive to copy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DebianBlock {
    pub suites: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// None where only sources are copied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include: Option<Include>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Include {
    #[serde(default, skip_serializing_if = "is_false")]
    pub sources: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub contents: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub dep11: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub pdiffs: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

impl Document {
    pub fn upstream(name: &str, spec: UpstreamDocument) -> Document {
        Document::resource("Upstream", name, Spec::Upstream(spec))
    }

    pub fn mirror(name: &str, spec: MirrorDocument) -> Document {
        Document::resource("Mirror", name, Spec::Mirror(spec))
    }

    fn resource(kind: &str, name: &str, spec: Spec) -> Document {
        Document::Resource(Box::new(Resource {
            api_version: API.into(),
            kind: kind.into(),
            metadata: name.into(),
            spec,
        }))
    }

    /// A Secret with one binary value, in lines that an editor can show.
    pub fn binary_secret(name: &str, key: &str, bytes: &[u8]) -> Document {
        Document::keyrings_secret(name, [(key.to_owned(), bytes)], [])
    }

    /// Files as they are, by key, and texts beside them.
    pub fn keyrings_secret<'a>(
        name: &str,
        files: impl IntoIterator<Item = (String, &'a [u8])>,
        texts: impl IntoIterator<Item = (String, String)>,
    ) -> Document {
        let files = files.into_iter();
        let files = files.map(|(key, bytes)| (key, base64_lines(bytes)));
        Document::secret(name, files.collect(), texts.into_iter().collect())
    }

    /// A login, and the host that may get it.
    pub fn login_secret(name: &str, username: &str, password: &str, host: &str) -> Document {
        let values = [
            ("username", username),
            ("password", password),
            (HOSTS, host),
        ];
        Document::secret(
            name,
            BTreeMap::new(),
            values
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        )
    }

    /// A token, and the host that may get it.
    pub fn token_secret(name: &str, token: &str, host: &str) -> Document {
        let values = [("token", token), (HOSTS, host)];
        let values = values.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Document::secret(name, BTreeMap::new(), values.into())
    }

    pub fn is_login(&self) -> bool {
        matches!(self, Document::Secret(secret) if secret.string_data.contains_key(HOSTS))
    }

    pub fn name(&self) -> &str {
        match self {
            Document::Resource(resource) => &resource.metadata.name,
            Document::Secret(secret) => &secret.metadata.name,
        }
    }

    fn secret(
        name: &str,
        data: BTreeMap<String, String>,
        string_data: BTreeMap<String, String>,
    ) -> Document {
        Document::Secret(SecretDocument {
            api_version: "v1".into(),
            kind: "Secret".into(),
            metadata: name.into(),
            data,
            string_data,
        })
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Name {
        Name {
            name: name.to_owned(),
        }
    }
}

/// The text of all documents.
pub fn to_yaml(documents: &[Commented<'_>]) -> Result<String, String> {
    let mut text = String::new();
    for (index, Commented { comment, document }) in documents.iter().enumerate() {
        if index > 0 {
            text.push_str("---\n");
        }
        for line in comment.lines() {
            // Writing into a String cannot fail. A control character would end the comment.
            let _ = writeln!(text, "# {}", line.replace(char::is_control, "?"));
        }
        text.push_str(&serde_saphyr::to_string(document).map_err(|error| error.to_string())?);
    }
    Ok(text)
}

fn base64_lines(bytes: &[u8]) -> String {
    let encoded = STANDARD.encode(bytes);
    let mut lines = String::with_capacity(encoded.len() + encoded.len() / BASE64_LINE + 1);
    for (index, character) in encoded.chars().enumerate() {
        if index > 0 && index % BASE64_LINE == 0 {
            lines.push('\n');
        }
        lines.push(character);
    }
    lines
}

#[cfg(test)]
mod tests;
