//! The schema and the rules of the custom resources, asked where there is no API server: each bound and each rule is
//! stated once, beside the type in `fleet-api`.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use fleet_types::shown_url;
use kube_cel::{CompiledSchema, Validator, compile_schema};
use regex::Regex;
use serde_json::Value;

/// What is longer is shown by its beginning.
const SHOWN_CHARACTERS: usize = 80;

/// One kind: what its definition demands.
pub(super) struct Definition {
    schema: Value,
    rules: CompiledSchema,
}

pub(super) static UPSTREAM: LazyLock<Definition> = LazyLock::new(|| Definition::of("Upstream"));
pub(super) static MIRROR: LazyLock<Definition> = LazyLock::new(|| Definition::of("Mirror"));

impl Definition {
    fn of(kind: &str) -> Definition {
        let definitions = fleet_api::crds();
        let schema = definitions
            .iter()
            .filter(|definition| definition.spec.names.kind == kind)
            .flat_map(|definition| &definition.spec.versions)
            .find_map(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
        let schema = serde_json::to_value(schema).unwrap_or_default();
        Definition {
            rules: compile_schema(&schema),
            schema,
        }
    }

    /// All that the definition refuses of an object, as sentences that begin with the path of a field.
    pub(super) fn problems(&self, object: &Value) -> Vec<String> {
        let mut problems = Vec::new();
        bounds("", &self.schema, object, &mut problems);
        if let Err(broken) = Validator::new().validate_compiled(&self.rules, object, None) {
            problems.extend(broken.iter().map(|rule| {
                let found = at(object, &rule.field_path).map(shown).unwrap_or_default();
                match rule.field_path.as_str() {
                    "" => rule.message.clone(),
                    path => format!("{path}{found}: {}", rule.message),
                }
            }));
        }
        problems
    }
}

/// The value at a path such as `spec.endpoints[0].url`.
fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split(['.', '['])
        .try_fold(object, |value, step| match step.strip_suffix(']') {
            Some(index) => value.get(index.parse::<usize>().ok()?),
            None => value.get(step),
        })
}

/// What was written, by its beginning, after a space; never what could be a secret in a URL.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) if text.contains("://") => shown_url(text),
        Value::Object(_) => return String::new(),
        other => other.to_string(),
    };
    let beginning: String = text.chars().take(SHOWN_CHARACTERS).collect();
    format!(
        " {beginning}{}",
        if beginning.len() < text.len() {
            "…"
        } else {
            ""
        }
    )
}

/// The bounds that stand in the schema itself. Types, enumerations and what is required have been read by serde already.
fn bounds(path: &str, schema: &Value, value: &Value, problems: &mut Vec<String>) {
    let mut refuse = |what: String| problems.push(format!("{path}{} {what}", shown(value)));
    let number = |key: &str| schema.get(key).and_then(Value::as_f64);
    match value {
        Value::String(text) => {
            length(
                text.chars().count(),
                ("characters", "Length"),
                schema,
                &mut refuse,
            );
            let pattern = schema.get("pattern").and_then(Value::as_str);
            if let Some(pattern) = pattern
                && Regex::new(pattern).is_ok_and(|pattern| !pattern.is_match(text))
            {
                let meant = schema.get("description").and_then(Value::as_str);
                let meant = meant.and_then(|text| text.split(['.', '\n']).next());
                refuse(format!(
                    "should match {pattern} ({})",
                    meant.unwrap_or("see `mirrorfleet crds`")
                ));
            }
        }
        Value::Number(found) => {
            let found = found.as_f64().unwrap_or_default();
            if let Some(least) = number("minimum").filter(|least| found < *least) {
                refuse(format!("should be at least {least}"));
            }
            if let Some(most) = number("maximum").filter(|most| found > *most) {
                refuse(format!("should be at most {most}"));
            }
        }
        Value::Array(items) => {
            length(items.len(), ("entries", "Items"), schema, &mut refuse);
            let keys = schema.get("x-kubernetes-list-map-keys");
            let keys = keys.and_then(Value::as_array).map(Vec::as_slice);
            let one_each = schema
                .get("x-kubernetes-list-type")
                .is_some_and(|kind| kind != "atomic");
            let mut seen = BTreeSet::new();
            for (index, item) in items.iter().enumerate() {
                let of_key = |key: &Value| {
                    item.get(key.as_str().unwrap_or_default())
                        .unwrap_or(&Value::Null)
                        .to_string()
                };
                let identity = keys.map_or_else(
                    || vec![item.to_string()],
                    |keys| keys.iter().map(of_key).collect(),
                );
                if one_each && !seen.insert(identity.clone()) {
                    problems.push(format!(
                        "{path}[{index}]: {} is there twice",
                        identity.join(", ")
                    ));
                }
                if let Some(schema) = schema.get("items") {
                    bounds(&format!("{path}[{index}]"), schema, item, problems);
                }
            }
        }
        Value::Object(fields) => {
            length(fields.len(), ("entries", "Properties"), schema, &mut refuse);
            for (name, value) in fields {
                let known = schema
                    .get("properties")
                    .and_then(|properties| properties.get(name));
                if let Some(schema) = known.or_else(|| schema.get("additionalProperties")) {
                    let path = if path.is_empty() {
                        name.clone()
                    } else {
                        format!("{path}.{name}")
                    };
                    bounds(&path, schema, value, problems);
                }
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// `minItems`, `maxLength` and their like.
fn length(
    found: usize,
    (unit, what): (&str, &str),
    schema: &Value,
    refuse: &mut impl FnMut(String),
) {
    let bound = |side: &str| schema.get(format!("{side}{what}")).and_then(Value::as_u64);
    let found = found as u64;
    if let Some(least) = bound("min").filter(|least| found < *least) {
        refuse(format!(
            "has {found} {unit}; it should have at least {least}"
        ));
    }
    if let Some(most) = bound("max").filter(|most| found > *most) {
        refuse(format!("has {found} {unit}; it should have at most {most}"));
    }
}
