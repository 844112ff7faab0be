//! The CustomResourceDefinitions, generated from the types and then made what a Kubernetes user expects.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps,
};
use kube_core::CustomResourceExt;
use serde_json::json;

use crate::rules::{NAME, NAME_MESSAGE};
use crate::{Mirror, Upstream};

/// Both definitions, in the order in which they should be applied.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![refined(Upstream::crd()), refined(Mirror::crd())]
}

/// A definition as YAML text, as `mirrorfleet crds` prints it and `crds/` holds it.
pub fn to_yaml(definition: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(definition)
}

/// What a definition demands of an object apart from its status, as JSON text: its schema with the rules in it. The texts are
/// generated and committed like `crds/`; reading them takes a hundredth of the time that generating them does, and each
/// process of ours that reads manifests does it.
pub const UPSTREAM_SCHEMA: &str = include_str!("../schemas/upstream.json");
pub const MIRROR_SCHEMA: &str = include_str!("../schemas/mirror.json");

/// The text of such a schema.
pub fn to_schema(definition: &CustomResourceDefinition) -> Result<String, serde_json::Error> {
    let schema = definition.spec.versions.first();
    let mut schema = schema
        .and_then(|version| version.schema.as_ref())
        .and_then(|schema| schema.open_api_v3_schema.clone())
        .unwrap_or_default();
    if let Some(properties) = &mut schema.properties {
        properties.remove("status");
    }
    serde_json::to_string_pretty(&schema).map(|text| text + "\n")
}

/// What the derive macros do not do: the rule on the name, a status that says "not visited yet", conditions that two
/// writers can share, and no `null` where a missing field says the same.
fn refined(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        let Some(root) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        without_null(root);
        let rule = json!({
            "rule": format!("size(self.metadata.name) <= 63 && self.metadata.name.matches('{NAME}')"),
            "message": format!("metadata.name: {NAME_MESSAGE}"),
        });
        if let Ok(rule) = serde_json::from_value(rule) {
            root.x_kubernetes_validations
                .get_or_insert_default()
                .push(rule);
        }
        if let Some(status) = root
            .properties
            .as_mut()
            .and_then(|properties| properties.get_mut("status"))
        {
            refine_status(status);
        }
    }
    definition
}

fn refine_status(status: &mut JSONSchemaProps) {
    status.default = serde_json::from_value(json!({"observedGeneration": -1})).ok();
    if let Some(conditions) = status
        .properties
        .as_mut()
        .and_then(|properties| properties.get_mut("conditions"))
    {
        conditions.x_kubernetes_list_type = Some("map".to_owned());
        conditions.x_kubernetes_list_map_keys = Some(vec!["type".to_owned()]);
    }
}

/// Every optional field of ours is left out when it is empty, so `null` has no meaning.
fn without_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    for property in schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
    {
        without_null(property);
    }
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    };
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = schema.items.as_mut() {
        without_null(item);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = schema.additional_properties.as_mut() {
        without_null(value);
    }
}
