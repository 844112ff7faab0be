//! `crds/` holds what the types generate, every field is described, and the sample manifests are what they say.

use std::fs;
use std::path::PathBuf;

use fleet_api::{Mirror, Upstream, crds};
use serde_json::Value;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Run with `MIRRORFLEET_BLESS=1` to write the files instead.
#[test]
fn the_committed_definitions_are_the_generated_ones() {
    let folder = repository().join("crds");
    let mut names = Vec::new();
    for definition in crds() {
        let name = format!("{}.yaml", definition.metadata.name.as_deref().unwrap());
        same_as_committed(&folder.join(&name), &crds::to_yaml(&definition).unwrap());
        names.push(name);
        let kind = definition.spec.names.kind.to_lowercase();
        let schema = repository().join(format!("operator/fleet-api/schemas/{kind}.json"));
        same_as_committed(&schema, &crds::to_schema(&definition).unwrap());
    }
    let list: String = names.iter().map(|name| format!("- {name}\n")).collect();
    let kustomization = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{list}"
    );
    same_as_committed(&folder.join("kustomization.yaml"), &kustomization);
}

fn same_as_committed(path: &PathBuf, text: &str) {
    if std::env::var_os("MIRRORFLEET_BLESS").is_some() {
        fs::write(path, text).unwrap();
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == text,
        "{} is not what the types generate: run `make crds`",
        path.display()
    );
}

fn schemas() -> Vec<(String, Value)> {
    let schema =
        |definition: Value| definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    let name = |definition: &Value| {
        definition["spec"]["names"]["kind"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    crds()
        .iter()
        .map(|crd| serde_json::to_value(crd).unwrap())
        .map(|crd| (name(&crd), schema(crd)))
        .collect()
}

/// Calls `visit` with the path and schema of every field.
fn each_field(path: &str, schema: &Value, visit: &mut dyn FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        each_field(&format!("{path}.{name}"), property, visit);
    }
    if schema["items"].is_object() {
        each_field(&format!("{path}[]"), &schema["items"], visit);
    }
}

#[test]
fn every_field_has_a_description_and_none_is_nullable() {
    for (kind, schema) in schemas() {
        each_field(&kind, &schema, &mut |path, field| {
            let described = field["description"]
                .as_str()
                .is_some_and(|text| text.len() > 5);
            assert!(
                described || path.ends_with("[]"),
                "{path} has no description: {field}"
            );
            assert!(
                !field["description"]
                    .as_str()
                    .unwrap_or("")
                    .contains("Auto-generated"),
                "{path}"
            );
            assert!(field.get("nullable").is_none(), "{path} is nullable");
        });
    }
}

/// The API server refuses rules whose worst case is too expensive, and it assumes the worst of what has no bound.
#[test]
fn everything_of_ours_in_a_spec_has_a_bound() {
    // The types of Kubernetes itself have none; no rule of ours reads them.
    let foreign = ["resources", "tolerations[]"];
    for (kind, schema) in schemas() {
        each_field(&kind, &schema["properties"]["spec"], &mut |path, field| {
            if foreign.iter().any(|part| path.contains(part)) {
                return;
            }
            let bound = match field["type"].as_str() {
                Some("string") => field.get("maxLength").or(field.get("enum")),
                Some("array") => field.get("maxItems"),
                Some("integer") => field.get("maximum"),
                _ => return,
            };
            assert!(bound.is_some(), "{path} has no bound: {field}");
        });
    }
}

#[test]
fn a_new_object_says_that_nobody_has_visited_it_yet() {
    for (kind, schema) in schemas() {
        let status = &schema["properties"]["status"];
        assert_eq!(status["default"]["observedGeneration"], -1, "{kind}");
        assert_eq!(
            status["properties"]["conditions"]["x-kubernetes-list-type"], "map",
            "{kind}"
        );
    }
    assert_eq!(fleet_api::MirrorStatus::default().observed_generation, -1);
    assert_eq!(fleet_api::UpstreamStatus::default().observed_generation, -1);
}

/// The API server drops what a definition does not know as it reads a stored object: the marks that the version before
/// told of each region would be gone before a controller saw them.
#[test]
fn what_the_version_before_wrote_of_a_region_is_not_pruned() {
    for (kind, schema) in schemas() {
        let regions = &schema["properties"]["status"]["properties"]["regions"]["items"];
        let kept = regions["x-kubernetes-preserve-unknown-fields"].as_bool();
        assert_eq!(kept, (kind == "Mirror").then_some(true), "{kind}");
        assert!(regions["properties"]["replicas"].get("default").is_none());
    }
}

fn samples(folder: &str) -> Vec<(PathBuf, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/samples")
        .join(folder);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

fn documents(text: &str) -> Vec<Value> {
    text.split("\n---\n")
        .map(|document| serde_saphyr::from_str(document).unwrap())
        .collect()
}

#[test]
fn accepted_samples_are_read_and_written_without_loss() {
    let samples = samples("accepted");
    assert!(samples.len() >= 3);
    for (path, text) in samples {
        for document in documents(&text) {
            let again = match document["kind"].as_str().unwrap() {
                "Mirror" => serde_json::to_value(
                    serde_json::from_value::<Mirror>(document.clone()).unwrap(),
                )
                .unwrap(),
                "Upstream" => serde_json::to_value(
                    serde_json::from_value::<Upstream>(document.clone()).unwrap(),
                )
                .unwrap(),
                other => panic!("{}: {other}", path.display()),
            };
            each_leaf("", &document, &mut |pointer, value| {
                assert_eq!(
                    again.pointer(pointer),
                    Some(value),
                    "{}: {pointer}",
                    path.display()
                );
            });
        }
    }
}

fn each_leaf(pointer: &str, value: &Value, visit: &mut dyn FnMut(&str, &Value)) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            each_leaf(
                &format!("{pointer}/{}", key.replace('/', "~1")),
                value,
                visit,
            )
        }),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, value)| each_leaf(&format!("{pointer}/{index}"), value, visit)),
        leaf => visit(pointer, leaf),
    }
}

/// The real API server refuses them in the cluster tests; here: each says which message it expects, and a rule or
/// schema of ours has that message.
#[test]
fn refused_samples_expect_a_message_that_exists() {
    let samples = samples("refused");
    assert!(samples.len() >= 12);
    let schema = serde_json::to_string(&crds()).unwrap();
    for (path, text) in samples {
        let expected = text
            .lines()
            .next()
            .unwrap()
            .strip_prefix("# ")
            .expect("a first-line comment");
        let ours = schema.contains(
            &serde_json::to_string(expected)
                .unwrap()
                .trim_matches('"')
                .to_owned(),
        );
        let servers = [
            "Duplicate value",
            "Unsupported value",
            "Invalid value",
            "Too many",
            "should be",
            "should have",
            "should match",
            "Required value",
        ];
        assert!(
            ours || servers.iter().any(|words| expected.contains(words)),
            "{}: {expected}",
            path.display()
        );
        assert!(
            documents(&text)
                .iter()
                .all(|document| document["metadata"]["name"].is_string()),
            "{}",
            path.display()
        );
    }
}
