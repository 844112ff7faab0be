//! From one document to typed objects, with unknown fields named by their path.

use fleet_api::{Mirror, Upstream};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Error as _};

use super::documents::{Document, Place};
use super::objects::{ConfigMap, Secret};
use crate::failure::Failure;

const OUR_API: &str = "mirrorfleet.dev/v1alpha1";
const KINDS: &str =
    "Upstream and Mirror (mirrorfleet.dev/v1alpha1), Secret and ConfigMap (v1), and List of these";

/// One object of a manifest.
pub enum Object {
    Upstream(Box<Upstream>),
    Mirror(Box<Mirror>),
    Secret(Secret),
    ConfigMap(ConfigMap),
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeMeta {
    #[serde(default)]
    api_version: Option<String>,
    #[serde(default)]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<serde_json::Value>,
}

/// Reads all objects of one document.
pub fn objects(document: &Document) -> Result<Vec<Object>, Failure> {
    let place = document.place.to_string();
    let source = Source::Yaml(&document.text, &document.place);
    let meta: TypeMeta = source.tolerant()?;
    match meta.kind.as_deref() {
        Some("List" | "UpstreamList" | "MirrorList" | "SecretList" | "ConfigMapList") => {
            let list: List = source.tolerant()?;
            let items = list.items.iter().enumerate();
            items
                .map(|(index, item)| {
                    object(&Source::Item(item, format!("{place}, items[{index}]")))
                })
                .collect()
        }
        _ => Ok(vec![object(&source)?]),
    }
}

fn object(source: &Source<'_>) -> Result<Object, Failure> {
    let meta: TypeMeta = source.tolerant()?;
    let version = meta.api_version.as_deref().unwrap_or_default();
    let wrong = |what: String| Err(Failure::invalid(format!("{}: {what}", source.place())));
    match (version, meta.kind.as_deref()) {
        (OUR_API, Some("Upstream")) => source
            .strict()
            .map(|upstream| Object::Upstream(Box::new(upstream))),
        (OUR_API, Some("Mirror")) => source
            .strict()
            .map(|mirror| Object::Mirror(Box::new(mirror))),
        ("v1", Some("Secret")) => source.strict().map(Object::Secret),
        ("v1", Some("ConfigMap")) => source.strict().map(Object::ConfigMap),
        (_, None) => wrong(format!("there is no `kind`; -f takes {KINDS}")),
        (_, Some(kind @ ("Upstream" | "Mirror"))) => wrong(format!(
            "{kind} has apiVersion {version:?}; this program reads {OUR_API:?}"
        )),
        (_, Some(kind)) => wrong(format!(
            "kind {kind:?} of apiVersion {version:?} is nothing that this program reads; -f takes {KINDS}"
        )),
    }
}

/// Where an object is read from: a document of its own, or an item of a List.
enum Source<'a> {
    Yaml(&'a str, &'a Place),
    Item(&'a serde_json::Value, String),
}

/// What stands in place of a field that a version before knew.
const ROLE: &str = "; a region has no role any more: one without `follows`, which none can have yet, fetches from the upstream, as \
     `role: Hub` said";

impl Source<'_> {
    fn place(&self) -> String {
        match self {
            Source::Yaml(_, place) => place.to_string(),
            Source::Item(_, place) => place.clone(),
        }
    }

    /// Reads what `T` knows and passes over the rest.
    fn tolerant<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        self.read(&mut |_| {})
    }

    /// Refuses fields that `T` does not know, naming each.
    fn strict<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let mut unknown = Vec::new();
        let object = self.read(&mut |path| {
            if path != "apiVersion" && path != "kind" {
                unknown.push(path);
            }
        })?;
        let role = |field: &String| field.starts_with("spec.regions.") && field.ends_with(".role");
        let role = match unknown.iter().any(role) {
            true => ROLE,
            false => "",
        };
        match unknown.as_slice() {
            [] => Ok(object),
            [field] => Err(Failure::invalid(format!(
                "{}: unknown field {field}; remove it or correct its spelling (`mirrorfleet crds` prints all fields){role}",
                self.place()
            ))),
            fields => Err(Failure::invalid(format!(
                "{}: unknown fields {}; remove them or correct their spelling (`mirrorfleet crds` prints all fields){role}",
                self.place(),
                fields.join(", ")
            ))),
        }
    }

    fn read<T: DeserializeOwned>(&self, ignored: &mut dyn FnMut(String)) -> Result<T, Failure> {
        match self {
            Source::Yaml(text, place) => {
                serde_saphyr::with_deserializer_from_str(text, |deserializer| {
                    noting(
                        &mut <dyn erased_serde::Deserializer>::erase(deserializer),
                        ignored,
                    )
                    .map_err(serde_saphyr::Error::custom)
                })
                // Not the text beside the place: a Secret may stand there.
                .map_err(|error| Failure::invalid(format!("{place}: {}", error.without_snippet())))
            }
            Source::Item(value, place) => noting(
                &mut <dyn erased_serde::Deserializer>::erase(*value),
                ignored,
            )
            .map_err(|error| Failure::invalid(format!("{place}: {error}"))),
        }
    }
}

/// By a deserializer that is not generic: what a manifest can hold is compiled once, and not for each way of reading.
fn noting<T: DeserializeOwned>(
    deserializer: &mut dyn erased_serde::Deserializer<'_>,
    ignored: &mut dyn FnMut(String),
) -> Result<T, erased_serde::Error> {
    serde_ignored::deserialize(deserializer, |path| ignored(path.to_string()))
}
