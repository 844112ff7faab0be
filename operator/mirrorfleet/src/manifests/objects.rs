//! The objects that a manifest may hold besides Upstreams and Mirrors.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// What identifies an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    /// Empty where the manifest leaves it to `kubectl -n`.
    pub namespace: String,
    pub name: String,
}

/// A Secret as people write it. Values are never printed.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Secret {
    #[serde(default)]
    pub metadata: Metadata,
    #[serde(default, rename = "type")]
    _type: Option<String>,
    #[serde(default, rename = "immutable")]
    _immutable: Option<bool>,
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
    #[serde(default)]
    string_data: Option<BTreeMap<String, String>>,
}

/// A ConfigMap as people write it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMap {
    #[serde(default)]
    pub metadata: Metadata,
    #[serde(default, rename = "immutable")]
    _immutable: Option<bool>,
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
    #[serde(default)]
    binary_data: Option<BTreeMap<String, String>>,
}

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta as Metadata;

/// The values of a Secret or ConfigMap, decoded.
pub type Values = BTreeMap<String, Vec<u8>>;

impl Secret {
    /// `stringData` wins over `data`, as in the API server. Errors name the key, never the value.
    pub fn values(self) -> Result<Values, String> {
        let mut values = decode("data", self.data)?;
        values.extend(plain(self.string_data));
        Ok(values)
    }
}

impl ConfigMap {
    /// Errors name the key.
    pub fn values(self) -> Result<Values, String> {
        let mut values = decode("binaryData", self.binary_data)?;
        for (key, value) in plain(self.data) {
            if values.insert(key.clone(), value).is_some() {
                return Err(format!("key {key:?} is both in data and in binaryData"));
            }
        }
        Ok(values)
    }
}

fn plain(texts: Option<BTreeMap<String, String>>) -> impl Iterator<Item = (String, Vec<u8>)> {
    texts
        .unwrap_or_default()
        .into_iter()
        .map(|(key, text)| (key, text.into_bytes()))
}

fn decode(field: &str, texts: Option<BTreeMap<String, String>>) -> Result<Values, String> {
    let mut values = Values::new();
    for (key, mut text) in texts.unwrap_or_default() {
        // The API server ignores line ends inside base64, so people wrap long values.
        text.retain(|c| !c.is_ascii_whitespace());
        let bytes = STANDARD.decode(text).map_err(|error| {
            format!("{field}.{key} is not base64 ({error}); encode it with `base64`, or write plain text under stringData")
        })?;
        values.insert(key, bytes);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_as_the_api_server_does() {
        let text = r#"{"data": {"a": "aGVs\nbG8=\n", "b": "eA=="}, "stringData": {"b": "wins"}}"#;
        let secret: Secret = serde_json::from_str(text).unwrap();
        let values = secret.values().unwrap();
        assert_eq!(values["a"], b"hello");
        assert_eq!(values["b"], b"wins");
    }

    #[test]
    fn wrong_base64_names_the_key_and_not_the_value() {
        let secret: Secret = serde_json::from_str(r#"{"data": {"token": "s3cr3t!"}}"#).unwrap();
        let message = secret.values().unwrap_err();
        assert!(
            message.contains("data.token") && message.contains("stringData"),
            "{message}"
        );
        assert!(!message.contains("s3cr3t"), "{message}");
    }

    #[test]
    fn a_config_map_refuses_one_key_twice() {
        let map: ConfigMap =
            serde_json::from_str(r#"{"data": {"k": "x"}, "binaryData": {"k": "eA=="}}"#).unwrap();
        assert!(map.values().unwrap_err().contains("both"));
    }
}
